"""Deformable convolution: the backends agree with each other and with what can be computed by hand."""

import copy
import importlib
import sys
import types

import pytest
import torch
import torch.nn.functional as F
import torchvision
from basicsr.archs import arch_util, basicvsrpp_arch, build_network
from basicsr.archs.edvr_arch import EDVR
from torch import Tensor

import gavn.archs  # noqa: F401  (puts basicsr's networks on our operator)
from gavn.ops import DeformableAlignPack, deform_conv, modulated_deform_conv2d, offset_magnitudes
from gavn.ops.deform_align import FlowGuidedAlignPack
from gavn.ops.deform_conv import installed_backends, resolve_backend

dcn = importlib.import_module('basicsr.ops.dcn.deform_conv')  # its package hides it by a function

# stride, padding, dilation, groups, deform groups, kernel (h, w), input size (h, w)
CONFIGURATIONS = [
    (1, 1, 1, 1, 1, (3, 3), (6, 7)),
    (2, 1, 1, 2, 4, (3, 3), (9, 6)),
    (1, (2, 0), (2, 1), 1, 2, (3, 1), (7, 5)),
    ((1, 2), (0, 2), 2, 4, 8, (1, 3), (1, 9)),
    (1, 1, 1, 1, 2, (3, 3), (1, 1)),
]
BACKENDS = [name for name in installed_backends() if name not in ('triton', 'basicsr')]  # on a CPU


def draw(configuration: tuple, dtype: torch.dtype = torch.float32, spread: float = 2.0) -> list[Tensor]:
    """Inputs whose taps often leave the image."""
    stride, padding, dilation, groups, deform_groups, kernel, size = configuration
    x = torch.randn(2, 8, *size, dtype=dtype)
    weight = torch.randn(8, 8 // groups, *kernel, dtype=dtype)
    out = F.conv2d(x, weight, None, stride, padding, dilation, groups).shape[2:]
    taps = deform_groups * kernel[0] * kernel[1]
    offset = spread * torch.randn(2, 2 * taps, *out, dtype=dtype)
    mask = torch.rand(2, taps, *out, dtype=dtype)
    return [x, offset, mask, weight, torch.randn(8, dtype=dtype)]


def gradients(tensors: list[Tensor], options: tuple, backend: str) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in tensors]
    result = modulated_deform_conv2d(*leaves, *options, backend=backend)
    return [result.detach(), *torch.autograd.grad(result.sin().sum(), leaves)]


