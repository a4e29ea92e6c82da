"""Metrics of one frame, uint8 BGR (h, w, 3), with or without ground truth.

PSNR, SSIM and NIQE equal BasicSR's functions of the same names.
"""
import cv2
import numpy as np
from basicsr.metrics import calculate_niqe

from gavn.metrics import structure
from gavn.metrics.missing import UndefinedMetricError

MAX_PSNR = 100.0  # dB, of equal images; one step in one value of a 224 x 224 image gives 99.9
_BLOCK = 96  # side in pixels of the blocks that NIQE uses
_LUMA = np.array([[24.966, 128.553, 65.481]]) / 255  # BT.601, for BGR in 0..255


def check_shapes(restored: np.ndarray, truth: np.ndarray) -> None:
    """Raises ValueError if two images differ in shape."""
    if restored.shape != truth.shape:
        raise ValueError(f'images of different shapes: {restored.shape} and {truth.shape}')


def _crop(image: np.ndarray, crop_border: int, test_y_channel: bool) -> np.ndarray:
    """Crops the border: uint8 (h, w, 3), or with `test_y_channel` the luma, float64 (h, w, 1) in 16..235."""
    height, width = image.shape[:2]
    image = image[crop_border:height - crop_border, crop_border:width - crop_border]
    return (cv2.transform(image.astype(np.float64), _LUMA) + 16)[..., None] if test_y_channel else image


def psnr(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Peak signal-to-noise ratio in dB over all channels.

    Args:
        img, img2: the restored and the true image, uint8 BGR (h, w, 3).
        crop_border: pixels to ignore at each side.
        test_y_channel: whether to compare only the BT.601 luma (16..235).

    Returns:
        At most `MAX_PSNR`, so that equal images do not make the mean of a clip infinite.
    """
    check_shapes(img, img2)
    restored, truth = (_crop(image, crop_border, test_y_channel) for image in (img, img2))
    error = np.mean(np.subtract(restored, truth, dtype=np.float64) ** 2)
    return MAX_PSNR if error == 0 else min(MAX_PSNR, float(10 * np.log10(255**2 / error)))


def _large_enough(name: str, needed: str, least: int, image: np.ndarray) -> None:
    """Raises UndefinedMetricError if a side of an image has fewer than `least` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < least:
        raise UndefinedMetricError(f'{name} needs {needed} pixels per side, got {width} x {height}')


def ssim(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Structural similarity (Wang et al. 2004), at most 1: Gaussian 11 x 11, sigma 1.5, mean over channels.

    Arguments as for `psnr`.

    Raises:
        UndefinedMetricError: a side is under 11 pixels.
    """
    check_shapes(img, img2)
    restored, truth = (_crop(image, crop_border, test_y_channel) for image in (img, img2))
    _large_enough('SSIM', f'at least {structure.WINDOW_SIZE}', structure.WINDOW_SIZE, truth)
    return structure.ssim(restored, truth)


def niqe(img: np.ndarray, crop_border: int = 0) -> float:
    """NIQE (Mittal et al. 2013) of an image on its luma; lower is better.

    NIQE compares statistics of 36 features over blocks of 96 pixels. An image of 224 x 224 has four blocks,
    so the value is noisy: shifting the crop of a photograph by up to 40 pixels moves it between 4.8 and 7.0.
    Average it over many frames.

    Raises:
        UndefinedMetricError: the image has fewer than two blocks or no texture.
    """
    height, width = (side - 2 * crop_border for side in img.shape[:2])
    if (height // _BLOCK) * (width // _BLOCK) < 2:
        raise UndefinedMetricError(f'NIQE needs two blocks of {_BLOCK} x {_BLOCK} pixels, '
                                   f'got {width} x {height}')
    try:
        return float(calculate_niqe(img, crop_border))
    except np.linalg.LinAlgError as error:
        raise UndefinedMetricError('NIQE needs texture: the image is flat') from error


def ms_ssim(img: np.ndarray, img2: np.ndarray, crop_border: int = 0) -> float:
    """Multi-scale structural similarity on five scales (Wang et al. 2003), at most 1; mean over channels.

    Equals the package pytorch-msssim with a data range of 255. Arguments as for `psnr`.

    Raises:
        UndefinedMetricError: a side has at most 160 pixels.
    """
    check_shapes(img, img2)
    restored, truth = (_crop(image, crop_border, False) for image in (img, img2))
    _large_enough('MS-SSIM', f'more than {structure.MS_MIN_SIDE}', structure.MS_MIN_SIDE + 1, truth)
    return structure.ms_ssim(restored, truth)
