"""The compiled deformable convolution: that of the others, and used where it may be."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from forked import forked, needs_fork
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode

from gavn.ops import DeformableAlignPack, deform_native, modulated_deform_conv2d
from gavn.ops.deform_conv import BACKEND_VARIABLE, installed_backends, resolve_backend

CPU = torch.device('cpu')
built = pytest.mark.skipif(not deform_native.installed(), reason='the compiled operator was not built')


def draw(channels: int = 6, size: int = 7, kernel: tuple[int, int] = (3, 3), n: int = 2, groups: int = 1,
         deform_groups: int = 2, out: int = 5) -> list[Tensor]:
    """Tensors of a layer without padding, whose taps often leave the image."""
    taps = deform_groups * kernel[0] * kernel[1]
    oh, ow = (size - side + 1 for side in kernel)
    return [torch.randn(n, channels, size, size), 3 * torch.randn(n, 2 * taps, oh, ow),
            torch.randn(n, taps, oh, ow), torch.randn(out, channels // groups, *kernel), torch.randn(out)]


def both(tensors: list[Tensor], *options: object, **more: object) -> tuple[Tensor, Tensor]:
    """native, then reference, without gradients."""
    with torch.no_grad():
        return tuple(modulated_deform_conv2d(*tensors, *options, **more, backend=backend)
                     for backend in ('native', 'reference'))


def assert_same(got: Tensor, want: Tensor, error: float = 1e-5) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    assert (got - want).abs().max() <= error * want.abs().max()


@st.composite
def layers(pick: st.DrawFn) -> tuple:
    def pair(least: int, most: int) -> tuple[int, int]:
        return pick(st.integers(least, most)), pick(st.integers(least, most))

    unit, units, groups, deform_groups = (pick(st.integers(1, n)) for n in (9, 2, 3, 3))
    kernel, stride, dilation, padding = pair(1, 3), pair(1, 3), pair(1, 3), pair(0, 2)
    more = st.sampled_from((0, 1, 9))
    size = tuple(d * (k - 1) + 1 + pick(more) for k, d in zip(kernel, dilation, strict=True))
    return (unit * units * groups * deform_groups, groups * pick(st.integers(1, 30)), groups, deform_groups,
            kernel, (stride, padding, dilation), size, pick(st.booleans()), pick(st.booleans()))


@built
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(layers())
def test_is_the_reference_and_torchvision_for_any_layer(layer):
    channels, outputs, groups, deform_groups, kernel, steps, size, last, fused = layer
    oh, ow = ((side + 2 * p - d * (k - 1) - 1) // s + 1
              for side, k, s, p, d in zip(size, kernel, *steps, strict=True))
    taps = deform_groups * kernel[0] * kernel[1]
    x, predicted = torch.randn(2, channels, *size), 2 * torch.randn(2, 3 * taps, oh, ow)
    if last:
        x, predicted = (t.to(memory_format=torch.channels_last) for t in (x, predicted))
    offset, mask = predicted.split([2 * taps, taps], dim=1)
    tensors = [x, offset, mask, torch.randn(outputs, channels // groups, *kernel), torch.randn(outputs)]
    more = {'sigmoid': True, 'slope': 0.1} if fused else {}
    got, want = both(tensors, *steps, groups, deform_groups, **more)
    assert_same(got, want)
    assert got.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    peer = modulated_deform_conv2d(*tensors, *steps, groups, deform_groups, backend='torchvision', **more)
    assert_same(got, peer)


@built
@pytest.mark.parametrize(('dtype', 'error'), [(torch.bfloat16, 2 ** -8), (torch.float16, 2 ** -11)])
def test_halves_are_computed_in_float32(dtype, error):
    tensors = [t.to(dtype) for t in draw()]
    got, want = both([t.float() for t in tensors], deform_groups=2, sigmoid=True, slope=0.1)
    rounded, _ = both(tensors, deform_groups=2, sigmoid=True, slope=0.1)
    assert rounded.dtype == dtype
    assert_same(rounded.float(), want, error)
    mixed, _ = both([tensors[0], *[t.float() for t in tensors[1:]]], deform_groups=2, sigmoid=True, slope=0.1)
    assert torch.equal(mixed, rounded) and torch.equal(got.to(dtype), rounded)


@built
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e30, -1e30, 3e9, 1e5, -7.0])
def test_nan_offsets_propagate_and_far_ones_are_zero(value):
    tensors = draw(kernel=(1, 1))
    tensors[0][:, :, 0] = float('nan')  # seen by those near it alone
    tensors[1][:] = 3
    tensors[1][0, 1, 2, 3] = tensors[1][1, 2, 4, 4] = value
    got, want = both(tensors, deform_groups=2)
    assert want.isnan().any() == (abs(value) == float('inf') or value != value)
    torch.testing.assert_close(got, want, equal_nan=True)


@built
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 200.0, -200.0])
def test_masks_of_any_value_go_through_the_sigmoid(value):
    tensors = draw()
    tensors[2][0, 3] = value
    got, want = both(tensors, deform_groups=2, sigmoid=True)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)


@built
def test_threads_change_nothing_and_do_not_meet(monkeypatch):
    layers = [draw(size=size, n=5) for size in (34, 41, 37)]
    want = [both(tensors, deform_groups=2)[0] for tensors in layers]
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda tensors: both(tensors, deform_groups=2)[0], layers * 4))
    assert all(map(torch.equal, found, want * 4))


@built
@needs_fork
@pytest.mark.filterwarnings('ignore:.*multi-threaded.*fork:DeprecationWarning')
def test_works_in_a_forked_process(monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)

    def work() -> None:
        deform_native._run_in_threads(lambda first, last: None, 4096)

    work()  # by threads that stay behind
    assert forked(work) == 0


@pytest.mark.skipif(not deform_native.is_fast(), reason='needs the compiled operator, on x86-64 with AVX2')
def test_is_chosen_for_inference_on_a_cpu(monkeypatch):
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    calls = []
    monkeypatch.setattr(deform_native, 'deform_conv2d', lambda *a: calls.append(a) or torch.zeros(()))
    pack = DeformableAlignPack(4, 4, 3, padding=1, deformable_groups=2)
    x = torch.randn(1, 4, 5, 5)
    assert pack(x, x).shape == x.shape and not calls  # it learns
    with torch.inference_mode():
        pack(x, x)
    assert len(calls) == 1
    assert resolve_backend(None, torch.device('meta')) == 'reference'
    for dtype, name in ((torch.float32, 'native'), (torch.float64, 'reference'), (torch.float16, 'native')):
        assert resolve_backend(None, CPU, dtype) == name
    monkeypatch.setattr(deform_native, 'is_fast', lambda: False)  # a processor where nobody measured it
    assert resolve_backend(None, CPU) == 'reference' and 'native' in installed_backends()


def test_what_is_not_built_is_not_chosen_and_says_so(monkeypatch):
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    monkeypatch.setattr(deform_native, '_native', None)
    assert resolve_backend(None, CPU) == 'reference' and 'native' not in installed_backends()
    with pytest.raises(ImportError, match=r"'native' was chosen, but it was not built.*'reference'"):
        both(draw(), deform_groups=2)


@built
def test_unsupported_tensors_are_errors():
    with pytest.raises(ValueError, match=r"'native' was chosen, but .* not float64: choose 'reference'"):
        both([t.double() for t in draw()], deform_groups=2)


@built
def test_reference_computes_where_gradients_are_needed(monkeypatch):
    tensors, results = draw(), []
    for backend in ('native', 'reference'):
        monkeypatch.setenv(BACKEND_VARIABLE, backend)
        leaves = [t.clone().requires_grad_(i != 1) for i, t in enumerate(tensors)]
        with torch.autocast('cpu', torch.bfloat16):
            result = modulated_deform_conv2d(*leaves, deform_groups=2, sigmoid=True, slope=0.1)
        result.sin().sum().backward()
        results.append([result.detach(), *(leaf.grad for i, leaf in enumerate(leaves) if i != 1)])
    assert all(map(torch.equal, *results))


@built
@pytest.mark.parametrize('backend', [None, 'native'])
def test_functional_transforms_use_the_reference(backend, monkeypatch):
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    tensors = draw()
    offset = tensors.pop(1)

    def convolve(offset: Tensor, *others: Tensor) -> Tensor:
        with torch.no_grad():
            x, mask, weight, bias = others
            return modulated_deform_conv2d(x, offset, mask, weight, bias, deform_groups=2, backend=backend)

    want = convolve(offset, *tensors)
    with pytest.raises(NotImplementedError, match='forward AD with grid_sampler'):  # a tangent is not lost
        torch.func.jvp(lambda o: convolve(o, *tensors), (offset,), (torch.ones_like(offset),))
    mapped = torch.vmap(lambda o, x, m: convolve(o[None], x[None], m[None], *tensors[2:])[0])(
        offset, *tensors[:2])
    torch.testing.assert_close(mapped, want, rtol=1e-4, atol=1e-4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert convolve(torch.empty(offset.shape), *tensors).shape == want.shape
    assert convolve(*(t.to('meta') for t in (offset, *tensors))).shape == want.shape
    compiled = torch.compile(convolve, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(offset, *tensors), want, rtol=1e-4, atol=1e-4)
    exported = torch.export.export(DeformableAlignPack(4, 4, 3, padding=1, backend=backend).eval(),
                                   (torch.randn(1, 4, 5, 5),) * 2)
    assert 'grid_sampler' in str(exported.graph)
    traced = torch.jit.trace(convolve, (offset, *tensors))
    assert 'grid_sampler' in str(traced.graph)
