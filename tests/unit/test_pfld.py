"""The landmark detector: sizes, the published form against reference vectors, its start and its errors."""
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gavn.archs.pfld_arch import PFLDAV, AuxiliaryPoseNet
from gavn.faces.landmarks import MEAN_FACE


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope='module')
def recipe(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('recipe', shared / 'vectors' / 'recipe.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(('options', 'parameters'), [
    ({}, 2_009_640),
    ({'use_audio': False}, 1_254_056),
    ({'num_points': 98, 'use_audio': False, 'published_form': True}, 1_264_804),
])
def test_parameters(options: dict, parameters: int) -> None:
    assert count(PFLDAV(**options)) == parameters


def test_parameters_of_the_pose_net() -> None:
    assert count(AuxiliaryPoseNet()) == 463_811


def test_multiplications() -> None:
    network = PFLDAV().eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.rand(1, 3, 112, 112), torch.rand(1, 1, 13, 20))
    assert counter.get_total_flops() / 2 == pytest.approx(0.394e9, rel=5e-3)


def test_published_form_reproduces_the_reference(shared: Path, recipe: ModuleType) -> None:
    names = json.loads((shared / 'vectors' / 'pfld98.json').read_text())
    expected = np.load(shared / 'vectors' / 'pfld98.npz')
    detector = PFLDAV(num_points=98, use_audio=False, published_form=True)
    pose = AuxiliaryPoseNet(detector.tap_channels)
    assert {k: list(v.shape) for k, v in detector.state_dict().items()} == names['state_dict']
    assert {k: list(v.shape) for k, v in pose.state_dict().items()} == names['auxiliary_state_dict']
    recipe.fill(detector)
    recipe.fill(pose)
    with torch.no_grad():
        points, features = detector(recipe.uniform('pfld', (1, 3, 112, 112)), with_features=True)
        angles = pose(features)
    for found, key in ((features, 'features'), (points.flatten(1), 'landmarks'), (angles, 'angles')):
        error = np.abs(found.numpy() - expected[key]).max() / np.abs(expected[key]).max()
        assert error < 1e-4, key


def test_the_68_point_form_shares_the_published_names() -> None:
    published = PFLDAV(num_points=98, use_audio=False, published_form=True).state_dict()
    ours = PFLDAV(use_audio=False).state_dict()
    assert published.keys() - ours.keys() == {'conv8.bias'} and not ours.keys() - published.keys()
    differing = {key for key in ours if ours[key].shape != published[key].shape}
    assert differing == {'fc.weight', 'fc.bias'}


@pytest.mark.parametrize('use_audio', [True, False])
def test_untrained_detector_answers_a_generic_face(use_audio: bool) -> None:
    network = PFLDAV(use_audio=use_audio, width=0.25)
    points, features = network(torch.rand(8, 3, 112, 112), torch.randn(8, 1, 13, 20), with_features=True)
    assert points.shape == (8, 68, 2) and features.shape == (8, network.tap_channels, 28, 28)
    assert AuxiliaryPoseNet(network.tap_channels)(features).shape == (8, 3)
    assert (points - torch.tensor(MEAN_FACE)).abs().mean() < 0.1


def test_audio_and_image_both_reach_every_point() -> None:
    network = PFLDAV(width=0.25).eval()
    face = torch.rand(1, 3, 112, 112, requires_grad=True)
    audio = torch.randn(1, 1, 13, 20, requires_grad=True)
    for output in network(face, audio).flatten()[::15]:
        for gradient in torch.autograd.grad(output, (face, audio), retain_graph=True):
            assert gradient.abs().max() > 0


def test_detector_without_audio_ignores_it() -> None:
    network = PFLDAV(use_audio=False, width=0.25).eval()
    face = torch.rand(2, 3, 112, 112)
    torch.testing.assert_close(network(face, torch.randn(2, 1, 13, 20)), network(face), rtol=0, atol=0)


def test_frozen_detector_keeps_its_statistics() -> None:
    network = PFLDAV(width=0.25).requires_grad_(False).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(torch.rand(4, 3, 112, 112), torch.randn(4, 1, 13, 20))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_errors() -> None:
    network = PFLDAV(width=0.25)
    with pytest.raises(ValueError, match=r'faces \(n, 3, 112, 112\), got \(1, 3, 224, 224\)'):
        network(torch.rand(1, 3, 224, 224), torch.rand(1, 1, 13, 20))
    with pytest.raises(ValueError, match='use_audio: false'):
        network(torch.rand(1, 3, 112, 112))
