"""GAVN with `use_alignment: false`: the features of five frames are fused without deformable convolution."""
import pytest
import torch
from torch import Tensor

from gavn.archs.gavn_arch import GAVN
from gavn.ops import DeformableAlignPack
from gavn.runtime.windows import Layout

TINY = {'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': (1, 1), 'deformable_groups': 2,
        'use_identity': False}


@pytest.fixture
def network() -> GAVN:
    torch.manual_seed(0)
    return GAVN(**TINY, radius=3, use_alignment=False).eval()


def test_a_window_of_any_length_gives_the_same_frames(network, frames):
    assert network.layout == Layout(7, 2, 'sequence')
    alone = torch.cat([network(frames[:, start:start + 5]) for start in range(5)], dim=1)
    torch.testing.assert_close(network(frames), alone)


@pytest.mark.parametrize('step', [-2, -1, 1, 2])
def test_each_of_the_four_neighbours_counts(network, frames, step):
    window = frames[:, :5].clone()
    before = network(window)
    window[:, 2 + step] = 0
    assert not torch.allclose(network(window), before)


def test_there_is_no_deformable_convolution(network):
    assert not any(isinstance(module, DeformableAlignPack) for module in network.modules())
    assert len(network.features(torch.rand(1, 3, 32, 32))) == 1


def test_features_are_found_once(network, frames):
    levels = [level.unflatten(0, (1, -1)) for level in network.features(frames[0])]
    torch.testing.assert_close(network(frames, features=levels), network(frames))


@pytest.fixture
def frames() -> Tensor:
    return torch.rand(1, 9, 3, 32, 32, generator=torch.Generator().manual_seed(1))
