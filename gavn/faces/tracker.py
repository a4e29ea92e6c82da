"""Face tracker: detects faces every few frames, links them by overlap, bridges gaps and smooths.

This is the first of two passes over a video. It keeps boxes, not frames.
"""
from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from gavn.errors import ExitCode, GavnError
from gavn.faces.box_array import Boxes
from gavn.faces.detector import (
    SURE,
    Detection,
    Detector,
    RetinaFace,
    detector_side,
    smallest_face,
)
from gavn.faces.geometry import Box
from gavn.faces.thumbnail import thumbnail
from gavn.faces.tracks import Face, Faces, main_face

EVERY = 5  # interval of detection, in frames
MAX_GAP = 5  # longest gap without a detection, in frames
SHORTEST = 10  # minimum length of a face in frames, unless its scene is shorter
_SAME_FACE = 0.3  # minimum overlap of a face with itself a few frames later
_SAME_PLACE = 0.5  # overlap above which the frames in between are not searched
_ONE_IN_OTHER = 0.6  # of the smaller box; touching heads overlap less
_CUT = 30  # mean grey level difference of two thumbnails; head motion stays below 10
_MEDIAN, _SIGMA_PLACE, _SIGMA_SIZE = 13, 4, 8  # frames
_SHRUNK = 0.75  # relative to the minimum height; a face may be so small temporarily


class NoFace(GavnError):  # noqa: N818
    """No face was found in a video."""

    exit_code = ExitCode.NO_FACE


@dataclass(eq=False)
class _Path:
    """A face that is being tracked."""

    frames: array[int] = field(default_factory=lambda: array('q'))
    corners: array[float] = field(default_factory=lambda: array('d'))  # four per box
    best: float = 0
    surest: int = 0  # frame of the best score
    thumbnail: str = ''

    def add(self, frame: int, image: np.ndarray, box: Box, score: float) -> None:
        self.frames.append(frame)
        self.corners.extend((box.x0, box.y0, box.x1, box.y1))
        if score > self.best:
            self.best, self.surest, self.thumbnail = score, frame, thumbnail(image, box)

    @property
    def boxes(self) -> Boxes:
        return Boxes(np.array(self.corners).reshape(-1, 4))

    @property
    def last(self) -> Box:
        return Box(*self.corners[-4:])

    @property
    def span(self) -> range:
        return range(self.frames[0], self.frames[-1] + 1)

    @property
    def height(self) -> float:
        """Mean height in pixels."""
        return float(self.boxes.heights.mean())

    @property
    def weight(self) -> float:
        """Mean area times length."""
        return float(self.boxes.areas.mean()) * len(self.span)

    def duplicates(self, other: _Path) -> bool:
        """Returns whether both are one face: mostly visible together, one box nearly inside the other."""
        _, mine, others = np.intersect1d(self.frames, other.frames, assume_unique=True, return_indices=True)
        if 2 * len(mine) <= len(self.frames):
            return False
        one, two = Boxes(self.boxes.corners[mine]), Boxes(other.boxes.corners[others])
        return float((one.intersection(two) / np.minimum(one.areas, two.areas)).mean()) >= _ONE_IN_OTHER

    def filled(self) -> np.ndarray:
        """Returns corners (len(span), 4), interpolated between detections."""
        frames = np.arange(self.span.start, self.span.stop)
        return np.stack([np.interp(frames, self.frames, column) for column in self.boxes.corners.T], axis=1)


