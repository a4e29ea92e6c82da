"""EDVR and BasicVSR++: ours in the registry, equal to basicsr's, and at home with every size."""
import subprocess
import sys

import pytest
import torch
from basicsr.archs import basicvsrpp_arch as stock_basicvsrpp
from basicsr.archs import edvr_arch as stock_edvr
from basicsr.archs.spynet_arch import SpyNet as StockSpyNet
from basicsr.utils.registry import ARCH_REGISTRY

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.archs import basicvsrpp_arch, edvr_arch
from gavn.archs.inputs import layout_of
from gavn.archs.spynet import SpyNet, init_spynet
from gavn.basicsr_patches.utils_options import registries
from gavn.registry import replaces_in
from gavn.runtime.windows import Layout

SMALL = {'mid_channels': 8, 'num_blocks': 1, 'is_low_res_input': False, 'min_side': 16}
SMALL_EDVR = {'num_feat': 8, 'num_frame': 3, 'deformable_groups': 2, 'num_extract_block': 1,
              'num_reconstruct_block': 1, 'hr_in': True, 'with_predeblur': True}


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """With weights in the layers too that start at zero, so that alignment shows."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if 'conv_offset' in name:
                parameter.normal_(std=0.05)
    return network.eval()


@pytest.mark.parametrize(('name', 'ours'), [('EDVR', edvr_arch.EDVR),
                                            ('BasicVSRPlusPlus', basicvsrpp_arch.BasicVSRPlusPlus)])
def test_option_files_get_ours(name, ours):
    assert ARCH_REGISTRY.get(name) is ours and registries().network[name] is ours
    assert [key for key, _ in ARCH_REGISTRY].count(name) == 1


@pytest.mark.parametrize(('module', 'build'), [
    ('edvr_arch', 'EDVR(num_feat=8, deformable_groups=2)'), ('basicvsrpp_arch', 'BasicVSRPlusPlus(8, 1)')])
def test_a_network_that_is_imported_alone_has_gavns_layers(module, build):
    code = (f'from gavn.archs.{module} import *; from gavn.ops import DeformableAlignPack as Pack; '
            f'assert sum(isinstance(part, Pack) for part in {build}.modules()) == 4')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_only_a_descendant_takes_a_stock_networks_place():
    class MSRResNet(torch.nn.Module):
        pass

    with pytest.raises(TypeError, match='not derived'):
        replaces_in(ARCH_REGISTRY)(MSRResNet)
    assert ARCH_REGISTRY.get('MSRResNet') is not MSRResNet


class TestBasicVSRPlusPlus:
    def test_has_its_published_size_without_cuda(self):
        with torch.device('meta'):
            network = basicvsrpp_arch.BasicVSRPlusPlus(64, 7, is_low_res_input=False)
        assert parameters(network) == 7_396_783
        assert parameters(network.spynet) == 1_440_300

    @pytest.mark.parametrize(('low_res', 'side'), [(False, 256), (True, 64)])
    def test_equals_stock_where_stock_runs(self, low_res, side):
        stock = shaken(stock_basicvsrpp.BasicVSRPlusPlus(8, 1, is_low_res_input=low_res))
        ours = basicvsrpp_arch.BasicVSRPlusPlus(8, 1, is_low_res_input=low_res).eval()
        assert list(ours.state_dict()) == list(stock.state_dict())
        ours.load_state_dict(stock.state_dict())
        lq = torch.rand(1, 3, 3, side, side)
        with torch.no_grad():
            torch.testing.assert_close(ours(lq), stock(lq), rtol=0, atol=0)

    @pytest.mark.parametrize('length', [1, 2, 5])
    @pytest.mark.parametrize('size', [(16, 16), (30, 21), (5, 7)])
    def test_takes_clips_and_frames_of_any_size(self, length, size):
        network = basicvsrpp_arch.BasicVSRPlusPlus(**SMALL).eval()
        lq = torch.rand(2, length, 3, *size)
        assert network(lq).shape == lq.shape
        enlarging = basicvsrpp_arch.BasicVSRPlusPlus(**{**SMALL, 'is_low_res_input': True, 'min_side': 4})
        assert enlarging(lq[:1]).shape == (1, length, 3, 4 * size[0], 4 * size[1])

    def test_short_sides_are_padded_to_the_least_one(self, monkeypatch):
        seen = []
        network = basicvsrpp_arch.BasicVSRPlusPlus(8, 1, is_low_res_input=False)
        monkeypatch.setattr(network, '_restore', lambda frames: seen.append(frames.shape) or frames)
        for size in ((224, 300), (20, 258)):
            assert network(torch.rand(1, 1, 3, *size)).shape[-2:] == size
        assert [tuple(shape[-2:]) for shape in seen] == [(256, 300), (256, 260)]
        assert basicvsrpp_arch.BasicVSRPlusPlus(8, 1).min_side == 64

    @pytest.mark.parametrize('side', [16, 64])
    def test_flow_stays_in_single_precision(self, side):
        network = basicvsrpp_arch.BasicVSRPlusPlus(**SMALL)
        network.spynet.load_state_dict(StockSpyNet().state_dict())
        lq = torch.rand(1, 3, 3, side, side)
        with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
            flow = network.compute_flow(lq)[0]
            restored = network(lq)
        torch.testing.assert_close(flow, network.compute_flow(lq)[0])
        torch.testing.assert_close(restored.float(), network(lq), rtol=0.05, atol=0.05)

    def test_every_frame_sees_the_whole_clip(self):
        network = shaken(basicvsrpp_arch.BasicVSRPlusPlus(**SMALL))
        lq = torch.rand(1, 4, 3, 16, 16, requires_grad=True)
        network(lq)[:, 1].sum().backward()
        assert (lq.grad.abs().sum((0, 2, 3, 4)) > 0).all()

    def test_its_windows_over_a_long_clip(self):
        assert layout_of(basicvsrpp_arch.BasicVSRPlusPlus(**SMALL)) == Layout(11, 2, 'clip')
        assert basicvsrpp_arch.BasicVSRPlusPlus(**SMALL, window=7, context=0).layout == Layout(7, 0, 'clip')

    @pytest.mark.parametrize('wrong', [{'mid_channels': 12}, {'window': 4}])
    def test_numbers_that_do_not_fit_are_refused(self, wrong):
        with pytest.raises(ValueError, match='mid_channels divisible by 8 and window > 2 context'):
            basicvsrpp_arch.BasicVSRPlusPlus(**{**SMALL, **wrong})


class TestSpyNet:
    def test_equals_stock_where_stock_runs(self):
        stock, ours = StockSpyNet(), SpyNet()
        ours.load_state_dict(stock.state_dict())
        for size in ((64, 64), (33, 70)):
            ref, supp = torch.rand(2, 2, 3, *size)
            torch.testing.assert_close(ours(ref, supp), stock(ref, supp), rtol=0, atol=0)

    @pytest.mark.parametrize(('size', 'levels'), [((32, 32), 5), ((16, 80), 4), ((17, 17), 5), ((2, 3), 1),
                                                  ((1, 9), 1)])
    def test_small_images_take_the_levels_that_fit(self, size, levels):
        network = SpyNet()
        ref, supp = torch.rand(2, 2, 3, *size)
        flow = network(ref, supp)
        assert flow.shape == (2, 2, *size)
        flow.square().sum().backward()
        used = [level.basic_module[-1].bias.grad is not None for level in network.basic_module]
        assert used == [False] * (6 - levels) + [True] * levels

    def test_fine_levels_are_those_of_the_whole_network(self):
        """Where the coarse levels see no motion, leaving them out changes nothing."""
        network = SpyNet()
        for level in network.basic_module[:2]:
            torch.nn.init.zeros_(level.basic_module[-1].weight)
            torch.nn.init.zeros_(level.basic_module[-1].bias)
        ref, supp = torch.rand(2, 1, 3, 64, 64)
        torch.testing.assert_close(network._flow(ref, supp, 4), network(ref, supp))

    def test_flow_is_in_pixels_of_the_image(self):
        network = SpyNet()
        init_spynet(network, None)
        ref, supp = torch.rand(2, 1, 3, 12, 20)  # computed at 16 x 24
        assert not network(ref, supp).any()
        torch.nn.init.ones_(network.basic_module[-1].basic_module[-1].bias)
        flow = network(ref, supp)
        torch.testing.assert_close(flow[:, 0], torch.full((1, 12, 20), 20 / 24))
        torch.testing.assert_close(flow[:, 1], torch.full((1, 12, 20), 12 / 16))


class TestEDVR:
    @pytest.mark.parametrize(('width', 'blocks', 'count'), [(64, 10, 4_042_851), (128, 40, 23_602_019)])
    def test_sizes_m_and_l(self, width, blocks, count):
        with torch.device('meta'):
            network = edvr_arch.EDVR(num_feat=width, num_reconstruct_block=blocks, hr_in=True,
                                     with_predeblur=True)
        assert parameters(network) == count

    @pytest.mark.parametrize('hr_in', [True, False])
    def test_equals_stock_where_stock_runs(self, hr_in):
        options = {**SMALL_EDVR, 'hr_in': hr_in}
        stock, ours = shaken(stock_edvr.EDVR(**options)), edvr_arch.EDVR(**options).eval()
        assert list(ours.state_dict()) == list(stock.state_dict())
        ours.load_state_dict(stock.state_dict())
        lq = torch.rand(2, 3, 3, 32, 16)
        torch.testing.assert_close(ours(lq), stock(lq), rtol=0, atol=0)

    @pytest.mark.parametrize('size', [(30, 21), (5, 7)])
    def test_takes_frames_of_any_size(self, size):
        lq = torch.rand(1, 3, 3, *size)
        assert edvr_arch.EDVR(**SMALL_EDVR)(lq).shape == (1, 3, *size)
        enlarging = edvr_arch.EDVR(**{**SMALL_EDVR, 'hr_in': False})
        assert enlarging(lq).shape == (1, 3, 4 * size[0], 4 * size[1])

    def test_takes_frames_that_are_no_block_of_memory(self):
        lq = torch.rand(1, 3, 3, 32, 48)
        network = edvr_arch.EDVR(**SMALL_EDVR)
        torch.testing.assert_close(network(lq[..., :32]), network(lq[..., :32].contiguous()))

    @pytest.mark.parametrize('with_tsa', [True, False])
    def test_takes_aligned_features_in_any_order(self, with_tsa):
        """Some deformable convolutions give them channels-last where weights are."""
        network = shaken(edvr_arch.EDVR(**SMALL_EDVR, with_tsa=with_tsa))
        lq = torch.rand(2, 3, 3, 32, 32)
        with torch.inference_mode():
            expected = network(lq)
            network.pcd_align.cas_dcnpack.register_forward_hook(
                lambda layer, given, result: result.to(memory_format=torch.channels_last))
            assert torch.equal(network(lq), expected)

    @pytest.mark.parametrize('with_tsa', [True, False])
    def test_its_windows_over_a_clip(self, with_tsa):
        network = edvr_arch.EDVR(**SMALL_EDVR, with_tsa=with_tsa)
        assert layout_of(network) == layout_of(network, 'centre') == Layout(1, 1, 'centre')
        with pytest.raises(ValueError, match='center_frame_idx: 0 is not the middle of num_frame: 3'):
            layout_of(edvr_arch.EDVR(**SMALL_EDVR, with_tsa=with_tsa, center_frame_idx=0))
