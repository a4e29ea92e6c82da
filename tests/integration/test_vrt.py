"""VRT: published sizes, published outputs, and what its parts do."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.spynet_arch import SpyNet
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from gavn.archs import vrt_flow
from gavn.archs.spynet import target_positions
from gavn.archs.vrt_arch import VRT, FrameConv
from gavn.archs.vrt_attention import Block
from gavn.errors import CheckpointError
from gavn.models.cost import parameters
from gavn.ops.deform_align import FlowGuidedAlignPack
from gavn.runtime.windows import Layout

TINY = {'img_size': (6, 32, 32), 'window_size': (6, 4, 4), 'depths': [2] * 7 + [1, 1], 'indep_reconsts': [8],
        'embed_dims': [8] * 7 + [12, 12], 'num_heads': [2] * 9, 'deformable_groups': 2}


def tiny(**options: object) -> VRT:
    return VRT(**{**TINY, **options})


def lively(network: nn.Module) -> nn.Module:
    """Weights with which every part acts, motion and offsets included."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and 'spynet' not in name:
            nn.init.normal_(parameter, std=math.prod(parameter.shape[1:]) ** -0.5)
    for level in network.spynet.basic_module:
        nn.init.normal_(level.basic_module[-1].weight, std=0.01)
        nn.init.normal_(level.basic_module[-1].bias, std=0.02)
    return network


def facts(shared: Path, name: str) -> dict:
    return json.loads((shared / 'vectors' / f'{name}.json').read_text())


@pytest.fixture
def recipe(shared, monkeypatch):
    """The weights and inputs behind the reference vectors."""
    monkeypatch.syspath_prepend(shared / 'vectors')
    return pytest.importorskip('recipe')


# Pair, y, x and axis of a target position, the pixel it is at, and how far beside it.
_ON_A_PIXEL = [((1, 6, 16, 0), 19, 0.0), ((3, 54, 34, 0), 38, -1e-4), ((4, 14, 58, 0), 63, 1e-4),
               ((5, 38, 27, 1), 37, 1e-4), ((6, 39, 47, 0), 52, -1e-4)]


def conv_3d(conv: FrameConv, x: Tensor) -> Tensor:
    """What FrameConv computes, by the operator that the original uses."""
    return nn.Conv3d.forward(conv, x.transpose(0, 1)[None])[0].transpose(0, 1)


_align_all = FlowGuidedAlignPack.forward


def align_one_by_one(pack: FlowGuidedAlignPack, *inputs: Tensor) -> Tensor:
    """What the pack computes, for one pair of frames at a time, as the original does."""
    return torch.cat([_align_all(pack, *(part[None].contiguous() for part in pair))
                      for pair in zip(*inputs, strict=True)])


