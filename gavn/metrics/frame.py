"""Measures of one frame: restored against true, both uint8 BGR (h, w, 3), or the restored one alone.

PSNR, SSIM and NIQE are those of BasicSR's functions of the same names.
"""
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_niqe
from torch import Tensor

from gavn.metrics import structure
from gavn.metrics.missing import NotMeasurable

FrameMetric = Callable[[np.ndarray, np.ndarray], float]

EQUAL = 100.0  # dB; a single step in a single value of a 224 x 224 picture gives 99.9
_BLOCK = 96  # pixels a side of what NIQE takes its statistics of
_LUMA = np.array([[24.966, 128.553, 65.481]]) / 255  # BT.601, of blue, green and red in 0..255


def _checked(restored: np.ndarray, truth: np.ndarray) -> None:
    if restored.shape != truth.shape:
        raise ValueError(f'pictures of different shapes: {restored.shape} and {truth.shape}')


def _prepared(image: np.ndarray, crop_border: int, test_y_channel: bool) -> np.ndarray:
    """A picture without its borders: uint8 (h, w, 3), or its luma alone, float64 (h, w, 1) in 16..235."""
    height, width = image.shape[:2]
    image = image[crop_border:height - crop_border, crop_border:width - crop_border]
    return (cv2.transform(image.astype(np.float64), _LUMA) + 16)[..., None] if test_y_channel else image


def psnr(
    restored: np.ndarray, truth: np.ndarray, crop_border: int = 0, test_y_channel: bool = False,
) -> float:
    """Peak signal-to-noise ratio in dB over all channels together, at most `EQUAL`.

    Equal pictures have that, not infinity, which would swallow the mean of every clip they are part of.
    `crop_border` pixels are left out at each side; `test_y_channel` compares BT.601 luma (16..235) alone.
    """
    _checked(restored, truth)
    restored, truth = (_prepared(image, crop_border, test_y_channel) for image in (restored, truth))
    error = np.mean(np.subtract(restored, truth, dtype=np.float64) ** 2)
    return EQUAL if error == 0 else min(EQUAL, float(10 * np.log10(255**2 / error)))


def _judged(
    compare: Callable[[Tensor, Tensor], Tensor], restored: Sequence[np.ndarray], truth: Sequence[np.ndarray],
    device: torch.device | str, crop_border: int, test_y_channel: bool = False,
) -> list[float]:
    """What `compare` says of pictures (n, c, h, w) on `device`."""
    for pair in zip(restored, truth, strict=True):
        _checked(*pair)
    def tensor(images: Sequence[np.ndarray]) -> Tensor:
        batch = np.stack([_prepared(image, crop_border, test_y_channel) for image in images])
        return torch.from_numpy(batch).to(device).movedim(-1, 1).contiguous()

    return compare(tensor(restored), tensor(truth)).tolist()


def _too_small(name: str, needed: str, shape: Sequence[int], crop_border: int) -> NotMeasurable:
    height, width = (side - 2 * crop_border for side in shape[:2])
    return NotMeasurable(f'{name} needs {needed} pixels a side, got {width} x {height}')


def ssims(
    restored: Sequence[np.ndarray], truth: Sequence[np.ndarray], device: torch.device | str = 'cpu',
    crop_border: int = 0, test_y_channel: bool = False,
) -> list[float]:
    """`ssim` of each of several pictures of one size, computed together on `device`."""
    if min(truth[0].shape[:2]) - 2 * crop_border < structure.LEAST:
        raise _too_small('SSIM', f'at least {structure.LEAST}', truth[0].shape, crop_border)
    return _judged(structure.ssim, restored, truth, device, crop_border, test_y_channel)


def ssim(
    restored: np.ndarray, truth: np.ndarray, crop_border: int = 0, test_y_channel: bool = False,
) -> float:
    """Structural similarity (Wang et al. 2004), at most 1: Gaussian 11 x 11, sigma 1.5, mean of the channels.

    Options as for `psnr`. Raises NotMeasurable for pictures under 11 pixels.
    """
    return ssims([restored], [truth], 'cpu', crop_border, test_y_channel)[0]


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


def ms_ssims(
    restored: Sequence[np.ndarray], truth: Sequence[np.ndarray], device: torch.device | str = 'cpu',
    crop_border: int = 0,
) -> list[float]:
    """`ms_ssim` of each of several pictures of one size, computed together on `device`."""
    if min(truth[0].shape[:2]) - 2 * crop_border <= structure.HALVED:
        raise _too_small('MS-SSIM', f'more than {structure.HALVED}', truth[0].shape, crop_border)
    return _judged(structure.ms_ssim, restored, truth, device, crop_border)


def ms_ssim(restored: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Structural similarity on five scales (Wang et al. 2003), at most 1; mean of the channels.

    Equal to that of the package pytorch-msssim with a data range of 255. `crop_border` as for `psnr`. Raises
    NotMeasurable for pictures of up to 160 pixels a side.
    """
    return ms_ssims([restored], [truth], 'cpu', crop_border)[0]


FUNCTIONS = {
    'calculate_psnr': psnr, 'calculate_ssim': ssim, 'calculate_niqe': niqe, 'calculate_ms_ssim': ms_ssim,
}
BATCHED = {'calculate_ssim': ssims, 'calculate_ms_ssim': ms_ssims}
"""Those that judge several pictures at once, on a device."""


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