@pytest.mark.parametrize('backend', BACKENDS[:1] + BACKENDS[2:])
@pytest.mark.parametrize('configuration', CONFIGURATIONS)
def test_backends_give_torchvisions_values_and_gradients(configuration, backend):
    tensors, options = draw(configuration), configuration[:5]
    expected = gradients(tensors, options, 'torchvision')
    for got, want in zip(gradients(tensors, options, backend), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_reference_is_exact_in_double_precision():
    tensors, options = draw(CONFIGURATIONS[1], torch.float64), CONFIGURATIONS[1][:5]
    expected = gradients(tensors, options, 'torchvision')
    for got, want in zip(gradients(tensors, options, 'reference'), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('configuration', [CONFIGURATIONS[3], (1, 1, 1, 1, 2, (3, 3), (3, 4))])
def test_gradients_of_the_reference_are_those_of_its_values(configuration):
    leaves = [t.requires_grad_() for t in draw(configuration, torch.float64, spread=0.7)]

    def convolve(*tensors: Tensor) -> Tensor:
        return modulated_deform_conv2d(*tensors, *configuration[:5], backend='reference')

    assert torch.autograd.gradcheck(convolve, leaves, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('configuration', CONFIGURATIONS)
def test_unmoved_taps_are_a_plain_convolution(configuration, backend):
    stride, padding, dilation, groups, *_ = options = configuration[:5]
    x, offset, mask, weight, bias = draw(configuration)
    got = modulated_deform_conv2d(
        x, torch.zeros_like(offset), torch.ones_like(mask), weight, bias, *options, backend
    )
    want = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('backend', BACKENDS)
def test_whole_offsets_shift_the_image(backend):
    x, weight = torch.randn(1, 4, 6, 8), torch.randn(4, 4, 3, 3)
    offset = torch.zeros(1, 9, 2, 6, 8)
    offset[:, :, 0], offset[:, :, 1] = 2, -1  # dy, dx
    got = modulated_deform_conv2d(
        x, offset.flatten(1, 2), torch.ones(1, 9, 6, 8), weight, None, 1, 1, backend=backend
    )
    shifted = F.pad(x, (2, 1, 1, 3))[
        :, :, 2:
    ]  # row r, column q of `got` sees x from row r + 1, column q - 2 on
    torch.testing.assert_close(got, F.conv2d(shifted, weight)[:, :, :6, :8], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(('dy', 'value'), [(-0.25, 0.75), (-1.0, 0.0), (-3.0, 0.0), (0.5, 0.5), (1.0, 0.0)])
def test_points_outside_count_as_zero(backend, dy, value):
    offset = torch.tensor([dy, 0.0]).view(1, 2, 1, 1)
    one = torch.ones(1, 1, 1, 1)
    got = modulated_deform_conv2d(one, offset, one, one, backend=backend)
    assert got.item() == pytest.approx(value, abs=1e-6)


def test_autocast_computes_in_single_precision():
    x, offset, mask, weight, bias = draw(CONFIGURATIONS[0])
    options = CONFIGURATIONS[0][:5]
    half = x.bfloat16()
    expected = modulated_deform_conv2d(half.float(), offset, mask, weight, bias, *options)
    for backend in BACKENDS:
        with torch.autocast('cpu', torch.bfloat16):
            exact = modulated_deform_conv2d(half.float(), offset, mask, weight, bias, *options, backend)
            rounded = modulated_deform_conv2d(half, offset, mask, weight, bias, *options, backend)
        torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-4)
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded, exact.bfloat16(), rtol=1e-2, atol=1e-2)


def test_argument_beats_environment_beats_default(monkeypatch):
    cpu, cuda = torch.device('cpu'), torch.device('cuda')
    monkeypatch.delenv('GAVN_DCN_BACKEND', raising=False)
    assert resolve_backend(None, cpu) in ('native', 'reference')
    monkeypatch.setenv('GAVN_DCN_BACKEND', 'torchvision')
    assert resolve_backend(None, cpu) == 'torchvision'
    assert resolve_backend('reference', cuda) == 'reference'
    monkeypatch.setenv('GAVN_DCN_BACKEND', 'cudnn')
    with pytest.raises(ValueError, match=r"'cudnn'.*reference, .*, triton, native.*GAVN_DCN_BACKEND"):
        modulated_deform_conv2d(*draw(CONFIGURATIONS[0]), *CONFIGURATIONS[0][:5])


def test_backend_torchvision_calls_torchvision(monkeypatch):
    calls = []
    original = torchvision.ops.deform_conv2d
    monkeypatch.setattr(torchvision.ops, 'deform_conv2d', lambda *a: calls.append(a) or original(*a))
    monkeypatch.setenv('GAVN_DCN_BACKEND', 'torchvision')
    modulated_deform_conv2d(*draw(CONFIGURATIONS[0]), *CONFIGURATIONS[0][:5])
    assert len(calls) == 1


def test_mmcv_absent_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    with pytest.raises(ImportError, match=r'pip install .*\[mmcv\].*torchvision'):
        modulated_deform_conv2d(*draw(CONFIGURATIONS[0]), *CONFIGURATIONS[0][:5], backend='mmcv')


def test_mmcv_gets_its_arguments_in_its_own_order(monkeypatch):
    def operator(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
        assert (groups, deform_groups) == (2, 4)
        return torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)

    fake = types.SimpleNamespace(modulated_deform_conv2d=operator)
    monkeypatch.setitem(sys.modules, 'mmcv', types.SimpleNamespace(ops=fake))
    monkeypatch.setitem(sys.modules, 'mmcv.ops', fake)
    tensors, options = draw(CONFIGURATIONS[1]), CONFIGURATIONS[1][:5]
    got = modulated_deform_conv2d(*tensors, *options, 'mmcv')
    torch.testing.assert_close(got, modulated_deform_conv2d(*tensors, *options, 'torchvision'))


def test_basicsrs_extension_absent_says_what_to_do(monkeypatch):
    monkeypatch.delattr(dcn, 'deform_conv_ext', raising=False)
    assert 'basicsr' not in installed_backends()
    with pytest.raises(ImportError, match=r'BASICSR_EXT=True.*torchvision'):
        modulated_deform_conv2d(*draw(CONFIGURATIONS[0]), *CONFIGURATIONS[0][:5], backend='basicsr')


def test_basicsrs_extension_serves_gpus_and_equal_steps(monkeypatch):
    monkeypatch.setattr(dcn, 'deform_conv_ext', object(), raising=False)
    assert 'basicsr' in installed_backends()
    with pytest.raises(ValueError, match='supports NVIDIA GPUs'):
        modulated_deform_conv2d(*draw(CONFIGURATIONS[0]), *CONFIGURATIONS[0][:5], backend='basicsr')


def test_basicsrs_extension_gets_its_arguments_in_its_own_order(monkeypatch):
    """One number for both axes, and dense tensors; on a stand-in for the GPU."""
    def operator(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
        assert (stride, padding, dilation, groups, deform_groups) == (2, 1, 1, 2, 4)
        assert all(tensor.is_contiguous() for tensor in (x, offset, mask, weight))
        return 'result'

    class OnAGPU:
        device = types.SimpleNamespace(type='cuda')

        def contiguous(self):
            return torch.zeros(1)

    monkeypatch.setattr(dcn, 'deform_conv_ext', object(), raising=False)
    monkeypatch.setattr(dcn, 'modulated_deform_conv', operator)
    tensor = OnAGPU()
    tensors = (tensor, tensor, tensor, tensor, None)
    assert deform_conv._basicsr(*tensors, (2, 2), (1, 1), (1, 1), 2, 4) == 'result'
    with pytest.raises(ValueError, match='equal steps in both axes'):
        deform_conv._basicsr(*tensors, (2, 1), (1, 1), (1, 1), 2, 4)


@pytest.mark.parametrize('options', [
    {'type': 'EDVR', 'num_feat': 8, 'deformable_groups': 2, 'num_extract_block': 1,
     'num_reconstruct_block': 1},
    {'type': 'BasicVSRPlusPlus', 'mid_channels': 8, 'num_blocks': 1},
    {'type': 'GAVN', 'num_feat': 8, 'radius': 0, 'num_extract_block': 1, 'num_reconstruct_block': [1, 1],
     'deformable_groups': 2},
    {'type': 'VRT', 'embed_dims': [12] * 9, 'depths': [2] * 9, 'num_heads': [2] * 9, 'indep_reconsts': [8],
     'deformable_groups': 2},
], ids=lambda options: options['type'])
def test_networks_hand_the_backend_to_every_deformable_layer(options):
    network = build_network({**options, 'dcn_backend': 'torchvision'})
    layers = [layer for layer in network.modules() if isinstance(layer, DeformableAlignPack)]
    assert layers and {layer.backend for layer in layers} == {'torchvision'}


@pytest.mark.parametrize(('index', 'message'), [(1, 'offset'), (2, 'mask'), (3, 'channels')])
def test_shapes_that_do_not_fit_are_named(index, message):
    tensors = draw(CONFIGURATIONS[0])
    tensors[index] = tensors[index][:, :-1]
    with pytest.raises(ValueError, match=message):
        modulated_deform_conv2d(*tensors, *CONFIGURATIONS[0][:5])


class TestDeformableAlignPack:
    def test_takes_the_weights_of_basicsrs_pack_and_gives_its_result(self):
        original = arch_util.ModulatedDeformConvPack(8, 6, 3, padding=1, deformable_groups=2)
        torch.nn.init.normal_(original.conv_offset.weight, std=0.1)
        pack = DeformableAlignPack(8, 6, 3, padding=1, deformable_groups=2)
        assert list(pack.state_dict()) == list(original.state_dict())
        pack.load_state_dict(original.state_dict())
        x, feat = torch.randn(2, 2, 8, 5, 5)
        o1, o2, mask = original.conv_offset(feat).chunk(3, dim=1)
        want = torchvision.ops.deform_conv2d(
            x, torch.cat([o1, o2], 1), original.weight, original.bias, 1, 1, 1, mask.sigmoid()
        )
        torch.testing.assert_close(pack(x, feat), want, rtol=1e-4, atol=1e-5)

    def test_starts_as_half_a_convolution(self):
        pack = DeformableAlignPack(4, 4, 3, padding=1, deformable_groups=2)
        x = torch.randn(1, 4, 5, 5)
        torch.testing.assert_close(pack(x, x), 0.5 * F.conv2d(x, pack.weight, padding=1))

    def test_remembers_the_largest_mean_offset_until_it_is_read(self):
        network = torch.nn.ModuleDict({'a': DeformableAlignPack(2, 2, 3, padding=1), 'b': torch.nn.ReLU()})
        x = torch.randn(1, 2, 4, 4)
        for bias in (3.0, -7.0, 1.0):
            torch.nn.init.constant_(network['a'].conv_offset.bias, bias)
            network['a'](x, x)
        magnitudes = offset_magnitudes(network)
        assert list(magnitudes) == ['a']
        assert magnitudes['a'].item() == pytest.approx(7)
        assert not magnitudes['a'].requires_grad
        assert offset_magnitudes(network) == {}
        network.eval()['a'](x, x)
        assert offset_magnitudes(network) == {}

    def test_replicas_of_data_parallel_report_to_the_layer_they_stand_for(self):
        pack = DeformableAlignPack(2, 2, 3, padding=1)
        torch.nn.init.constant_(pack.conv_offset.bias, 3)
        replica = pack._replicate_for_data_parallel()
        replica.weight, replica.bias, replica.conv_offset = pack.weight, pack.bias, pack.conv_offset
        x = torch.randn(1, 2, 4, 4)
        replica(x, x)
        assert offset_magnitudes(pack)[''].item() == pytest.approx(3)

    @pytest.mark.filterwarnings('ignore')
    def test_compiles_as_one_graph(self):
        pack = DeformableAlignPack(4, 4, 3, padding=1, deformable_groups=2)
        compiled = torch.compile(copy.deepcopy(pack), fullgraph=True, backend='eager')
        x, feat = torch.randn(2, 1, 4, 5, 5)
        torch.testing.assert_close(compiled(x, feat), pack(x, feat))


class TestBasicsrNetworks:
    def test_edvr_has_its_published_size_and_our_layers(self):
        network = EDVR(hr_in=True, with_predeblur=True, with_tsa=True)
        assert sum(p.numel() for p in network.parameters()) == 4_042_851
        assert sum(isinstance(m, DeformableAlignPack) for m in network.modules()) == 4
        assert not any(isinstance(m, arch_util.ModulatedDeformConvPack) for m in network.modules())

    def test_edvr_learns_through_our_operator(self, monkeypatch):
        monkeypatch.setattr(torchvision.ops, 'deform_conv2d', None)  # must not be needed
        network = EDVR(num_feat=8, deformable_groups=2, num_extract_block=1, num_reconstruct_block=1)
        network(torch.rand(1, 5, 3, 16, 16)).sum().backward()
        assert len(offset_magnitudes(network)) == 4
        assert network.pcd_align.dcn_pack['l1'].weight.grad.abs().sum() > 0

    def test_basicvsrpp_aligns_on_any_device(self):
        network = basicvsrpp_arch.BasicVSRPlusPlus(is_low_res_input=False)
        assert sum(p.numel() for p in network.parameters()) == 7_396_783
        assert sum(p.numel() for p in network.deform_align.parameters()) == 2_039_488
        assert all(isinstance(m, FlowGuidedAlignPack) for m in network.deform_align.values())

    def test_basicvsrpp_without_cuda_is_the_one_with_it(self, monkeypatch):
        on_cpu = basicvsrpp_arch.BasicVSRPlusPlus(8, 1, 3)
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        on_cuda = basicvsrpp_arch.BasicVSRPlusPlus(8, 1, 3)
        assert list(on_cpu.state_dict()) == list(on_cuda.state_dict())
        residues = [m.max_residue_magnitude for n in (on_cpu, on_cuda) for m in n.deform_align.values()]
        assert residues == [3] * 8

    def test_second_order_alignment_follows_both_flows(self):
        pack = FlowGuidedAlignPack(8, 4, 3, padding=1, deformable_groups=4)
        x, still = torch.randn(1, 8, 7, 7), torch.zeros(1, 2, 7, 7)
        flow_1, flow_2 = still.clone(), still.clone()
        flow_1[:, 0], flow_2[:, 1] = 1, -1  # one pixel to the right; one pixel up
        got = pack(x, torch.randn(1, 12, 7, 7), flow_1, flow_2)
        moved = torch.cat([x[:, :4].roll(-1, 3), x[:, 4:].roll(1, 2)], dim=1)
        want = 0.5 * F.conv2d(moved, pack.weight, pack.bias, padding=1)
        torch.testing.assert_close(got[..., 2:-2, 2:-2], want[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-5)

    def test_second_order_alignment_stays_near_the_flow(self):
        pack = FlowGuidedAlignPack(8, 4, 3, 5, padding=1, deformable_groups=4)
        torch.nn.init.constant_(pack.conv_offset[-1].bias, 100)
        still = torch.zeros(1, 2, 7, 7)
        pack(torch.randn(1, 8, 7, 7), torch.randn(1, 12, 7, 7), still, still)
        assert offset_magnitudes(pack)[''].item() == pytest.approx(5)


@pytest.mark.parametrize('training', [True, False])
def test_offsets_are_predicted_in_full_while_a_layer_learns(training):
    pack, seen = DeformableAlignPack(4, 4, 3, padding=1).train(training), []
    pack.conv_offset.register_forward_hook(lambda _, __, result: seen.append(result.dtype))
    with torch.autocast('cpu', torch.bfloat16):
        pack(*torch.rand(2, 1, 4, 5, 5))
    assert seen == [torch.float32 if training else torch.bfloat16]
