"""Triton's kernels in its interpreter; `test_deform_triton.py` runs this file with TRITON_INTERPRET set."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gavn.ops import DeformableAlignPack, modulated_deform_conv2d
from gavn.ops.deform_triton import backward_data, backward_weight, deform_conv2d

# channels, outputs, groups, deformable groups, kernel, stride, padding, dilation, input size
LAYERS = {
    'width 24': (24, 24, 1, 8, (1, 2), (1, 1), (0, 1), (1, 1), (5, 4)),
    'several units a deformable group': (12, 8, 4, 2, (1, 2), (1, 2), (0, 2), (1, 2), (4, 7)),
    'groups that cut across': (12, 6, 2, 3, (2, 2), (2, 1), (1, 0), (1, 1), (5, 4)),
    'many channels and outputs': (80, 130, 1, 1, (1, 1), (1, 1), (0, 0), (1, 1), (3, 2)),
    'one pixel': (4, 4, 1, 1, (1, 1), (1, 1), (0, 0), (1, 1), (1, 1)),
}


def draw(layer: tuple, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], tuple]:
    """Tensors whose taps often leave the image, and the arguments after them."""
    channels, out, groups, deform_groups, kernel, *steps, size = layer
    height, width = (
        (side + 2 * p - d * (k - 1) - 1) // s + 1
        for side, k, s, p, d in zip(size, kernel, *steps, strict=True)
    )
    taps = deform_groups * kernel[0] * kernel[1]
    shapes = [(2, channels, *size), (2, 2 * taps, height, width), (2, taps, height, width),
              (out, channels // groups, *kernel), (out,)]
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=dtype) for shape in shapes], (*steps, groups, deform_groups)


def gradients(tensors: list[Tensor], options: tuple, backend: str, **fused: float) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    result = modulated_deform_conv2d(*leaves, *options, backend, **fused)
    return [result.detach(), *torch.autograd.grad(result.double().sin().sum(), leaves)]


@st.composite
def layers(pick: st.DrawFn) -> tuple:
    unit, units, groups, deform_groups = (pick(st.integers(1, n)) for n in (5, 2, 2, 3))
    channels = unit * units * groups * deform_groups
    kernel, stride, dilation = (tuple(pick(st.integers(1, 2)) for _ in 'yx') for _ in range(3))
    padding = tuple(pick(st.integers(0, 2)) for _ in 'yx')
    size = tuple(d * (k - 1) + pick(st.integers(1, 4)) for k, d in zip(kernel, dilation, strict=True))
    out = groups * pick(st.integers(1, 3))
    return channels, out, groups, deform_groups, kernel, stride, padding, dilation, size


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(layers())
def test_equals_torchvision(layer):
    tensors, options = draw(layer)
    expected = gradients(tensors, options, 'torchvision')
    for got, want in zip(gradients(tensors, options, 'triton'), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', LAYERS)
def test_everything_fused_is_the_reference_in_double(name):
    tensors, options = draw(LAYERS[name])
    exact = [t.double() for t in tensors]
    expected = gradients(exact, options, 'reference', sigmoid=True, slope=0.1)
    values = gradients(tensors, options, 'triton', sigmoid=True, slope=0.1)
    for got, want in zip(values, expected, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=2e-5, atol=2e-5 * float(want.abs().max()))


@pytest.mark.parametrize(('dtype', 'error'), [(torch.bfloat16, 2 ** -7), (torch.float16, 2 ** -10)])
def test_half_precision_rounds_values_not_positions(dtype, error):
    (x, offset, mask, weight, bias), options = draw(LAYERS['groups that cut across'])
    tensors = [x.to(dtype), 8 * offset, mask, (weight / 5).to(dtype).float(), bias]
    exact = gradients([t.double() for t in tensors], options, 'reference', sigmoid=True)
    got = gradients(tensors, options, 'triton', sigmoid=True)
    assert [g.dtype for g in got] == [dtype, dtype, *[torch.float32] * 4]
    for one, want in zip(got, exact, strict=True):
        assert (one.double() - want).norm() <= error * want.norm()


def test_raw_channels_of_a_prediction_need_no_copy():
    (x, offset, mask, weight, bias), options = draw(LAYERS['groups that cut across'])
    predicted = torch.cat([offset, mask], dim=1).to(memory_format=torch.channels_last)
    views = predicted.split([offset.shape[1], mask.shape[1]], dim=1)
    want = modulated_deform_conv2d(x, offset, mask, weight, bias, *options, 'triton')
    last = x.to(memory_format=torch.channels_last)
    got = modulated_deform_conv2d(last, *views, weight, bias, *options, 'triton')
    assert torch.equal(got, want) and got.is_contiguous(memory_format=torch.channels_last)


def test_nothing_in_nothing_out():
    tensors, options = draw(LAYERS['width 24'])
    tensors[:3] = [t[:0] for t in tensors[:3]]
    result, *grads = gradients(tensors, options, 'triton', slope=0.1)
    assert result.shape == (0, 24, 5, 5)
    assert [g.shape for g in grads] == [t.shape for t in tensors] and not torch.cat(grads[3].unbind()).any()


def test_nan_offsets_propagate_and_far_ones_are_zero():
    (x, offset, mask, weight, bias), options = draw(LAYERS['one pixel'])
    far = modulated_deform_conv2d(x, offset + 1e30, mask, weight, bias, *options, 'triton')
    torch.testing.assert_close(far, bias.expand(2, 4).view(2, 4, 1, 1))
    assert modulated_deform_conv2d(x, offset / 0, mask * 0, weight, bias, *options, 'triton').isnan().all()


def test_double_precision_is_refused():
    tensors, options = draw(LAYERS['one pixel'], torch.float64)
    with pytest.raises(ValueError, match=r"'triton' was chosen, but .* not in float64: choose 'torchvision'"):
        modulated_deform_conv2d(*tensors, *options, 'triton')


def test_operators_keep_torchs_rules():
    tensors, (stride, padding, dilation, *groups) = draw(LAYERS['one pixel'])
    layer = [*stride, *padding, *dilation], *groups
    leaves = [t.requires_grad_() for t in tensors]
    told = [torch.library.opcheck(deform_conv2d, (*leaves, *layer, True, 0.1))]
    plain, grad = [t.detach() for t in tensors[:4]], torch.randn(2, 4, 1, 1)
    for operator in (backward_data, backward_weight):
        rules = ('test_schema', 'test_faketensor')  # nobody differentiates these
        told.append(torch.library.opcheck(operator, (grad, *plain, *layer, True), test_utils=rules))
    assert [len(kept) for kept in told] == [4, 2, 2]
    assert all(found == 'SUCCESS' for kept in told for found in kept.values())


def test_layer_compiles_as_one_graph_and_keeps_offsets_in_full():
    pack = DeformableAlignPack(6, 4, 2, padding=1, deformable_groups=2, backend='triton', slope=0.1)
    torch.nn.init.normal_(pack.conv_offset.weight, std=0.2)
    x, feat = torch.randn(2, 1, 6, 4, 4)
    results = []
    for layer in (pack, torch.compile(pack, fullgraph=True, backend='aot_eager')):
        with torch.autocast('cpu', torch.bfloat16):
            result = layer(x, feat)
        results.append((result, *torch.autograd.grad(result.sum(), list(pack.parameters()))))
    torch.testing.assert_close(*results)
    pack.backend = 'torchvision'
    torch.testing.assert_close(pack(x, feat), results[0][0])
