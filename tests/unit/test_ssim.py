"""SSIM and MS-SSIM equal the stock figures."""
import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_ssim
from pytorch_msssim import ms_ssim as packaged
from skimage import data
from torch import Tensor

from gavn.metrics.clip_metrics import Sample, metric_factory
from gavn.metrics.frame import ms_ssim, ssim
from gavn.metrics.missing import UndefinedMetricError


def pairs(height: int, width: int, count: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photographs with blur, noise and flat parts, and what they were."""
    clean = [np.ascontiguousarray(data.astronaut()[20 * i:20 * i + height, 112:112 + width])
             for i in range(count)]
    draw = np.random.default_rng(0)
    degraded = [cv2.GaussianBlur(image, (15, 15), 0) for image in clean]
    degraded[0] = (degraded[0] + draw.normal(0, 9, degraded[0].shape)).clip(0, 255).astype(np.uint8)
    degraded[-1][: height // 2] = 250
    clean[-1][: height // 3] = 250
    return list(zip(degraded, clean, strict=True))


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).movedim(-1, 0)[None].double()


@pytest.mark.parametrize('size', [(224, 224), (57, 90), (11, 30)])
def test_ssim_is_the_stock_one(size: tuple[int, int]) -> None:
    for degraded, clean in pairs(*size):
        assert ssim(degraded, clean) == pytest.approx(calculate_ssim(degraded, clean, 0), abs=1e-5)


@pytest.mark.parametrize('size', [(224, 224), (163, 201)])
def test_ms_ssim_is_the_stock_one(size: tuple[int, int]) -> None:
    for degraded, clean in pairs(*size):
        expected = packaged(tensor(degraded), tensor(clean), data_range=255)
        assert ms_ssim(degraded, clean) == pytest.approx(float(expected), abs=1e-5)


def test_flat_images_have_no_rounding_to_show() -> None:
    for level in (0, 128, 255):
        flat = np.full((32, 32, 3), level, np.uint8)
        for change in (1, 100):
            stock = calculate_ssim(flat, flat ^ change, 0)
            assert ssim(flat, flat ^ change) == pytest.approx(stock, abs=1e-5)


def test_small_images_have_no_value() -> None:
    (degraded, clean), = pairs(40, 40, 1)
    with pytest.raises(UndefinedMetricError, match='SSIM needs at least 11 pixels per side, got 40 x 10'):
        ssim(degraded[:10], clean[:10])
    with pytest.raises(UndefinedMetricError, match='SSIM needs at least 11 pixels per side, got 10 x 10'):
        ssim(degraded, clean, crop_border=15)
    with pytest.raises(UndefinedMetricError, match='needs more than 160 pixels per side, got 40 x 40'):
        ms_ssim(degraded, clean)


def test_options_are_those_of_the_stock_metric() -> None:
    (degraded, clean), = pairs(48, 48, 1)
    luma = metric_factory('ssim_y', {'type': 'calculate_ssim', 'test_y_channel': True, 'crop_border': 4})
    measure = luma.begin(None)
    measure.update(Sample(degraded, clean))
    stock = calculate_ssim(degraded, clean, 4, test_y_channel=True)
    assert measure.result()[0] == pytest.approx(stock, abs=1e-5)