def follow_faces(frames: Iterable[np.ndarray], detect: Detector | None = None, every: int = EVERY,
                 min_face: float | None = None) -> Faces:
    """Tracks all faces in a video.

    Faces are detected in every `every`-th frame, and in all frames in between if two detections differ. Gaps
    of up to MAX_GAP frames are interpolated; a longer gap or a cut starts a new face. A face counts if the
    detector is SURE of it once, and if it lasts SHORTEST frames or its whole scene. Of two faces in the same
    place, the one with less weight is dropped.

    Args:
        frames: uint8 BGR (h, w, 3) of equal size; read once.
        detect: the detector; None = RetinaFace with an input size for `min_face`.
        min_face: minimum mean height in pixels; None = `smallest_face`.

    Raises:
        NoFace: there is no face.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise NoFace('no face: the video has no frame')
    size = first.shape[1], first.shape[0]
    smallest = smallest_face(size) if min_face is None else min_face
    tracker = _Tracker(detect or RetinaFace(detector_side(size, smallest)), every, smallest * _SHRUNK)
    tracker.run(chain([first], frames))
    found = [path for scene in tracker.scenes for path in scene.believable(smallest)]
    return _faces(found, tracker, smallest)


def follow_main_face(frames: Iterable[np.ndarray], detect: Detector | None = None, min_face: float = 32
                     ) -> Faces:
    """Tracks the face in a video of one speaker, in the longest run of frames without a gap or a cut.

    Unlike `follow_faces` it accepts every face that the detector is SURE of once, and always reduces frames
    to DETECTOR_SIDE. Of several faces at once, the largest and longest counts.

    Args:
        min_face: minimum height of each detection in pixels.

    Raises:
        NoFace: there is no face.
    """
    tracker = _Tracker(detect or RetinaFace(), EVERY, min_face)
    tracker.run(frames)
    paths = [path for scene in tracker.scenes for path in scene.sure()]
    return main_face(_faces(paths, tracker, min_face))


def _faces(paths: Sequence[_Path], tracker: _Tracker, min_face: float) -> Faces:
    if not paths:
        raise NoFace(f'no face in {tracker.count} frames; a face must be upright, in frontal or profile '
                     f'view, and at least {min_face:g} pixels high')
    ordered = sorted(paths, key=lambda path: path.weight, reverse=True)
    faces = (Face(id, path.span, Boxes(smooth(path.filled())), path.best, path.surest, path.thumbnail)
             for id, path in enumerate(ordered))
    return Faces(tuple(faces), tracker.count, tracker.size, tuple(tracker.cuts))


def smooth(corners: np.ndarray) -> np.ndarray:
    """Smooths corners (n, 4): a median filter removes outliers, a Gaussian (wider for size) jitter."""
    size = corners[:, 2:] - corners[:, :2]
    place = (corners[:, 2:] + corners[:, :2]) / 2
    place, size = (median_filter(values, (_MEDIAN, 1), mode='nearest') for values in (place, size))
    place = gaussian_filter1d(place, _SIGMA_PLACE, axis=0, mode='nearest')
    size = gaussian_filter1d(size, _SIGMA_SIZE, axis=0, mode='nearest')
    return np.concatenate([place - size / 2, place + size / 2], axis=1)


@dataclass(eq=False)
class _Scene:
    """The faces between two cuts."""

    length: int = 0  # frames
    paths: list[_Path] = field(default_factory=list)

    def sure(self) -> list[_Path]:
        return [path for path in self.paths if path.best >= SURE]

    def believable(self, min_face: float) -> list[_Path]:
        """Returns the accepted faces, without false detections and duplicates."""
        enough = min(SHORTEST, self.length)
        paths = [path for path in self.sure() if len(path.span) >= enough and path.height >= min_face]
        kept: list[_Path] = []
        for path in sorted(paths, key=lambda path: path.weight, reverse=True):
            if not any(path.duplicates(other) for other in kept):
                kept.append(path)
        return kept


class _Tracker:
    """Tracks faces in one pass; `scenes` has all scenes, `cuts` their first frames."""

    def __init__(self, detect: Detector, every: int, min_face: float) -> None:
        self.detect, self.every, self.min_face = detect, every, min_face
        self.count = 0
        self.size = (0, 0)
        self.scenes: list[_Scene] = []
        self.cuts: list[int] = []
        self.thumbnail: np.ndarray | None = None
        self._begin_scene()

    def _begin_scene(self) -> None:
        self.scenes.append(_Scene())
        self.seen: list[Detection] | None = None  # faces in the last searched frame
        self.pending: list[tuple[int, np.ndarray]] = []  # frames since then

    def run(self, frames: Iterable[np.ndarray]) -> None:
        for image in frames:
            self._add(image)
        if self.pending:
            self._search()

    def _add(self, image: np.ndarray) -> None:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
        if self.thumbnail is not None and cv2.absdiff(thumbnail, self.thumbnail).mean() > _CUT:
            self._cut()
        self.thumbnail = thumbnail
        self.size = image.shape[1], image.shape[0]
        self.pending.append((self.count, image))
        self.count += 1
        self.scenes[-1].length += 1
        if self.seen is None or len(self.pending) == self.every:
            self._search()

    def _cut(self) -> None:
        if self.pending:
            self._search()
        self.cuts.append(self.count)
        self._begin_scene()

    def _search(self) -> None:
        """Detects faces in the last pending frame, and in the others unless faces hardly moved."""
        *between, (index, image) = self.pending
        now = self._faces(image)
        if self.seen is not None and not _agree(self.seen, now):
            for earlier, frame in between:
                self._follow(earlier, frame, self._faces(frame))
        self._follow(index, image, now)
        self.seen, self.pending = now, []

    def _faces(self, image: np.ndarray) -> list[Detection]:
        return [(box, score) for box, score in self.detect(image) if box.height >= self.min_face]

    def _follow(self, index: int, image: np.ndarray, faces: Sequence[Detection]) -> None:
        """Adds each face to the current path with the largest overlap, or to a new path."""
        paths = self.scenes[-1].paths
        live = [path for path in paths if index - path.frames[-1] <= MAX_GAP + 1]
        overlaps = sorted(((path.last.iou(face[0]), p, f) for p, path in enumerate(live)
                           for f, face in enumerate(faces)), reverse=True)
        matched: dict[int, _Path] = {}
        for overlap, p, f in overlaps:
            free = f not in matched and live[p] not in matched.values()
            if free and overlap >= _SAME_FACE:
                matched[f] = live[p]
        for f, face in enumerate(faces):
            if f not in matched:
                paths.append(_Path())
            matched.get(f, paths[-1]).add(index, image, *face)


def _agree(before: Sequence[Detection], now: Sequence[Detection]) -> bool:
    """Returns whether all sure faces of either frame overlap faces of the other."""
    def found(sure: Sequence[Detection], among: Sequence[Detection]) -> bool:
        return all(any(box.iou(other) >= _SAME_PLACE for other, _ in among)
                   for box, score in sure if score >= SURE)
    return found(before, now) and found(now, before)
