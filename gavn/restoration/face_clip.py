"""Frames and faces in, what restoring adds to each frame out: a few at a time, every piece by itself."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from gavn.audio.mfcc import StoredMFCC
from gavn.faces.geometry import Patch, crop, feather_mask, oval_mask, sides_on_edge
from gavn.faces.tracks import Face, Faces
from gavn.media import Frame, MediaError
from gavn.runtime.windows import Layout

Change = tuple[Face, np.ndarray]  # what to add to the crop of a face: float32 BGR (h, w, 3), units of 1/255


class CropRestorer(Protocol):
    """What restores crops of a face, as `gavn.restoration.restorer.Restorer`, which describes all of this.

    `name` is that of weights that come with the package, else None; `together` frames come out at once.
    """

    layout: Layout
    name: str | None
    weights: dict[str, str]
    notices: list[str]

    @property
    def together(self) -> int:
        """Frames of one call."""

    def residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                  ) -> Iterator[np.ndarray]:
        """What to add to each crop."""


class FrameBuffer:
    """The frames of a video by index: read in order as they are asked for, kept until they are let go."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self._kept: dict[int, Frame] = {}

    def __getitem__(self, index: int) -> Frame:
        """Raises MediaError for a frame that was let go, or beyond the end."""
        while index not in self._kept:
            frame = next(self._frames, None)
            if frame is None or frame.index > index:
                raise MediaError(f'frame {index} cannot be read any more: did the video change meanwhile?')
            self._kept[frame.index] = frame
        return self._kept[index]

    def __len__(self) -> int:
        """Frames held at the moment."""
        return len(self._kept)

    def forget_before(self, index: int) -> None:
        """Lets earlier frames go."""
        for early in [kept for kept in self._kept if kept < index]:
            del self._kept[early]


def lead(layout: Layout) -> int:
    """How many frames before a piece are needed to restore its first as if the face's whole clip had been.

    So many windows that the first which counts sees its context, and up to a window to begin where windows of
    the whole clip begin.
    """
    return -(-layout.context // layout.outputs) * layout.outputs + layout.outputs - 1


@dataclass
class FaceClipRestorer:
    """Restores the faces of a video.

    Attributes:
        restorer: the networks.
        cepstra: of the sound, from the first frame's time on.
        faces: those to restore.
        strength: how much of the change to apply, 0 to 1.
        seen: is shown each crop before and after: number of the face, two uint8 BGR pictures.
    """

    restorer: CropRestorer
    mfcc_frames: StoredMFCC
    faces: Faces
    strength: float = 1.
    seen: Callable[[int, np.ndarray, np.ndarray], None] = lambda *_: None

    def changes(self, reel: FrameBuffer, part: range) -> Iterator[tuple[Frame, list[Change]]]:
        """Per frame of `part`: itself, and what to add to the crop of each face.

        The same whatever parts a video is divided into. The reel must hold, or come to, the frames from
        `first_needed(part)` on.
        """
        running: dict[int, Iterator[np.ndarray]] = {}
        for index in part:
            frame, changes = reel[index], []
            for face in self.faces.present(index):
                if face.id not in running:
                    running[face.id] = self._residuals(face, reel, part)
                changes.append((face, next(running[face.id])))
            yield frame, changes
            reel.forget_before(index + 1 - lead(self.restorer.layout))

    def first_needed(self, part: range) -> int:
        """The first frame that restoring a part looks at."""
        return max(0, part.start - lead(self.restorer.layout))

    def patch(self, frame: Frame, face: Face, change: np.ndarray) -> Patch:
        """What to add to the frame itself where that is to be added to its crop of a face."""
        region = self.faces.region(face, frame.index)
        height, width = frame.picture.height, frame.picture.width
        mask = feather_mask(free=sides_on_edge(region, width, height))
        mask = mask * oval_mask(self.faces.box(face, frame.index), region)
        return Patch.spread(region, change, mask, width, height)

    def _residuals(self, face: Face, reel: FrameBuffer, part: range) -> Iterator[np.ndarray]:
        """What to add to the crops of one face, from the first frame of `part` that shows it."""
        first = max(part.start, face.span.start)
        start = _window_before(first - face.span.start, self.restorer.layout) + face.span.start
        frames = range(start, face.span.stop)
        waiting: deque[np.ndarray] = deque()

        def crops() -> Iterator[np.ndarray]:
            for index in frames:
                waiting.append(crop(reel[index].image, self.faces.region(face, index)))
                yield waiting[-1]

        sounds = (self.mfcc_frames.window(reel[index].time) for index in frames)
        for index, residual in enumerate(self.restorer.residuals(crops(), sounds), start):
            before = waiting.popleft()
            if index >= first:
                change = residual * self.strength
                self.seen(face.id, before, (before + change).round().clip(0, 255).astype(np.uint8))
                yield change


def _window_before(first: int, layout: Layout) -> int:
    """Where in a clip to begin so that frame `first` comes out as if the clip had been restored whole."""
    start = first - first % layout.outputs - (lead(layout) - layout.outputs + 1)
    return max(0, start)
