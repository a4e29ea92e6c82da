"""What became of a video, in numbers and words."""
from __future__ import annotations

import json
import logging
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import gavn
from gavn.faces.geometry import Box, Patch
from gavn.faces.tracks import Faces
from gavn.media import VideoInfo, encoder_versions
from gavn.runtime.files import atomic_path

COUNTED = ('restored', 'repeated', 'shown_again', 'left_out')  # frames, in the notes of a piece
HARDLY = 0.5  # grey levels of 255; encoders change a face by one or two
ESTIMATES = 'Restored pixels are estimates, not evidence: the networks paint what is likely.'

_log = logging.getLogger(__name__)


@dataclass
class FaceQualityStats:
    """How sharp a face is and how much it flickers, over the frames that were added; sums that can be joined.

    Sharpness is the standard deviation of the Laplacian of the crop's brightness. Flicker is what remains of
    a frame's brightness after the mean of the frames before and after it, on average over the crop; both in
    grey levels of 255. Movement counts as flicker: compare before and after, not two videos.
    """

    frames: int = 0
    sharpness: float = 0.
    triples: int = 0
    flicker: float = 0.
    _last: list[np.ndarray] = field(default_factory=list, repr=False)

    def add(self, image: np.ndarray) -> None:
        """The next crop, uint8 BGR (h, w, 3)."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
        self.frames += 1
        self.sharpness += float(cv2.Laplacian(grey, cv2.CV_32F).std())
        self._last = [*self._last[-2:], grey]
        if len(self._last) == 3:
            before, now, after = self._last
            self.triples += 1
            self.flicker += float(np.abs(now - (before + after) / 2).mean())

    def notes(self) -> dict[str, float]:
        """The sums, for JSON."""
        return {'frames': self.frames, 'sharpness': self.sharpness, 'triples': self.triples,
                'flicker': self.flicker}

    @staticmethod
    def joined(notes: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
        """The means of several sums; None for what too few frames were there."""
        frames, triples = (sum(part[key] for part in notes) for key in ('frames', 'triples'))
        return {'sharpness': round(sum(part['sharpness'] for part in notes) / frames, 3) if frames else None,
                'flicker': round(sum(part['flicker'] for part in notes) / triples, 3) if triples else None}


@dataclass
class FaceNotes:
    """How a face looks in a piece of a video before and after, and how much it was changed."""

    before: FaceQualityStats = field(default_factory=FaceQualityStats)
    after: FaceQualityStats = field(default_factory=FaceQualityStats)
    changed: float = 0.
    weight: float = 0.

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """The next crop, uint8 BGR (h, w, 3) each."""
        self.before.add(before)
        self.after.add(after)

    def add_change(self, patch: Patch) -> None:
        """What is added to the picture for it."""
        self.changed += float(np.abs(patch.change).mean(axis=2, dtype=np.float64).sum())
        self.weight += float(patch.weight.sum(dtype=np.float64))

    def plain(self) -> dict[str, Any]:
        """For JSON; `change` is the mean inside the face, in grey levels of 255."""
        return {'before': self.before.notes(), 'after': self.after.notes(),
                'change': self.changed / self.weight if self.weight else 0.}


@dataclass
class Report:
    """What became of a video.

    Attributes:
        source, target: the files.
        input: what the source is: size, frame rate and so on.
        frames_in, frames_out: frames found and written; equal, unless another frame rate was asked for.
        shown_again, left_out: frames that this rate repeats, and leaves out.
        restored: frames with a restored face.
        passed_through: frames without one, as they were.
        repeated: frames that could not be decoded, in whose place the one before stands.
        resumed: frames that an interrupted run had finished.
        damage: what was found to be wrong with the faces, of weights that come with gavn.
        change: the mean change inside a face, in grey levels of 255, of the face and the piece of the video
            that changed most; None where nothing was restored.
        copied: whether the video stands in the target as it is in the source, not encoded again.
        cuts: the frames with which a new scene begins, the first left out.
        coverage: the part of the frames that show a face, in [0, 1], whichever were chosen.
        faces: each with its number, frames, height in pixels, sharpness and flicker before and after, and its
            `box` (x, y, width, height) and `thumbnail` (a JPEG as a data URI) of the frame `box_frame`; in
            pixels of the input.
        seconds: wall-clock time of this run.
        settings, weights, versions: how it was made; weights as SHA-256 by file.
        notices: what the user should know, in words.
    """

    source: str
    target: str
    input: dict[str, Any] = field(default_factory=dict)
    frames_in: int = 0
    frames_out: int = 0
    shown_again: int = 0
    left_out: int = 0
    restored: int = 0
    passed_through: int = 0
    repeated: int = 0
    resumed: int = 0
    damage: dict[str, Any] | None = None
    change: float | None = None
    copied: bool = False
    cuts: list[int] = field(default_factory=list)
    coverage: float = 0.
    faces: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @property
    def hardly_changed(self) -> bool:
        """Whether faces were restored, by less than an eye or an encoder notices."""
        return self.change is not None and self.change < HARDLY

    def notice(self, words: str) -> None:
        """Notes `words` and logs them at once, as a warning."""
        self.notices.append(words)
        _log.warning(words)

    def write(self, path: Path) -> None:
        """As JSON."""
        content = {**asdict(self), 'note': ESTIMATES}
        with atomic_path(path) as part:
            text = json.dumps(content, indent=1, ensure_ascii=False) + '\n'
            part.write_bytes(text.encode('utf-8', 'backslashreplace'))  # of names that are no UTF-8


def versions() -> dict[str, str]:
    """What the pixels depend on."""
    import onnxruntime
    import torch
    return {'gavn': gavn.__version__, 'python': platform.python_version(), 'torch': torch.__version__,
            'numpy': np.__version__, 'opencv': cv2.__version__, 'onnxruntime': onnxruntime.__version__,
            **encoder_versions()}


def film_in_words(info: VideoInfo) -> dict[str, Any]:
    """The report's entry of the source; the frame rate is the average, as an exact ratio."""
    return {'width': info.width, 'height': info.height, 'frame_rate': str(info.frame_rate),
            'codec': info.codec, 'depth': info.depth, 'hdr': info.hdr, 'rotation': info.rotation,
            'audio_tracks': info.audio_tracks, 'subtitle_tracks': info.subtitle_tracks}


