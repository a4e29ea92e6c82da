"""Faces through a video: found on every few frames, followed by overlap, bridged over gaps, smoothed.

The first of two passes over a video: it keeps boxes, not frames, so its memory does not grow with the pixels.
"""
from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from gavn.errors import GavnError
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
from gavn.faces.tracks import Face, Faces, Track, main_track

MAX_GAP = 5  # frames without a detection that a path outlives
SHORTEST = 10  # frames that a face must be followed for, unless its scene is shorter
_SAME_FACE = 0.3  # overlap of a face with itself a few frames later
_SAME_PLACE = 0.5  # overlap that leaves nothing to look for in between
_ONE_IN_OTHER = 0.6  # part of the smaller box; two heads that touch share less
_CUT = 30  # mean grey levels between two frames, seen small; heads that move stay under 10
_MEDIAN, _SIGMA_PLACE, _SIGMA_SIZE = 13, 4, 8  # frames
_SHRUNK = 0.75  # of the smallest height: what a face may fall to for a while


class NoFace(GavnError):  # noqa: N818  (says what is the matter)
    """No frame of a video shows a face that the detector is sure of."""


@dataclass(eq=False)
class _Path:
    """One face while it is being followed."""

    frames: array[int] = field(default_factory=partial(array, 'q'))
    corners: array[float] = field(default_factory=partial(array, 'd'))  # four of each box
    best: float = 0
    surest: int = 0  # the frame of that score
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
        """How much of the film it fills: mean area by length."""
        return float(self.boxes.areas.mean()) * len(self.span)

    def doubles(self, other: _Path) -> bool:
        """Whether it is the same face once more: mostly seen with the other, one box nearly in the other."""
        _, mine, others = np.intersect1d(self.frames, other.frames, assume_unique=True, return_indices=True)
        if 2 * len(mine) <= len(self.frames):
            return False
        one, two = Boxes(self.boxes.corners[mine]), Boxes(other.boxes.corners[others])
        return float((one.shared(two) / np.minimum(one.areas, two.areas)).mean()) >= _ONE_IN_OTHER

    def filled(self) -> np.ndarray:
        """Corners (len(span), 4), interpolated between detections."""
        frames = np.arange(self.span.start, self.span.stop)
        return np.stack([np.interp(frames, self.frames, column) for column in self.boxes.corners.T], axis=1)