class TestAgainstTheOriginal:
    @pytest.mark.shared
    def test_output(self, shared, recipe, monkeypatch):
        """Up to rounding, which these weights multiply: noise of 1e-7 in the input moves the output by 0.3 %.

        Five target positions are so near to a whole pixel that rounding decides which pixels are picked, and
        each moves the output by a fifth. `_ON_A_PIXEL` holds the original's positions.
        """
        moved = []

        def positions_as_the_originals(flow: Tensor) -> Tensor:
            position = target_positions(flow)
            if position.shape == (10, 64, 64, 2):
                for place, pixel, beside in _ON_A_PIXEL:
                    assert abs(position[place] - pixel) < 1e-3
                    position[place] = pixel + beside
                moved.append(len(_ON_A_PIXEL))
            return position

        monkeypatch.setattr(vrt_flow, 'target_positions', positions_as_the_originals)
        network = VRT(**facts(shared, 'vrt_tiny_deblur')['config'])
        recipe.fill(network)
        with torch.no_grad():
            output = network(recipe.smooth_clip('vrt_tiny_deblur', (1, 6, 3, 64, 64))).numpy()
        expected = np.load(shared / 'vectors' / 'vrt_tiny_deblur.npz')['output']
        assert np.linalg.norm(output - expected) < 0.01 * np.linalg.norm(expected)
        assert moved == [5]

    def test_our_operators_give_the_same_network(self, monkeypatch):
        """Nearly everywhere: neighbours are picked by rounding places, which jumps."""
        torch.manual_seed(3)
        network, lq = tiny().eval(), torch.rand(1, 6, 3, 32, 32)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith('conv_offset.6.weight') or name == 'conv_last.weight':
                    nn.init.normal_(parameter, std=0.1)
            ours = network(lq) - lq
            monkeypatch.setenv('GAVN_DCN_BACKEND', 'torchvision')
            monkeypatch.setattr(FrameConv, 'forward', conv_3d)
            monkeypatch.setattr(FlowGuidedAlignPack, 'forward', align_one_by_one)
            theirs = network(lq) - lq
        errors = (ours - theirs).abs() / theirs.abs().max()
        assert errors.quantile(0.9) < 5e-6
        assert errors.max() > 0  # the operators were swapped

    def test_our_convolution_is_the_originals(self):
        conv, x = FrameConv(5, 4), torch.randn(6, 5, 8, 12)
        torch.testing.assert_close(conv(x), conv_3d(conv, x))

    def test_our_alignment_is_the_originals(self, monkeypatch):
        pack = FlowGuidedAlignPack(8, 8, 3, 10, padding=1, deformable_groups=2)
        nn.init.normal_(pack.conv_offset[-1].weight, std=0.1)
        inputs = torch.randn(4, 8, 12, 16), torch.randn(4, 16, 12, 16), 2 * torch.randn(4, 2, 12, 16)
        ours = pack(*inputs)
        monkeypatch.setenv('GAVN_DCN_BACKEND', 'torchvision')
        torch.testing.assert_close(ours, align_one_by_one(pack, *inputs), rtol=1e-4, atol=1e-5)

    @pytest.mark.shared
    @pytest.mark.parametrize('name', ['vrt_tiny_deblur', 'vrt_videodeblurring', 'vrt_videosr_reds_6f'])
    def test_names_and_shapes(self, name, shared):
        original = facts(shared, name)
        with torch.device('meta'):
            network = VRT(**original['config'])
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert shapes == original['state_dict']
        assert parameters(network) == original['parameters']

    @pytest.mark.parametrize(('part', 'expected'), [
        ('stage1', 2_027_712), ('stage2', 2_065_248), ('stage5', 2_029_968), ('stage8', 2_528_472),
        ('stage1.residual_group1.blocks.0', 134_610), ('stage1.residual_group2.blocks.0', 108_258),
        ('stage1.pa_deform', 790_512), ('stage1.pa_fuse', 194_208), ('conv_first', 23_424),
        ('conv_after_body', 11_616), ('conv_last', 2_595), ('norm', 240),
        ('spynet', 1_440_300), ('', 18_320_007),
    ])
    def test_published_sizes(self, part, expected, published):
        assert parameters(published.get_submodule(part)) == expected

    def test_published_size_for_sixteen_frames(self):
        with torch.device('meta'):
            assert parameters(VRT(img_size=(16, 192, 192), window_size=(8, 8, 8))) == 18_438_807


@pytest.fixture(scope='module')
def published() -> VRT:
    with torch.device('meta'):
        return VRT()


