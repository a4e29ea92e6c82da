"""Measures of one frame: restored against true, both uint8 BGR (h, w, 3), or the restored one alone.

PSNR, SSIM and NIQE are those of BasicSR's functions of the same names; SSIM filters by rows and columns.
"""
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_niqe
from basicsr.metrics.metric_util import to_y_channel

from gavn.metrics.missing import NotMeasurable, optional_package

FrameMetric = Callable[[np.ndarray, np.ndarray], float]

_WINDOW = cv2.getGaussianKernel(11, 1.5)
_REACH = len(_WINDOW) // 2
EQUAL = 100.0  # dB; a single step in a single value of a 224 x 224 picture gives 99.9
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_HALVED = 160  # pixels that a window of 11 becomes on the finest of five scales
_BLOCK = 96  # pixels a side of what NIQE takes its statistics of


def _prepared(
    restored: np.ndarray, truth: np.ndarray, crop_border: int, test_y_channel: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures without their borders as float64 (h, w, c), 0..255: all channels, or the luma alone."""
    if restored.shape != truth.shape:
        raise ValueError(f'pictures of different shapes: {restored.shape} and {truth.shape}')
    rows, columns = (slice(crop_border, side - crop_border) for side in truth.shape[:2])
    convert = to_y_channel if test_y_channel else np.asarray
    restored, truth = (convert(image[rows, columns]).astype(np.float64) for image in (restored, truth))
    return restored, truth


def psnr(
    restored: np.ndarray, truth: np.ndarray, crop_border: int = 0, test_y_channel: bool = False,
) -> float:
    """Peak signal-to-noise ratio in dB over all channels together, at most `EQUAL`.

    Equal pictures have that, not infinity, which would swallow the mean of every clip they are part of.
    `crop_border` pixels are left out at each side; `test_y_channel` compares BT.601 luma (16..235) alone.
    """
    restored, truth = _prepared(restored, truth, crop_border, test_y_channel)
    error = np.mean((restored - truth) ** 2)
    return EQUAL if error == 0 else min(EQUAL, float(10 * np.log10(255**2 / error)))


def _means(planes: np.ndarray) -> np.ndarray:
    """Gaussian means of planes (h, w, c) around every pixel whose window lies inside the picture."""
    return cv2.sepFilter2D(planes, cv2.CV_64F, _WINDOW, _WINDOW)[_REACH:-_REACH, _REACH:-_REACH]


def ssim(
    restored: np.ndarray, truth: np.ndarray, crop_border: int = 0, test_y_channel: bool = False,
) -> float:
    """Structural similarity (Wang et al. 2004), at most 1: Gaussian 11 x 11, sigma 1.5, mean of the channels.

    Options as for `psnr`. Raises NotMeasurable for pictures under 11 pixels.
    """
    x, y = _prepared(restored, truth, crop_border, test_y_channel)
    if min(x.shape[:2]) < len(_WINDOW):
        height, width = x.shape[:2]
        raise NotMeasurable(f'SSIM needs at least {len(_WINDOW)} pixels a side, got {width} x {height}')
    mean_x, mean_y = _means(x), _means(y)
    both = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance, variances = _means(x * y) - both, _means(x * x + y * y) - squares
    similarity = (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return float(similarity.mean())


def niqe(restored: np.ndarray, truth: np.ndarray | None = None, crop_border: int = 0) -> float:
    """Naturalness (Mittal et al. 2013) of the restored picture alone; lower is better.

    BasicSR's, on the luma. It compares statistics of 36 features over blocks of 96 pixels; a picture of
    224 x 224 has four (the rest is not looked at), so its value is noisy: shifting the crop of a photograph
    by up to 40 pixels moves it between 4.8 and 7.0. Average it over many frames.

    Raises NotMeasurable for pictures of fewer than two blocks and for those without any texture.
    """
    height, width = (side - 2 * crop_border for side in restored.shape[:2])
    if (height // _BLOCK) * (width // _BLOCK) < 2:
        raise NotMeasurable(f'NIQE needs two blocks of {_BLOCK} x {_BLOCK} pixels, got {width} x {height}')
    try:
        return float(calculate_niqe(restored, crop_border))
    except np.linalg.LinAlgError as error:
        raise NotMeasurable('NIQE needs texture: the picture is flat') from error


def ms_ssim(restored: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Structural similarity on five scales (Wang et al. 2003), at most 1; mean of the channels.

    That of the package pytorch-msssim, with a data range of 255. `crop_border` as for `psnr`. Raises
    NotMeasurable for pictures of up to 160 pixels a side, WeightsMissing where the package is absent.
    """
    pictures = _prepared(restored, truth, crop_border, test_y_channel=False)
    if min(pictures[0].shape[:2]) <= _HALVED:
        height, width = pictures[0].shape[:2]
        raise NotMeasurable(f'MS-SSIM needs more than {_HALVED} pixels a side, got {width} x {height}')
    compare = optional_package('pytorch_msssim', 'evaluate').ms_ssim
    return float(compare(*(torch.from_numpy(picture).movedim(-1, 0)[None].float() for picture in pictures),
                         data_range=255))


FUNCTIONS = {
    'calculate_psnr': psnr, 'calculate_ssim': ssim, 'calculate_niqe': niqe, 'calculate_ms_ssim': ms_ssim,
}


def frame_metric(name: str, options: Mapping[str, Any] | None = None) -> FrameMetric:
    """The measure f(restored, truth) of BasicSR's name, as in `val.metrics`, with its options bound.

    Raises ValueError for an unknown name or option, and says which there are.
    """
    if name not in FUNCTIONS:
        raise ValueError(f'no frame metric is called {name!r}; there are {", ".join(FUNCTIONS)}')
    function, options = FUNCTIONS[name], dict(options or {})
    known = set(list(inspect.signature(function).parameters)[2:])
    if unknown := set(options) - known:
        raise ValueError(f'{name} has no option {sorted(unknown)[0]!r}; it has {", ".join(sorted(known))}')
    return partial(function, **options)
