"""LPIPS: AlexNet's weights where they belong, the package's numbers, and words for what is amiss."""
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import lpips
import numpy as np
import pytest
import torch
import torchvision
from skimage import data

from gavn.errors import CheckpointError, MissingPackageError
from gavn.metrics.missing import MissingWeightsError, UndefinedMetricError
from gavn.metrics.perceptual import LPIPS

RELUS = (1, 4, 7, 9, 11)  # of torchvision's features


@pytest.fixture(scope='module')
def alexnet() -> torch.nn.Module:
    torch.manual_seed(1)
    return torchvision.models.alexnet(weights=None).eval()


@pytest.fixture(scope='module')
def weights(alexnet: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file as torchvision's, of random numbers; its great layer is cut to keep the file small."""
    path = tmp_path_factory.mktemp('alexnet') / 'alexnet.pth'
    state = alexnet.state_dict()
    torch.save({key: value[:4].clone() if key.startswith('classifier') else value
                for key, value in state.items()}, path)
    yield path
    path.unlink()


@pytest.fixture(scope='module')
def measure(weights: Path) -> LPIPS:
    return LPIPS(weights)


@pytest.fixture(scope='module')
def clean() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[0:224, 112:336, ::-1])


def blurred(image: np.ndarray, kernel: int) -> np.ndarray:
    return cv2.GaussianBlur(image, (kernel, kernel), 0)


def test_the_five_slices_are_torchvisions(measure: LPIPS, alexnet: torch.nn.Module) -> None:
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        for found, end in zip(measure.network.net(image), RELUS, strict=True):
            assert torch.equal(found, alexnet.features[:end + 1](image))


@pytest.mark.filterwarnings('ignore::UserWarning')  # the package's, of its own old ways
def test_equal_to_the_package_with_the_same_weights(
    measure: LPIPS, alexnet: torch.nn.Module, clean: np.ndarray,
) -> None:
    package = lpips.LPIPS(net='alex', pnet_rand=True, verbose=False)
    for (_, ours), theirs in zip(package.net.named_parameters(), alexnet.features.parameters(), strict=True):
        ours.data.copy_(theirs)
    other = blurred(clean, 9)
    images = (torch.from_numpy(image[..., ::-1].copy()).movedim(-1, 0)[None].float() / 127.5 - 1
              for image in (other, clean))
    with torch.no_grad():
        expected = float(package(*images))
    assert measure(other, clean) == pytest.approx(expected, rel=1e-4)


def test_the_linear_layers_are_the_packages(measure: LPIPS) -> None:
    published = torch.load(Path(lpips.__file__).parent / 'weights/v0.1/alex.pth', 'cpu', weights_only=True)
    state = measure.network.state_dict()
    assert len(published) == 5 and all(torch.equal(state[key], value) for key, value in published.items())


def test_what_it_measures(measure: LPIPS, clean: np.ndarray) -> None:
    assert measure(clean, clean) == 0
    values = [measure(blurred(clean, kernel), clean) for kernel in (3, 7, 15, 25)]
    assert values == sorted(values) and values[0] > 0
    assert measure(clean, blurred(clean, 15)) == pytest.approx(values[2], rel=1e-5)


def test_building_is_silent_and_draws_no_random_numbers(weights: Path, capfd: pytest.CaptureFixture[str],
                                                        recwarn: pytest.WarningsRecorder) -> None:
    before = torch.get_rng_state()
    LPIPS(weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ('', '') and not recwarn


def test_images_that_do_not_fit(measure: LPIPS, clean: np.ndarray) -> None:
    with pytest.raises(ValueError, match='different shapes'):
        measure(clean, clean[:100])
    with pytest.raises(UndefinedMetricError, match='31 pixels per side, got 224 x 30'):
        measure(clean[:30], clean[:30])
    assert measure(clean[:31, :31], clean[:31, :31]) == 0


def test_missing_weights_and_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GAVN_HOME', str(tmp_path))
    with pytest.raises(MissingWeightsError, match='gavn models fetch alexnet'):
        LPIPS()
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(MissingPackageError, match=r'pip install .*\[evaluate\]'):
        LPIPS(tmp_path / 'any.pth')


def test_weights_of_another_network_are_refused(tmp_path: Path, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    del state['features.10.bias']
    torch.save(state | {'features.13.bias': torch.zeros(3)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'(?s)missing: slice5.10.bias.*unknown: 13.bias'):
        LPIPS(tmp_path / 'other.pth')
