"""The fused deformable convolution: its tests in Triton's interpreter, how it compiles, when it is chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from gavn.ops import DeformableAlignPack, deform_conv, modulated_deform_conv2d
from gavn.ops.deform_conv import resolve_backend
from gavn.ops.deform_triton import WARPS, backward_data, backward_weight, make_plan

triton = pytest.importorskip('triton', reason='Triton is for Linux')
INTERPRETED = Path(__file__).parents[1] / 'helpers/interpreted_deform.py'
CUDA = torch.device('cuda')


def test_kernels_in_the_interpreter():
    # the variable is read when Triton is imported, so in a process of its own
    ran = subprocess.run(
        [sys.executable, '-m', 'pytest', '--noconftest', '-p', 'no:cacheprovider', INTERPRETED],
        env={**os.environ, 'TRITON_INTERPRET': '1'}, capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize('kernel', ['forward_kernel', 'backward_data_kernel', 'backward_weight_kernel'])
@pytest.mark.parametrize(('name', 'dtype', 'capability', 'product'), [
    ('bf16', torch.float16, 90, 'wgmma.mma_async'),  # bfloat16 without a GPU is planned for the interpreter
    ('fp32', torch.float32, 89, 'fma.rn.f32')], ids=['bfloat16 on 9.0', 'float32 on 8.9'])
def test_kernels_compile_for_a_gpu_without_spilling(kernel, name, dtype, capability, product, tmp_path,
                                                    monkeypatch):
    """64 channels in 8 deformable groups; the smallest GPUs with bfloat16 have 99 KiB of shared memory."""
    compiler = pytest.importorskip('triton.backends.nvidia.compiler')
    from triton.backends.compiler import GPUTarget

    from gavn.ops import triton_kernels
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    function = getattr(triton_kernels, kernel)
    x = torch.empty(1, 64, 8, 8, dtype=dtype)
    plan = make_plan(x, torch.empty(64, 64, 3, 3), [1] * 6, 1, 8, True, True, True)
    rounded = {f'{role}_ptr': f'*{name}' for role in ('x', 'grad', 'weight', 'bias', 'out')}
    types = {**rounded, 'plan': 'constexpr', 'slope': 'fp32'}
    signature = {argument: types.get(argument, '*fp32' if argument.endswith('_ptr') else 'i32')
                 for argument in function.arg_names}
    aligned = {(i,): [['tt.divisibility', 16]]
               for i, argument in enumerate(signature) if argument.endswith('_ptr')}
    source = triton.compiler.ASTSource(function, signature, {'plan': plan}, aligned)
    compiled = triton.compile(source, target=GPUTarget('cuda', capability, 32),
                              options={'num_warps': WARPS})
    assert product in compiled.asm['ptx'] and compiled.metadata.shared <= 99 * 1024
    (tmp_path / 'kernel.ptx').write_text(compiled.asm['ptx'])
    own = f'sm_{capability}a' if capability >= 90 else f'sm_{capability}'
    said = subprocess.run([compiler.get_ptxas(capability).path, '-v', f'--gpu-name={own}',
                           tmp_path / 'kernel.ptx', '-o', os.devnull],
                          capture_output=True, text=True, check=True).stderr
    assert '0 bytes spill stores, 0 bytes spill loads' in said, said


def test_a_compiled_kernel_is_found_by_all_that_it_depends_on():
    x, weight = torch.empty(1, 6, 8, 8), torch.empty(4, 3, 3, 3)
    plans = [make_plan(given, weight, [1] * 6, 2, 3, True) for given in (x, x.half())]
    assert repr(plans[0]) != repr(plans[1])
    assert (plans[0].unit, plans[0].units, plans[0].unique) == (1, 3, False)


def test_shapes_types_and_layouts_are_known_without_a_gpu():
    with FakeTensorMode(), CUDA, torch.no_grad():
        pack = DeformableAlignPack(24, 16, 3, padding=1, deformable_groups=8, backend='triton', slope=0.1)
        x, feat = torch.randn(3, 24, 9, 8, dtype=torch.bfloat16), torch.randn(3, 24, 9, 8)
        result = torch.compile(pack, fullgraph=True, backend='aot_eager')(x, feat)
        predicted = pack.conv_offset(feat)
        tensors = (result, x, *predicted.split([144, 72], dim=1), pack.weight)
        layer = ([1, 1, 1, 1, 1, 1], 1, 8, True)
        grads = (*backward_data(*tensors, *layer), backward_weight(*tensors, *layer))
    assert (result.shape, result.dtype, result.device.type) == ((3, 16, 9, 8), torch.bfloat16, 'cuda')
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert all((g.shape, g.dtype) == (t.shape, t.dtype) for g, t in zip(grads, tensors[1:], strict=True))


def test_an_export_knows_only_torchs_own_operators(monkeypatch):
    pack = DeformableAlignPack(4, 4, 3, padding=1, deformable_groups=2).eval()
    x = torch.randn(1, 4, 5, 5)
    monkeypatch.setattr(deform_conv, 'resolve_backend', lambda backend, *_: resolve_backend(backend, CUDA))
    exported = torch.export.export(pack, (x, x))
    called = {str(node.target) for node in exported.graph.nodes if node.op == 'call_function'}
    assert 'aten.grid_sampler.default' in called and not any('gavn' in name for name in called)
    monkeypatch.undo()
    torch.testing.assert_close(exported.module()(x, x), pack(x, x))


def test_kernels_that_no_gpu_has_run_must_be_asked_for(monkeypatch):
    monkeypatch.delenv(deform_conv.BACKEND_VARIABLE, raising=False)
    assert resolve_backend(None, CUDA) == 'torchvision'
    assert resolve_backend('triton', CUDA) == 'triton'
    monkeypatch.setenv(deform_conv.BACKEND_VARIABLE, 'triton')
    assert resolve_backend(None, CUDA) == 'triton'


def test_unsupported_devices_and_types_are_errors(monkeypatch):
    x, mask, weight = torch.randn(1, 1, 3, 3), torch.rand(1, 1, 3, 3), torch.ones(1, 1, 1, 1)
    monkeypatch.setenv(deform_conv.BACKEND_VARIABLE, 'triton')
    with pytest.raises(ValueError, match="'triton' was chosen, but it needs a CUDA device, not cpu"):
        modulated_deform_conv2d(x, torch.zeros(1, 2, 3, 3), mask, weight)
    with pytest.raises(ValueError, match='slope of a LeakyReLU is -1, expected 0 or more'):
        modulated_deform_conv2d(x, torch.zeros(1, 2, 3, 3), mask, weight, slope=-1)


@pytest.mark.parametrize('backend', ['reference', 'torchvision'])
def test_other_backends_do_afterwards_what_triton_fuses(backend):
    x, offset, mask = torch.randn(1, 4, 5, 5), torch.randn(1, 18, 5, 5), torch.randn(1, 9, 5, 5)
    weight = torch.randn(4, 4, 3, 3)
    plain = modulated_deform_conv2d(x, offset, mask.sigmoid(), weight, None, 1, 1, backend=backend)
    fused = modulated_deform_conv2d(
        x, offset, mask, weight, None, 1, 1, backend=backend, sigmoid=True, slope=0.2)  # fmt: skip
    assert torch.equal(fused, torch.nn.functional.leaky_relu(plain, 0.2))


def test_empty_input_gives_empty_output_in_the_reference_too():
    x, mask, weight = torch.randn(0, 4, 3, 3), torch.rand(0, 2, 3, 3), torch.ones(5, 4, 1, 1)
    result = modulated_deform_conv2d(
        x, torch.zeros(0, 4, 3, 3), mask, weight, deform_groups=2, backend='reference')  # fmt: skip
    assert result.shape == (0, 5, 3, 3)