class TestForward:
    @pytest.mark.parametrize('frames', [1, 2, 5, 7])
    def test_any_number_of_frames(self, frames):
        with torch.no_grad():
            result = lively(tiny())(torch.rand(1, frames, 3, 32, 32))
        assert result.shape == (1, frames, 3, 32, 32)
        assert result.isfinite().all()

    @pytest.mark.parametrize('size', [(33, 40), (5, 3), (1, 1)])
    def test_any_size(self, size):
        with torch.no_grad():
            result = tiny()(torch.rand(2, 2, 3, *size))
        assert result.shape == (2, 2, 3, *size)
        assert result.isfinite().all()

    def test_padding_is_the_mirror_image(self):
        network, lq = lively(tiny()).eval(), torch.rand(1, 2, 3, 24, 32)
        padded = F.pad(lq.flatten(0, 1), (0, 0, 0, 8), 'reflect').unflatten(0, (1, 2))
        with torch.no_grad():
            torch.testing.assert_close(network(lq), network(padded)[..., :24, :])

    def test_samples_of_a_batch_do_not_mix(self):
        network, lq = lively(tiny()).eval(), torch.rand(2, 3, 3, 32, 32)
        with torch.no_grad():
            alone = torch.cat([network(clip[None]) for clip in lq])
            torch.testing.assert_close(network(lq), alone, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize('scale', [2, 4])
    def test_enlarges(self, scale):
        network, lq = tiny(upscale=scale), torch.rand(1, 2, 3, 16, 20)
        nn.init.zeros_(network.conv_last.weight)
        nn.init.zeros_(network.conv_last.bias)
        with torch.no_grad():
            result = network(lq)
        larger = F.interpolate(lq[0], scale_factor=scale, mode='bilinear')[None]
        assert result.shape == larger.shape
        inner = (..., slice(0, 12 * scale), slice(0, 16 * scale))  # the mirrored rows reach into the last one
        torch.testing.assert_close(result[inner], larger[inner])

    def test_is_a_network_of_whole_windows(self):
        assert ARCH_REGISTRY.get('VRT') is VRT
        assert tiny().layout == Layout(4, 1, 'clip')
        assert tiny(context=0).layout == Layout(6, 0, 'clip')

    def test_every_frame_sees_its_neighbours_and_no_clip_another(self):
        network = lively(tiny()).eval()
        lq = torch.rand(1, 4, 3, 32, 32, requires_grad=True)
        network(lq)[:, 1].sum().backward()
        assert all(lq.grad[0, frame].abs().sum() > 0 for frame in range(4))

    def test_can_be_counted_without_being_computed(self):
        with torch.device('meta'):
            assert tiny()(torch.rand(1, 6, 3, 64, 64)).shape == (1, 6, 3, 64, 64)

    def test_in_bfloat16(self):
        network, lq = tiny().eval(), torch.rand(1, 2, 3, 32, 32)
        with torch.autocast('cpu', torch.bfloat16):
            half = network(lq)
            half.square().mean().backward()
        assert network.stage1.linear1.weight.grad.isfinite().all()
        torch.testing.assert_close(half.float(), network(lq), rtol=0.05, atol=0.05)

    def test_loads_flow_weights(self, tmp_path):
        flow = {key: value for key, value in SpyNet().state_dict().items() if key not in ('mean', 'std')}
        torch.save({'params': flow}, tmp_path / 'spynet.pth')  # as published
        network = tiny(spynet_path=tmp_path / 'spynet.pth')
        assert network.spynet.basic_module[5].basic_module[8].weight.abs().sum() > 0
        torch.save({'params': nn.Linear(2, 2).state_dict()}, tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match=r'other\.pth do not fit the network FlowPyramid'):
            tiny(spynet_path=tmp_path / 'other.pth')

    @pytest.mark.parametrize(('wrong', 'words'), [
        ({'depths': [2] * 8}, 'one entry for each'),
        ({'embed_dims': [8] * 6 + [16, 12, 12]}, 'need the same number of channels'),
        ({'num_heads': [3] * 9}, '8 channels are not divisible by 3 heads'),
        ({'deformable_groups': 3}, 'divisible by 4 and by deformable_groups'),
        ({'upscale': 3}, 'upscale must be one of 1, 2, 4, 8'),
        ({'pa_frames': 4}, 'pa_frames 2'),
        ({'context': 3}, 'a window of 6 frames'),
    ])
    def test_wrong_numbers_are_refused(self, wrong, words):
        with pytest.raises(ValueError, match=words):
            tiny(**wrong)


class TestTraining:
    def test_starts_without_motion(self):
        assert all(not flow.any() for flow in tiny().spynet(torch.rand(1, 2, 3, 32, 32)))

    def test_checkpointing_changes_no_number(self):
        lq, results = torch.rand(2, 2, 3, 32, 32), []
        plain = lively(tiny()).train()
        for use_checkpoint in (False, True):
            network = tiny(use_checkpoint=use_checkpoint).train()
            network.load_state_dict(plain.state_dict())
            torch.manual_seed(1)  # drop path
            output = network(lq)
            output.square().mean().backward()
            results.append([output, *(parameter.grad for parameter in network.parameters())])
        torch.testing.assert_close(*results)

    def test_drop_path_leaves_out_in_training_only(self):
        block, x = Block(8, (2, 4, 4), 2, False, True, 2, drop_path=0.9), torch.randn(20, 2, 4, 4, 8)
        unchanged = (block.train()(x) == x).flatten(1).all(dim=1)
        assert 8 <= unchanged.sum() <= 20  # 0.81 of 20 leave out both branches
        assert not (block.eval()(x) == x).flatten(1).all(dim=1).any()

    def test_drop_path_grows_to_the_last_block(self):
        blocks = [module for module in tiny(drop_path=0.3).modules() if isinstance(module, Block)]
        rates = [block.drop_path.rate for block in blocks]
        np.testing.assert_allclose(rates, np.linspace(0, 0.3, 16), atol=1e-9)

    def test_stages_keep_the_size_of_features(self):
        network, sizes = tiny(), []
        for stage in range(1, 8):
            network.get_submodule(f'stage{stage}').register_forward_hook(
                lambda _m, _i, out: sizes.append(out.square().mean().sqrt().item()))
        lq = torch.rand(1, 2, 3, 32, 32)
        with torch.no_grad():
            change = network(lq) - lq
        assert all(0.5 < size < 2 for size in sizes)
        assert 0 < change.abs().mean() < 0.15

    def test_learns_at_once(self):
        sharp = F.interpolate((torch.rand(2, 3, 4, 4) > 0.5).float(), scale_factor=8)
        lq, sharp = F.avg_pool2d(sharp, 5, 1, 2)[None], sharp[None]
        network = tiny(drop_path=0)
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        losses = []
        for _ in range(15):
            losses.append((network(lq) - sharp).abs().mean())
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.9 * losses[0]

    def test_every_parameter_learns(self):
        network = lively(tiny(drop_path=0))
        network(torch.rand(1, 2, 3, 32, 32)).square().mean().backward()
        still = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().any()}
        assert not still