def follow_faces(frames: Iterable[np.ndarray], detect: Detector | None = None, every: int = 5,
                 min_face: float | None = None) -> Faces:
    """Follows every face through the frames of a video.

    Faces are looked for on every `every`-th frame, and on all in between where the two do not agree. A gap of
    up to MAX_GAP frames is bridged by interpolation; after a longer one, and at a cut, what comes is another
    face. A face counts if the detector is SURE of it once and it is followed for SHORTEST frames, or all of a
    scene that is shorter. Of two that are found in one place the one of less weight is left out.

    Args:
        frames: uint8 BGR pictures (h, w, 3) of one size; read once, a handful is kept.
        detect: finds faces and scores; None = RetinaFace on frames reduced as `min_face` allows.
        every: frames from one detection to the next.
        min_face: mean height in pixels; smaller faces are passed over. None = `smallest_face`.

    Raises NoFace.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise NoFace('no face, since there is no frame')
    size = first.shape[1], first.shape[0]
    smallest = smallest_face(size) if min_face is None else min_face
    walk = _Walk(detect or RetinaFace(detector_side(size, smallest)), every, smallest * _SHRUNK)
    walk.go(chain([first], frames))
    found = [path for scene in walk.scenes for path in scene.believable(smallest)]
    return _faces(found, walk, smallest)


def track_faces(frames: Iterable[np.ndarray], detect: Detector | None = None, every: int = 5,
                min_face: float = 32) -> Track:
    """Follows the main face, the one that fills most of the film, through the frames of a video.

    Made for films of one speaker: unlike `follow_faces` it takes whatever the detector is SURE of once, for
    however short, and looks at frames reduced to DETECTOR_SIDE. Where several faces are seen at once, the
    largest and longest present is followed. Arguments and NoFace as there, but `min_face` holds for each
    detection.
    """
    walk = _Walk(detect or RetinaFace(), every, min_face)
    walk.go(frames)
    return main_track(_faces([path for scene in walk.scenes for path in scene.sure()], walk, min_face))


def _faces(paths: Sequence[_Path], walk: _Walk, min_face: float) -> Faces:
    if not paths:
        raise NoFace(f'no face in {walk.count} frames; a face must be upright, turned at most half away, and '
                     f'{min_face:g} pixels high')
    ordered = sorted(paths, key=lambda path: path.weight, reverse=True)
    faces = (Face(id, path.span, Boxes(smooth(path.filled())), path.best, path.surest, path.thumbnail)
             for id, path in enumerate(ordered))
    return Faces(tuple(faces), walk.count, walk.size, tuple(walk.cuts))


def smooth(corners: np.ndarray) -> np.ndarray:
    """Corners of a segment (n, 4) without outliers (running median) and jitter (Gaussian, wider for size)."""
    size = corners[:, 2:] - corners[:, :2]
    place = (corners[:, 2:] + corners[:, :2]) / 2
    place, size = (median_filter(values, (_MEDIAN, 1), mode='nearest') for values in (place, size))
    place = gaussian_filter1d(place, _SIGMA_PLACE, axis=0, mode='nearest')
    size = gaussian_filter1d(size, _SIGMA_SIZE, axis=0, mode='nearest')
    return np.concatenate([place - size / 2, place + size / 2], axis=1)


@dataclass(eq=False)
class _Scene:
    """What is seen from one cut to the next."""

    length: int = 0  # frames
    paths: list[_Path] = field(default_factory=list)

    def sure(self) -> list[_Path]:
        return [path for path in self.paths if path.best >= SURE]

    def believable(self, min_face: float) -> list[_Path]:
        """Paths of faces without chance finds, nor any face twice."""
        enough = min(SHORTEST, self.length)
        paths = [path for path in self.sure() if len(path.span) >= enough and path.height >= min_face]
        kept: list[_Path] = []
        for path in sorted(paths, key=lambda path: path.weight, reverse=True):
            if not any(path.doubles(other) for other in kept):
                kept.append(path)
        return kept


class _Walk:
    """One pass over the frames; `scenes` collects the finished scenes, `cuts` the frames they begin with."""

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
        self.seen: list[Detection] | None = None  # at the last frame that was looked at
        self.waiting: list[tuple[int, np.ndarray]] = []  # frames since then

    def go(self, frames: Iterable[np.ndarray]) -> None:
        for image in frames:
            self._add(image)
        if self.waiting:
            self._look()

    def _add(self, image: np.ndarray) -> None:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
        if self.thumbnail is not None and cv2.absdiff(thumbnail, self.thumbnail).mean() > _CUT:
            self._cut()
        self.thumbnail = thumbnail
        self.size = image.shape[1], image.shape[0]
        self.waiting.append((self.count, image))
        self.count += 1
        self.scenes[-1].length += 1
        if self.seen is None or len(self.waiting) == self.every:
            self._look()

    def _cut(self) -> None:
        if self.waiting:
            self._look()
        self.cuts.append(self.count)
        self._begin_scene()

    def _look(self) -> None:
        """Detects on the last waiting frame, and on those before it unless nothing has moved much."""
        *between, (index, image) = self.waiting
        now = self._faces(image)
        if self.seen is not None and not _agree(self.seen, now):
            for earlier, picture in between:
                self._follow(earlier, picture, self._faces(picture))
        self._follow(index, image, now)
        self.seen, self.waiting = now, []

    def _faces(self, image: np.ndarray) -> list[Detection]:
        return [(box, score) for box, score in self.detect(image) if box.height >= self.min_face]

    def _follow(self, index: int, image: np.ndarray, faces: Sequence[Detection]) -> None:
        """Gives each face to the live path it overlaps most, or a path of its own."""
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
    """Whether each sure face of one moment is, nearly in its place, among the faces of the other."""
    def found(sure: Sequence[Detection], among: Sequence[Detection]) -> bool:
        return all(any(box.iou(other) >= _SAME_PLACE for other, _ in among)
                   for box, score in sure if score >= SURE)
    return found(before, now) and found(now, before)
