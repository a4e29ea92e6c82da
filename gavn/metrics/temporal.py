"""Temporal consistency: change between frames that optical flow does not explain."""
from typing import Any

import cv2
import numpy as np

from gavn.metrics.missing import UndefinedMetricError

_CONSISTENT = (0.01, 0.5)  # relative and absolute tolerance in squared pixels, Ruder et al. 2016
MIN_SIDE = 16  # pixels; OpenCV's flow crashes on some smaller images
SCALE = 1000  # results are in thousandths


class WarpingError:
    """The warping error (Lai et al. 2018, "Learning Blind Video Temporal Consistency") of one clip.

    Each restored frame is compared with the previous one, warped along the optical flow: mean squared
    difference of colours in [0, 1] over the pixels that both frames show, averaged over the pairs of frames
    that have such pixels, **in thousandths**. Lower is better; a still video has 0.

    The flow is that of the ground truth if there is one, so that all methods use the same motion, else of the
    restored frames. It is OpenCV's DIS (medium) instead of the paper's FlowNet2, so values compare within
    this project only. A pixel counts where forward and backward flow agree (Ruder et al. 2016) and stay
    inside the image.

    Smooth and still videos score better than the ground truth, whose value is not 0 (noise, light, errors of
    the flow): talking faces of 224 x 224 had 0.04 to 0.10, blurred ones 0.01 to 0.02. Compare with the row of
    the ground truth and with a metric of sharpness.
    """

    def __init__(self) -> None:
        # Any, because OpenCV's types do not allow None where `calc` creates the flow
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._last: np.ndarray | None = None  # float32 (h, w, 3) in [0, 1]
        self._last_guide: np.ndarray = np.zeros((0, 0), np.uint8)  # (h, w)
        self._pairs = 0
        self._errors: list[float] = []

    def update(self, restored: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Adds the next frame.

        Args:
            restored: uint8 BGR (h, w, 3).
            truth: like `restored`; for all frames of a clip or for none.

        Raises:
            ValueError: the shape differs from that of the ground truth or of the previous frame.
            UndefinedMetricError: a side is under 16 pixels.
        """
        guide = restored if truth is None else truth
        _check(restored, guide, self._last)
        frame, guide = restored.astype(np.float32) / 255, cv2.cvtColor(guide, cv2.COLOR_BGR2GRAY)
        if self._last is not None:
            self._pairs += 1
            self._errors += self._error(self._last, frame, guide)
        self._last, self._last_guide = frame, guide

    def _error(self, last: np.ndarray, frame: np.ndarray, guide: np.ndarray) -> list[float]:
        """Mean squared difference of a frame and the warped last one, over pixels with consistent flow.

        Empty if there are none, as across a cut.
        """
        backward = self._flow.calc(guide, self._last_guide, None)  # (h, w, 2)
        forward = self._flow.calc(self._last_guide, guide, None)
        valid = _inside(backward) & _consistent(_warp(forward, backward), backward)
        difference = (frame - _warp(last, backward))[valid]
        return [float(np.mean(np.square(difference)))] if valid.any() else []

    def result(self) -> float:
        """Mean over the pairs of frames so far, in thousandths.

        Raises:
            UndefinedMetricError: there are fewer than two frames, or no pair has consistent flow.
        """
        if not self._errors:
            raise UndefinedMetricError('no pair of frames has consistent optical flow' if self._pairs
                                       else 'it needs two frames')
        return SCALE * float(np.mean(self._errors))


def _check(restored: np.ndarray, guide: np.ndarray, last: np.ndarray | None) -> None:
    for other in (guide, last):
        if other is not None and other.shape != restored.shape:
            raise ValueError(f'frames of different shapes: {restored.shape} and {other.shape}')
    if min(restored.shape[:2]) < MIN_SIDE:
        height, width = restored.shape[:2]
        raise UndefinedMetricError(f'optical flow needs {MIN_SIDE} pixels per side, got {width} x {height}')


def _targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Target columns and rows, (h, w) each, of a flow (h, w, 2)."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Warps an image (h, w, c) backward along a flow (h, w, 2) with linear interpolation."""
    return cv2.remap(image, *_targets(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _inside(flow: np.ndarray) -> np.ndarray:
    """Mask (h, w) of pixels whose target lies inside the image."""
    columns, rows = _targets(flow)
    height, width = flow.shape[:2]
    return (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)


def _consistent(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Mask (h, w) of pixels whose forward and backward flows (h, w, 2) cancel. Others are occluded."""
    def squares(flow: np.ndarray) -> np.ndarray:
        return np.square(flow).sum(-1)

    relative, absolute = _CONSISTENT
    return squares(forward + backward) < relative * (squares(forward) + squares(backward)) + absolute
