"""Flicker: what changes from frame to frame although the motion does not explain it."""
import cv2
import numpy as np

from gavn.metrics.missing import NotMeasurable

_CONSISTENT = (0.01, 0.5)  # of squared lengths, and square pixels: what two flows may differ by
MIN_SIDE = 16  # pixels; OpenCV's flow crashes the process on some smaller pictures
SCALE = 1000  # reported in thousandths, as the field does


class WarpingError:
    """The warping error (Lai et al. 2018, "Learning Blind Video Temporal Consistency") of one clip.

    Each restored frame is compared with the one before it, moved along the optical flow: the mean squared
    difference of the colours in [0, 1], over the pixels that both frames show, averaged over the pairs of
    frames that have such pixels; **in thousandths**. Lower is better, 0 is a still.

    The flow is that of the ground truth where there is one, so that all methods are judged along the same
    motion, else of the restored frames. It is OpenCV's DIS (medium), where the paper takes FlowNet2; so
    numbers compare within this project, not with theirs. A pixel counts where the flow there and the flow
    back agree (Ruder et al. 2016) and stay inside the picture.

    What it cannot see: a video that is too smooth, or still, scores well, even better than the truth, whose
    own value is not 0 (noise, light, flow errors): talking faces of 224 x 224 had 0.04 to 0.10, blurred ones
    0.01 to 0.02. Read it beside the row of the ground truth and beside a measure of sharpness.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._last: np.ndarray | None = None  # float32 (h, w, 3) in [0, 1]
        self._last_guide: np.ndarray | None = None  # uint8 (h, w)
        self._pairs = 0
        self._errors: list[float] = []

    def update(self, restored: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Takes the next frame, uint8 BGR (h, w, 3); the truth comes with all frames of a clip or with none.

        Raises ValueError for a frame of another shape than its truth or than the frame before, NotMeasurable
        for frames under 16 pixels a side.
        """
        guide = restored if truth is None else truth
        _check(restored, guide, self._last)
        frame, guide = restored.astype(np.float32) / 255, cv2.cvtColor(guide, cv2.COLOR_BGR2GRAY)
        if self._last is not None:
            self._pairs += 1
            self._errors += self._error(frame, guide)
        self._last, self._last_guide = frame, guide

    def _error(self, frame: np.ndarray, guide: np.ndarray) -> list[float]:
        """Mean squared difference of a frame and the last one, moved to it, where both show the same.

        Empty where no pixel does, as across a cut: 0 would be the best of all values.
        """
        back = self._flow.calc(guide, self._last_guide, None)  # (h, w, 2): where each pixel was
        there = self._flow.calc(self._last_guide, guide, None)
        valid = _visible(back) & _agree(_moved(there, back), back)
        difference = (frame - _moved(self._last, back))[valid]
        return [float(np.mean(np.square(difference)))] if valid.any() else []

    def result(self) -> float | None:
        """The mean over the pairs of frames so far, in thousandths; None for fewer than two frames.

        Raises NotMeasurable where no two of them show the same.
        """
        if self._pairs and not self._errors:
            raise NotMeasurable('no two frames in a row have consistent optical flow anywhere')
        return SCALE * float(np.mean(self._errors)) if self._errors else None


def _check(restored: np.ndarray, guide: np.ndarray, last: np.ndarray | None) -> None:
    for other in (guide, last):
        if other is not None and other.shape != restored.shape:
            raise ValueError(f'frames of different shapes: {restored.shape} and {other.shape}')
    if min(restored.shape[:2]) < MIN_SIDE:
        height, width = restored.shape[:2]
        raise NotMeasurable(f'optical flow needs {MIN_SIDE} pixels a side, got {width} x {height}')


def _places(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the flow (h, w, 2) leads from each pixel: columns and rows, (h, w) each."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _moved(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What is seen of a picture (h, w, c) where the flow leads, between its pixels linearly."""
    return cv2.remap(picture, *_places(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _visible(flow: np.ndarray) -> np.ndarray:
    """Whether the flow stays inside the picture, (h, w)."""
    columns, rows = _places(flow)
    height, width = flow.shape[:2]
    return (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)


def _agree(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Whether two flows (h, w, 2), one seen where the other leads, cancel out: else something was covered."""
    def squares(flow: np.ndarray) -> np.ndarray:
        return np.square(flow).sum(-1)

    share, least = _CONSISTENT
    return squares(there + back) < share * (squares(there) + squares(back)) + least
