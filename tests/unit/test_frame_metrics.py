"""PSNR, SSIM, MS-SSIM and NIQE against BasicSR's and against golden values."""
import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_psnr, calculate_ssim
from skimage import data

from gavn.metrics import METRICS, niqe, psnr, ssim
from gavn.metrics.frame import ms_ssim
from gavn.metrics.missing import UndefinedMetricError

GOLDEN = {  # blurred astronaut: PSNR, SSIM, PSNR of luma, SSIM of luma, MS-SSIM, NIQE
    15: (24.2669, 0.74348, 25.7550, 0.78540, 0.92779, 10.2183),
    21: (22.8524, 0.68432, 24.3363, 0.73537, 0.88486, 10.6185),
    25: (22.0857, 0.65145, 23.5683, 0.70717, 0.85356, 11.3586),
}


@pytest.fixture(scope='module')
def clean() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[0:224, 112:336, ::-1])


def noisy(image: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize('kernel', GOLDEN)
def test_golden_values_of_blur(clean: np.ndarray, kernel: int) -> None:
    blurred = cv2.GaussianBlur(clean, (kernel, kernel), 0)
    found = [psnr(blurred, clean), ssim(blurred, clean), psnr(blurred, clean, test_y_channel=True),
             ssim(blurred, clean, test_y_channel=True), ms_ssim(blurred, clean), niqe(blurred)]
    tolerance = [1e-2, 1e-3, 1e-2, 1e-3, 1e-3, 1e-2]
    assert (np.abs(np.subtract(found, GOLDEN[kernel])) < tolerance).all()


def test_niqe_of_a_clean_image(clean: np.ndarray) -> None:
    assert niqe(clean) == pytest.approx(5.4551, abs=1e-2)


@pytest.mark.parametrize('crop_border', [0, 4])
@pytest.mark.parametrize('test_y_channel', [False, True])
@pytest.mark.parametrize('size', [(224, 224), (57, 91)])
def test_equal_to_basicsr(
    clean: np.ndarray, size: tuple[int, int], crop_border: int, test_y_channel: bool,
) -> None:
    image = np.ascontiguousarray(clean[:size[0], :size[1]])
    options = {'crop_border': crop_border, 'test_y_channel': test_y_channel}
    for ours, stock in ((psnr, calculate_psnr), (ssim, calculate_ssim)):
        expected = stock(noisy(image), image, **options)
        assert ours(noisy(image), image, **options) == pytest.approx(expected, abs=1e-6)


def test_equal_images(clean: np.ndarray) -> None:
    assert psnr(clean, clean) == 100
    assert 1 - 1e-6 < ssim(clean, clean) <= 1


def test_known_error() -> None:
    grey = np.full((16, 16, 3), 100, np.uint8)
    assert psnr(grey + 5, grey) == pytest.approx(20 * np.log10(255 / 5))


def test_bad_input_is_named(clean: np.ndarray) -> None:
    with pytest.raises(ValueError, match='different shapes'):
        psnr(clean, clean[:100])
    with pytest.raises(ValueError, match='at least 11'):
        ssim(clean[:10], clean[:10])


def test_table_knows_directions_of_frame_metrics(clean: np.ndarray) -> None:
    slight, strong = (cv2.GaussianBlur(clean, (k, k), 0) for k in (5, 25))
    for name, measure in (('psnr', psnr), ('ssim', ssim), ('ms_ssim', ms_ssim)):
        rises = measure(slight, clean) > measure(strong, clean)
        assert rises == (METRICS[f'calculate_{name}'].better == 'higher'), name
    assert niqe(slight) < niqe(strong) and METRICS['calculate_niqe'].better == 'lower'


def test_ms_ssim_by_its_ends_and_border(clean: np.ndarray) -> None:
    assert ms_ssim(clean, clean) == pytest.approx(1, abs=1e-6)
    framed = clean.copy()
    framed[:4] = 0
    assert ms_ssim(framed, clean) < 0.999
    assert ms_ssim(framed, clean, crop_border=4) == pytest.approx(1, abs=1e-6)


def test_images_that_are_too_small_have_no_value(clean: np.ndarray) -> None:
    with pytest.raises(UndefinedMetricError, match='more than 160 pixels per side, got 224 x 160'):
        ms_ssim(clean[:160], clean[:160])
    assert ms_ssim(clean[:161], clean[:161]) == pytest.approx(1, abs=1e-6)
    with pytest.raises(UndefinedMetricError, match='two blocks of 96 x 96 pixels, got 191 x 191'):
        niqe(clean[:191, :191])
    assert np.isfinite(niqe(np.ascontiguousarray(clean[:96, :192])))
    with pytest.raises(UndefinedMetricError, match='the image is flat'):
        niqe(np.full((224, 224, 3), 90, np.uint8))
