"""Annotators of 68 face landmarks, and the annotation of clips."""
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

from gavn.errors import ExitCode, GavnError
from gavn.faces.geometry import Box
from gavn.runtime.optional_packages import models_folder, optional_package
from gavn.runtime.project import install_command

MAX_GAP = 5  # frames without a face that are interpolated
MAX_MISSING = 0.1  # share of a clip's frames without a face
_SIGMA = 1.5  # frames; boxes are smoothed over time, landmarks are not
_FINE = 4  # upsampling factor, because dlib rounds landmarks to pixels


class LandmarkAnnotator(Protocol):
    """Finds a face and its landmarks in uint8 BGR crops (h, w, 3) with one face."""

    def box(self, image: np.ndarray) -> Box | None:
        """Box of the face; None if no face is found."""

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Landmarks (68, 2) float32 (x, y) in pixels, whole numbers at pixel centres."""


class AnnotatorError(GavnError):
    """An annotator has no weights. The message says where to get them."""

    exit_code = ExitCode.USAGE


class FaceNotFoundError(GavnError):
    """The face of a clip is missing in too many frames."""


class DlibAnnotator:
    """dlib's HOG detector and 68-point regression. Its model is licensed for research only."""

    def __init__(self) -> None:
        dlib = optional_package('dlib', 'dlib', '--annotator dlib')
        models = models_folder('face_recognition_models', 'dlib', '--annotator dlib')
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(models / 'shape_predictor_68_face_landmarks.dat'))
        self._rectangle = dlib.rectangle

    def box(self, image: np.ndarray) -> Box | None:
        """Box of the largest face, in steps of an eighth of its size."""
        found = self._detect(_rgb(image), 0)
        if not found:
            return None
        face = max(found, key=lambda rectangle: rectangle.area())
        return Box(face.left(), face.top(), face.right() + 1, face.bottom() + 1)

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Landmarks with a precision of a quarter of a pixel."""
        fine = cv2.resize(_rgb(image), None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_LINEAR)
        place = box.scaled(_FINE)
        edges = (round(place.x0), round(place.y0), round(place.x1) - 1, round(place.y1) - 1)
        shape = self._predict(fine, self._rectangle(*edges))
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
        return (points + 0.5) / _FINE - 0.5


_SOURCE = 'https://www.adrianbulat.com/downloads/python-fan/'
_FACE_ALIGNMENT = {'s3fd-619a316812.pth': 86, '2DFAN4-11f355bf06.pth.tar': 91}  # files, MiB


class FaceAlignmentAnnotator:
    """The face-alignment package (S3FD, 2D-FAN-4), which downloads its weights.

    Args:
        download: whether to download weights that are not in PyTorch's cache.

    Raises:
        MissingPackageError: the package is not installed.
        AnnotatorError: weights are absent and `download` is false, or cannot be downloaded.
    """

    def __init__(self, download: bool = False) -> None:
        face_alignment = optional_package('face_alignment', 'prepare', '--annotator face-alignment',
                                          also='pip install --no-deps face-alignment==1.5.0')
        if not download and (missing := _missing_weights()):
            raise AnnotatorError(_weights_message(missing))
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        try:
            self._aligner = face_alignment.FaceAlignment(face_alignment.LandmarksType.TWO_D, device=device,
                                                         flip_input=False, compile=False)
        except OSError as error:
            raise AnnotatorError(f'the weights of face-alignment are not available ({error})\n'
                                 f'{_weights_message(_missing_weights() or [*_FACE_ALIGNMENT])}') from error

    def box(self, image: np.ndarray) -> Box | None:
        """Box of the largest face."""
        found = self._aligner.face_detector.detect_from_image(_rgb(image))
        boxes = [Box(*map(float, face[:4])) for face in found]
        return max(boxes, key=lambda box: box.area, default=None)

    def points(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Landmarks with a precision of a quarter of a heat-map cell."""
        place = [box.x0, box.y0, box.x1, box.y1]
        [points] = self._aligner.get_landmarks_from_image(_rgb(image), detected_faces=[place])
        return np.asarray(points, np.float32)


def _cache() -> Path:
    return Path(torch.hub.get_dir(), 'checkpoints')


def _missing_weights() -> list[str]:
    return [name for name in _FACE_ALIGNMENT if not (_cache() / name).is_file()]


def _weights_message(missing: Sequence[str]) -> str:
    files = ', '.join(f'{name} (about {_FACE_ALIGNMENT[name]} MiB)' for name in missing)
    return (f'face-alignment needs {files}\n'
            f'download them from {_SOURCE} with --download, or put them into {_cache()};\n'
            f'--annotator dlib needs no download: {install_command("dlib")}')


def choose_annotator(name: str, download: bool = False) -> str:
    """Checks that an annotator is available. `auto` is dlib if it is installed, else face-alignment.

    Args:
        name: `auto` or a name of `ANNOTATORS`.
        download: whether face-alignment may download its weights.

    Returns:
        Name of the annotator.

    Raises:
        MissingPackageError, AnnotatorError: it has no package or no weights.
    """
    if name == AUTO:
        installed = all(map(importlib.util.find_spec, ('dlib', 'face_recognition_models')))
        name = 'dlib' if installed else 'face-alignment'
    if name == 'face-alignment':
        FaceAlignmentAnnotator(download)
    else:
        ANNOTATORS[name]()
    return name


AUTO = 'auto'
ANNOTATORS: dict[str, Callable[[], LandmarkAnnotator]] = {
    'face-alignment': FaceAlignmentAnnotator, 'dlib': DlibAnnotator,
}


def annotate_clip(images: Sequence[np.ndarray], annotator: LandmarkAnnotator) -> tuple[np.ndarray, float]:
    """Annotates every frame of a clip.

    Boxes are interpolated over gaps of up to MAX_GAP frames and smoothed in time. Landmarks are found frame
    by frame and not smoothed, so that they follow the mouth.

    Args:
        images: uint8 BGR (h, w, 3).

    Returns:
        Landmarks (T, 68, 2) float32 in pixels, and the share of frames with a face.

    Raises:
        FaceNotFoundError: a gap is longer than MAX_GAP, or more than MAX_MISSING of the frames have no face.
    """
    boxes = [annotator.box(image) for image in images]
    seen = [i for i, box in enumerate(boxes) if box is not None]
    missing = len(boxes) - len(seen)
    if missing > MAX_MISSING * len(boxes):
        raise FaceNotFoundError(f'the landmark annotator finds no face in {missing} of {len(boxes)} frames')
    edges = [-1, *seen, len(boxes)]
    gap = max(after - before - 1 for before, after in pairwise(edges))
    if gap > MAX_GAP:
        raise FaceNotFoundError(f'the landmark annotator finds no face for {gap} frames in a row')
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes if box is not None])
    filled = np.stack([np.interp(range(len(boxes)), seen, column) for column in corners.T], axis=1)
    smoothed = gaussian_filter1d(filled, _SIGMA, axis=0, mode='nearest')
    points = [annotator.points(image, Box(*map(float, row)))
              for image, row in zip(images, smoothed, strict=True)]
    return np.stack(points).astype(np.float32), len(seen) / len(boxes)


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
