"""SSIM and MS-SSIM of batches: equal to the stock figures on every path, together as alone."""
import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_ssim
from pytorch_msssim import ms_ssim as packaged
from skimage import data
from torch import Tensor

from gavn.metrics import structure
from gavn.metrics.frame import ms_ssims, ssims
from gavn.metrics.measures import MeanOverFrames, Sample, metric_factory
from gavn.metrics.missing import UndefinedMetricError


def pairs(height: int, width: int, count: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Photographs with blur, noise and flat parts, and what they were."""
    clean = [np.ascontiguousarray(data.astronaut()[20 * i:20 * i + height, 112:112 + width])
             for i in range(count)]
    draw = np.random.default_rng(0)
    damaged = [cv2.GaussianBlur(image, (15, 15), 0) for image in clean]
    damaged[0] = (damaged[0] + draw.normal(0, 9, damaged[0].shape)).clip(0, 255).astype(np.uint8)
    damaged[-1][: height // 2] = 250
    clean[-1][: height // 3] = 250
    return damaged, clean


def tensor(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).movedim(-1, 1)


@pytest.fixture(params=['cpu', 'elsewhere'])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of filtering; that of other devices runs here on the CPU."""
    if request.param == 'elsewhere':
        monkeypatch.setattr(structure, '_means', structure._filter_with_torch)
        monkeypatch.setattr(structure, '_type', lambda _: torch.float64)
    return request.param


@pytest.mark.parametrize('size', [(224, 224), (57, 90), (11, 30)])
def test_ssim_is_the_stock_one(path: str, size: tuple[int, int]) -> None:
    damaged, clean = pairs(*size)
    expected = [calculate_ssim(*pair, 0) for pair in zip(damaged, clean, strict=True)]
    assert ssims(damaged, clean) == pytest.approx(expected, abs=1e-5 if path == 'cpu' else 1e-9)


@pytest.mark.parametrize('size', [(224, 224), (163, 201)])
def test_ms_ssim_is_the_stock_one(path: str, size: tuple[int, int]) -> None:
    damaged, clean = (tensor(images) for images in pairs(*size))
    expected = packaged(damaged.double(), clean.double(), data_range=255, size_average=False)
    found = structure.ms_ssim(damaged, clean)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def means(compare, pixels: int) -> MeanOverFrames:
    """Means of a function of two lists of images."""
    return MeanOverFrames(lambda samples: [(value,) for value in compare(
        [sample.image for sample in samples], [sample.truth for sample in samples])], pixels)


def test_flat_images_have_no_rounding_to_show() -> None:
    for level in (0, 128, 255):
        flat = np.full((32, 32, 3), level, np.uint8)
        for change in (1, 100):
            assert ssims([flat], [flat ^ change])[0] == pytest.approx(calculate_ssim(flat, flat ^ change, 0),
                                                                      abs=1e-5)


@pytest.mark.parametrize('kind', ['calculate_ssim', 'calculate_ms_ssim'])
@pytest.mark.parametrize('together', [1, 2, 100])
def test_batches_change_no_mean(kind: str, together: int) -> None:
    damaged, clean = pairs(165, 170)
    function = {'calculate_ssim': ssims, 'calculate_ms_ssim': ms_ssims}[kind]
    expected = np.mean([function([a], [b])[0] for a, b in zip(damaged, clean, strict=True)])
    measure = means(function, together * 165 * 170)
    for image, truth in zip(damaged, clean, strict=True):
        measure.update(Sample(image, truth))
        assert len(measure.pending) <= together
    assert measure.result()[0] == pytest.approx(expected, abs=1e-7)


def test_a_clip_may_change_its_size_and_be_too_small() -> None:
    measure = means(ssims, 2**20)
    for side in (64, 64, 40):
        damaged, clean = pairs(side, side, 1)
        measure.update(Sample(damaged[0], clean[0]))
    assert 0 < measure.result()[0] < 1 and measure.count == 3
    measure.update(Sample(damaged[0][:10], clean[0][:10]))
    with pytest.raises(UndefinedMetricError, match='at least 11 pixels per side, got 40 x 10'):
        measure.result()


def test_metrics_run_on_their_device_with_their_options() -> None:
    damaged, clean = pairs(48, 48, 1)
    luma = metric_factory('ssim_y', {'type': 'calculate_ssim', 'test_y_channel': True, 'crop_border': 4})
    measure = luma.begin(None)
    measure.update(Sample(damaged[0], clean[0]))
    stock = calculate_ssim(damaged[0], clean[0], 4, test_y_channel=True)
    assert measure.result()[0] == pytest.approx(stock, abs=1e-5)
