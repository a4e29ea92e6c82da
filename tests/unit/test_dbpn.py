"""DBPN: published sizes, published outputs, and the same-size form."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from gavn.archs.dbpn_arch import DBPN
from gavn.runtime.windows import Layout

TINY = {'base_filter': 4, 'feat': 8, 'num_stages': 3}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def recipe(shared, monkeypatch):
    """The weights and inputs behind the reference vectors."""
    monkeypatch.syspath_prepend(shared / 'vectors')
    return pytest.importorskip('recipe')


class TestAgainstTheOriginal:
    @pytest.mark.shared
    @pytest.mark.parametrize('name', ['dbpn_x2', 'dbpn_x4'])
    def test_names_shapes_and_output(self, name, shared, recipe):
        facts = json.loads((shared / 'vectors' / f'{name}.json').read_text())
        network = DBPN(**facts['config'])
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == facts['state_dict']
        recipe.fill(network)
        with torch.no_grad():
            output = network(recipe.uniform(name, (1, 3, 16, 16))).numpy()
        expected = np.load(shared / 'vectors' / f'{name}.npz')['output']
        assert np.abs(output - expected).max() < 1e-5 * np.abs(expected).max()

    @pytest.mark.parametrize(('options', 'parameters'), [
        ({'scale_factor': 2}, 5_953_526),
        ({'scale_factor': 4}, 10_426_358),
        ({'scale_factor': 8}, 23_205_878),
        ({'scale_factor': 4, 'num_stages': 10}, 15_348_302),
        ({'scale_factor': 4, 'same_size': True}, 10_530_038),
    ])
    def test_published_sizes(self, options, parameters):
        with torch.device('meta'):
            assert count(DBPN(**options)) == parameters


class TestForward:
    @pytest.mark.parametrize('scale', [2, 4, 8])
    @pytest.mark.parametrize('stages', [2, 3])
    def test_native_form_enlarges(self, scale, stages):
        network = DBPN(**{**TINY, 'num_stages': stages}, scale_factor=scale)
        assert network(torch.rand(2, 3, 7, 9)).shape == (2, 3, 7 * scale, 9 * scale)

    @pytest.mark.parametrize('size', [(32, 16), (33, 47), (5, 3), (1, 1)])
    def test_any_size(self, size):
        result = DBPN(**TINY, same_size=True)(torch.rand(2, 3, *size))
        assert result.shape == (2, 3, *size)
        assert result.isfinite().all()

    def test_padding_is_the_mirror_image(self):
        network, lq = DBPN(**TINY, same_size=True), torch.rand(1, 3, 14, 16)
        padded = network(F.pad(lq, (0, 0, 0, 2), 'reflect'))
        torch.testing.assert_close(network(lq), padded[:, :, :14])

    def test_adds_to_the_frame(self):
        network, lq = DBPN(**TINY, same_size=True), torch.rand(1, 3, 16, 16)
        nn.init.zeros_(network.output_conv.conv.weight)
        assert torch.equal(network(lq), lq)

    def test_is_a_network_of_single_frames(self):
        assert ARCH_REGISTRY.get('DBPN') is DBPN
        assert DBPN(**TINY).layout == Layout(1, 0, 'frame')

    @pytest.mark.parametrize('wrong', [{'num_stages': 1}, {'scale_factor': 3}])
    def test_refuses_other_stages_and_scales(self, wrong):
        with pytest.raises(ValueError, match=r'num_stages >= 2 and scale_factor among 2, 4, 8'):
            DBPN(**{**TINY, **wrong})


class TestStart:
    def test_begins_close_to_the_input(self):
        lq = torch.rand(2, 3, 32, 32)
        change = DBPN(base_filter=16, feat=64, same_size=True)(lq) - lq
        assert 0 < change.abs().mean() < 0.02

    def test_features_keep_their_size_through_all_stages(self):
        network, sizes = DBPN(base_filter=16, feat=64, same_size=True), {}
        for stage in range(1, 8):
            network.get_submodule(f'up{stage}').register_forward_hook(
                lambda _m, _i, out, stage=stage: sizes.update({stage: out.square().mean().sqrt().item()}))
        network(torch.rand(2, 3, 32, 32))
        assert sizes[7] > 0.3 * sizes[1]

    def test_learns_at_once(self):
        sharp = (torch.rand(2, 3, 32, 32) > 0.5).float()
        lq = F.avg_pool2d(sharp, 3, 1, 1)
        network = DBPN(base_filter=8, feat=32, same_size=True)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        losses = []
        for _ in range(20):
            losses.append((network(lq) - sharp).abs().mean())
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.95 * losses[0]

    def test_every_parameter_learns(self):
        network = DBPN(**TINY, same_size=True)
        network(torch.rand(1, 3, 16, 16)).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().any() for p in network.parameters())
