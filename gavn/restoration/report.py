"""The report of a restoration, and the statistics in it."""
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

COUNTED = ('restored', 'repeated', 'shown_again', 'left_out')  # frame counts in the notes of a segment
NEGLIGIBLE = 0.5  # grey levels of 255; encoding changes a face by one or two
ESTIMATES = 'Restored pixels are estimates, not evidence: the networks generate likely detail.'

_log = logging.getLogger(__name__)


class Notices(list[str]):
    """Messages for the user. Each is logged as a warning when it is added."""

    def add(self, message: str) -> None:
        """Adds a message and logs it."""
        self.append(message)
        _log.warning(message)

    def add_once(self, message: str) -> None:
        """Adds a message unless it was added before."""
        if message not in self:
            self.add(message)


@dataclass
class FaceQualityStats:
    """Sharpness and flicker of a face, as sums over frames that can be merged.

    Sharpness is the standard deviation of the Laplacian of the grey crop. Flicker is the mean absolute
    difference between a grey crop and the mean of its neighbours in time. Both are in grey levels of 255.
    Motion counts as flicker: compare the same video before and after, not two videos.
    """

    frames: int = 0
    sharpness: float = 0.
    triples: int = 0
    flicker: float = 0.
    _last: list[np.ndarray] = field(default_factory=list, repr=False)

    def add(self, image: np.ndarray) -> None:
        """Adds the next crop, uint8 BGR (h, w, 3)."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
        self.frames += 1
        self.sharpness += float(cv2.Laplacian(grey, cv2.CV_32F).std())
        self._last = [*self._last[-2:], grey]
        if len(self._last) == 3:
            before, now, after = self._last
            self.triples += 1
            self.flicker += float(np.abs(now - (before + after) / 2).mean())

    def notes(self) -> dict[str, float]:
        """Returns the sums as JSON values."""
        return {'frames': self.frames, 'sharpness': self.sharpness, 'triples': self.triples,
                'flicker': self.flicker}

    @staticmethod
    def joined(notes: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
        """Merges sums and returns the means; None if there are too few frames."""
        frames, triples = (sum(part[key] for part in notes) for key in ('frames', 'triples'))
        return {'sharpness': round(sum(part['sharpness'] for part in notes) / frames, 3) if frames else None,
                'flicker': round(sum(part['flicker'] for part in notes) / triples, 3) if triples else None}


@dataclass
class FaceNotes:
    """Quality of a face before and after restoration, and its mean change, in one segment."""

    before: FaceQualityStats = field(default_factory=FaceQualityStats)
    after: FaceQualityStats = field(default_factory=FaceQualityStats)
    changed: float = 0.
    weight: float = 0.

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Adds the next crop before and after, uint8 BGR (h, w, 3)."""
        self.before.add(before)
        self.after.add(after)

    def add_change(self, patch: Patch) -> None:
        """Adds the change of a frame inside the face."""
        self.changed += float(np.abs(patch.change).mean(axis=2, dtype=np.float64).sum())
        self.weight += float(patch.weight.sum(dtype=np.float64))

    def plain(self) -> dict[str, Any]:
        """Returns JSON values; `change` is the mean inside the face, in grey levels of 255."""
        return {'before': self.before.notes(), 'after': self.after.notes(),
                'change': self.changed / self.weight if self.weight else 0.}


@dataclass
class Report:
    """What a restoration did.

    Attributes:
        source: the input.
        target: the output.
        input: properties of the source, such as size and frame rate.
        frames_in: frames read.
        frames_out: frames written; another number only if another frame rate is requested.
        shown_again: frames that the requested frame rate duplicates.
        left_out: frames that the requested frame rate drops.
        restored: frames with a restored face.
        passed_through: unchanged frames.
        repeated: undecodable frames, replaced by the previous frame.
        resumed: frames that an interrupted run, or other machines, had finished.
        resumed_seconds: how long they took.
        degradation: the estimated degradation of the faces; None with the user's own weights.
        change: largest mean change inside a face in one segment, in grey levels of 255; None if nothing was
            restored.
        copied: whether the video stream was copied, not encoded.
        cuts: first frames of new scenes, without frame 0.
        coverage: fraction of frames that show a face, in [0, 1], regardless of the selection.
        faces: for each face its number, frames, height in pixels, sharpness and flicker before and after,
            and `box` (x, y, width, height) and `thumbnail` (a JPEG data URI) of the frame `box_frame`, in
            pixels of the input.
        seconds: wall-clock time of this run.
        settings: as given.
        weights: the files of the weights: path -> SHA-256.
        versions: package -> version.
        notices: messages for the user.
        job: in an archive: input, weights and settings that the result depends on.
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
    resumed_seconds: float = 0.
    degradation: dict[str, Any] | None = None
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
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def hardly_changed(self) -> bool:
        """Whether faces were restored, but the change is not visible."""
        return self.change is not None and self.change < NEGLIGIBLE

    def write(self, path: Path) -> None:
        """Writes the report as JSON."""
        content = {**asdict(self), 'note': ESTIMATES}
        with atomic_path(path) as part:
            text = json.dumps(content, indent=1, ensure_ascii=False) + '\n'
            part.write_bytes(text.encode('utf-8', 'backslashreplace'))  # file names may be no valid UTF-8


def versions() -> dict[str, str]:
    """Returns the versions of the packages that the pixels depend on."""
    import onnxruntime
    import torch
    return {'gavn': gavn.__version__, 'python': platform.python_version(), 'torch': torch.__version__,
            'numpy': np.__version__, 'opencv': cv2.__version__, 'onnxruntime': onnxruntime.__version__,
            **encoder_versions()}


def video_facts(info: VideoInfo) -> dict[str, Any]:
    """Returns the report's entry `input`; the frame rate is the average, as an exact ratio."""
    return {'width': info.width, 'height': info.height, 'frame_rate': str(info.frame_rate),
            'codec': info.codec, 'depth': info.depth, 'hdr': info.hdr, 'rotation': info.rotation,
            'audio_tracks': info.audio_tracks, 'subtitle_tracks': info.subtitle_tracks}


def face_facts(faces: Faces, segments: Sequence[Mapping[str, Any]], copied: bool) -> list[dict[str, Any]]:
    """Returns the report's entry `faces`.

    Args:
        faces: the faces, in pixels of the input.
        copied: whether the video is copied; faces then look the same after as before.
    """
    notes: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for segment in segments:
        for face_id, face_notes in segment['faces'].items():
            notes[face_id].append(face_notes)
    entries = []
    for face in faces.faces:
        parts = notes[str(face.id)]
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


def frame_counts(segments: Sequence[Mapping[str, Any]], count: int, copied: bool) -> dict[str, Any]:
    """Returns the report's frame counts.

    Args:
        segments: the notes of all segments; empty if nothing was encoded.
        copied: whether the video is copied; then no frame is restored.
    """
    total = {key: sum(segment[key] for segment in segments) for key in COUNTED}
    if copied:
        total['restored'] = 0
    frames_out = sum(segment['frames'] for segment in segments) if segments else count
    return {**total, 'frames_out': frames_out, 'passed_through': frames_out - total['restored'],
            'frames_in': frames_out - total['shown_again'] + total['left_out']}


def largest_change(segments: Iterable[Mapping[str, Any]]) -> float | None:
    """Returns the largest mean change of a face in one segment; None if no face was restored."""
    changes = [face['change'] for segment in segments for face in segment['faces'].values()]
    return round(max(changes), 3) if changes else None