def faces_in_words(faces: Faces, looks: Mapping[str, Sequence[Mapping[str, Any]]], copied: bool = False
                   ) -> list[dict[str, Any]]:
    """The report's entries of faces: where they are, and how they look before and after.

    Faces of a video that is `copied` look after as before.
    """
    entries = []
    for face in faces.faces:
        parts = looks.get(str(face.id), [])
        height = float(face.boxes.heights.mean())
        seen = face.span.start if face.surest is None else face.surest
        entries.append({
            'face': face.id, 'first_frame': face.span.start, 'last_frame': face.span.stop - 1,
            'height': round(height, 1), 'score': round(face.score, 4), 'box_frame': seen,
            'box': _corner_and_size(faces.box(face, seen)), 'thumbnail': face.thumbnail,
            'before': FaceQualityStats.joined([part['before'] for part in parts]),
            'after': FaceQualityStats.joined([part['before' if copied else 'after'] for part in parts])})
    return entries


def _corner_and_size(box: Box) -> list[float]:
    return [round(value, 1) for value in (box.x0, box.y0, box.width, box.height)]


def summarise(report: Report, faces: Faces, notes: Sequence[Mapping[str, Any]]) -> None:
    """Tells the report what the pieces of a video note, if it was encoded; `faces` as in the input."""
    looks: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for piece in notes:
        for face, look in piece['looks'].items():
            looks[face].append(look)
    total = {key: sum(piece[key] for piece in notes) for key in COUNTED}
    report.frames_out = sum(piece['frames'] for piece in notes) if notes else faces.count
    report.restored = 0 if report.copied else total['restored']
    report.repeated = total['repeated']
    report.shown_again, report.left_out = total['shown_again'], total['left_out']
    report.frames_in = report.frames_out - report.shown_again + report.left_out
    report.passed_through = report.frames_out - report.restored
    report.faces = faces_in_words(faces, looks, report.copied)
    if report.repeated:
        report.notice(f'{report.repeated} frames could not be decoded: the one before is repeated in '
                      'their place')


def most_changed(notes: Iterable[Mapping[str, Any]]) -> float | None:
    """The mean change inside the face and the piece that changed most; None where no face was restored."""
    changes = [look['change'] for piece in notes for look in piece['looks'].values()]
    return round(max(changes), 3) if changes else None
