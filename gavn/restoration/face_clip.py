"""Restoration of tracked faces: from frames and faces to the change of each frame, segment by segment."""
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

Change = tuple[Face, np.ndarray]  # a face and the residual of its crop: float32 BGR (h, w, 3), units of 1/255


class CropRestorer(Protocol):
    """Restores face crops; see `gavn.restoration.restorer.Restorer`."""

    layout: Layout  # how the network's windows lie over a clip
    name: str | None  # name of the pretrained weights; None for the user's own
    weights: dict[str, str]  # path -> SHA-256
    notices: list[str]  # messages for the user

    @property
    def chunk_size(self) -> int:
        """Frames that one call restores."""

    @property
    def uses_audio(self) -> bool:
        """Whether a network takes audio."""

    def residuals(self, frames: Iterable[np.ndarray], audio: Iterable[Tensor] | None = None
                  ) -> Iterator[np.ndarray]:
        """Yields the residual of each crop."""


class FrameBuffer:
    """Random access to consecutive frames: reads them on demand and keeps them until they are released."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self._kept: dict[int, Frame] = {}

    def __getitem__(self, index: int) -> Frame:
        """Returns frame `index`.

        Raises:
            MediaError: the frame was released, or is beyond the end.
        """
        while index not in self._kept:
            frame = next(self._frames, None)
            if frame is None or frame.index > index:
                raise MediaError(f'frame {index} cannot be read again: the video may have changed')
            self._kept[frame.index] = frame
        return self._kept[index]

    def __len__(self) -> int:
        """Returns the number of frames in memory."""
        return len(self._kept)

    def forget_before(self, index: int) -> None:
        """Releases the frames before `index`."""
        for early in [kept for kept in self._kept if kept < index]:
            del self._kept[early]


def warmup_frames(layout: Layout) -> int:
    """Returns how many frames before a segment are needed so that segment borders do not change the result.

    These are the windows that the first window's context covers, and up to one window of alignment with the
    windows of the whole clip.
    """
    return -(-layout.context // layout.outputs) * layout.outputs + layout.outputs - 1


@dataclass
class FaceClipRestorer:
    """Restores the faces of a video."""

    restorer: CropRestorer  # restores the crops
    mfcc_frames: StoredMFCC  # MFCC of the audio, from the time of the first frame on
    faces: Faces  # the faces to restore
    strength: float = 1.  # fraction of the change to apply, 0 to 1
    # is called for each crop with the face number and the crop before and after, uint8 BGR (h, w, 3)
    on_crop: Callable[[int, np.ndarray, np.ndarray], None] = lambda *_: None

    def changes(self, buffer: FrameBuffer, segment: range) -> Iterator[tuple[Frame, list[Change]]]:
        """Yields each frame of `segment` with the changes of its faces.

        The result does not depend on how the video is divided into segments.

        Args:
            buffer: must provide the frames from `first_needed(segment)` on.
        """
        running: dict[int, Iterator[np.ndarray]] = {}
        for index in segment:
            frame, changes = buffer[index], []
            for face in self.faces.present(index):
                if face.id not in running:
                    running[face.id] = self._residuals(face, buffer, segment)
                changes.append((face, next(running[face.id])))
            yield frame, changes
            buffer.forget_before(index + 1 - warmup_frames(self.restorer.layout))

    def first_needed(self, segment: range) -> int:
        """Returns the first frame that is needed to restore a segment."""
        return max(0, segment.start - warmup_frames(self.restorer.layout))

    def patch(self, frame: Frame, face: Face, change: np.ndarray) -> Patch:
        """Maps the change of a face crop to the frame, inside a soft oval."""
        region = self.faces.region(face, frame.index)
        height, width = frame.av_frame.height, frame.av_frame.width
        mask = feather_mask(sides_on_edge(region, width, height))
        mask = mask * oval_mask(self.faces.box(face, frame.index), region)
        return Patch.spread(region, change, mask, width, height)

    def _residuals(self, face: Face, buffer: FrameBuffer, segment: range) -> Iterator[np.ndarray]:
        """Yields the changes of one face's crops, from the first frame of `segment` that shows it."""
        first = max(segment.start, face.span.start)
        start = _warmup_start(first - face.span.start, self.restorer.layout) + face.span.start
        frames = range(start, face.span.stop)
        pending: deque[np.ndarray] = deque()

        def crops() -> Iterator[np.ndarray]:
            for index in frames:
                pending.append(crop(buffer[index].image, self.faces.region(face, index)))
                yield pending[-1]

        audio = (self.mfcc_frames.window(buffer[index].time) for index in frames)
        for index, residual in enumerate(self.restorer.residuals(crops(), audio), start):
            before = pending.popleft()
            if index >= first:
                change = residual * self.strength
                self.on_crop(face.id, before, (before + change).round().clip(0, 255).astype(np.uint8))
                yield change


def _warmup_start(first: int, layout: Layout) -> int:
    """Returns where in a clip to start so that frame `first` is restored as within the whole clip."""
    start = first - first % layout.outputs - (warmup_frames(layout) - layout.outputs + 1)
    return max(0, start)
