"""What only a GPU can show: the fused operator on it, graphs of it, and networks that never wait for it.

`GAVN_TEST_DEVICE=cpu TRITON_INTERPRET=1` runs here what does not need one, to try the tests themselves.
"""
import os
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from gavn.archs.gavn_arch import GAVN
from gavn.ops import modulated_deform_conv2d
from gavn.ops.deform_conv import installed_backends
from gavn.restoration.restorer import Restorer
from gavn.runtime.compilation import compile_in_place, default_mode

DEVICE = torch.device(os.environ.get('GAVN_TEST_DEVICE', 'cuda'))
pytestmark = pytest.mark.skipif(DEVICE.type == 'cuda' and not torch.cuda.is_available(), reason='needs a GPU')
needs_cuda = pytest.mark.skipif(DEVICE.type != 'cuda', reason='needs CUDA')

# images, channels, outputs, groups, deformable groups, kernel, stride, padding, dilation, side
LAYERS = [
    (2, 64, 64, 1, 8, 3, 1, 1, 1, 28),
    (1, 24, 24, 1, 8, 3, 1, 1, 1, 14),
    (2, 64, 32, 1, 4, 3, 2, 1, 1, 17),
    (1, 12, 6, 2, 3, 3, 1, 2, 2, 9),
    (3, 80, 130, 1, 1, 1, 1, 0, 1, 5),
]


@pytest.fixture(autouse=True)
def plain_numbers() -> Iterator[None]:
    """Without TF32, which would round to a thousandth."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def draw(layer: tuple) -> tuple[list[Tensor], tuple]:
    """Tensors on the device whose taps often leave the image, and the arguments after them."""
    n, channels, out, groups, deform_groups, kernel, stride, padding, dilation, side = layer
    after = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    taps = deform_groups * kernel**2
    shapes = [(n, channels, side, side), (n, 2 * taps, after, after), (n, taps, after, after),
              (out, channels // groups, kernel, kernel), (out,)]
    torch.manual_seed(0)
    return [torch.randn(shape).to(DEVICE) for shape in shapes], (
        stride, padding, dilation, groups, deform_groups)


def gradients(tensors: list[Tensor], options: tuple, backend: str) -> list[Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = modulated_deform_conv2d(*leaves, *options, backend, sigmoid=True, slope=0.1)
    return [result.detach(), *torch.autograd.grad(result.float().sin().sum(), leaves)]


@needs_cuda
@pytest.mark.skipif('basicsr' not in installed_backends(), reason="basicsr's extension was not built")
@pytest.mark.parametrize('layer', LAYERS)
def test_basicsrs_extension_gives_torchvisions_values_and_gradients(layer: tuple) -> None:
    tensors, options = draw(layer)
    both = (gradients(tensors, options, backend) for backend in ('basicsr', 'torchvision'))
    assert max(apart(got, want) for got, want in zip(*both, strict=True)) < 1e-4


def apart(got: Tensor, want: Tensor) -> float:
    """How far, as a share of what is wanted."""
    return float((got.double() - want.double()).norm() / want.double().norm())


@pytest.mark.parametrize('layer', LAYERS)
def test_triton_is_torchvision_there_and_back(layer):
    tensors, options = draw(layer)
    ours, theirs = (gradients(tensors, options, backend) for backend in ('triton', 'torchvision'))
    assert all(apart(got, want) <= 1e-4 for got, want in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(('dtype', 'share'), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_half_precision_on_tensor_cores_is_near_single(dtype, share):
    tensors, options = draw(LAYERS[0])
    half = [tensors[0].to(dtype), *tensors[1:3], tensors[3].to(dtype), tensors[4]]
    with torch.inference_mode():
        got, want = (modulated_deform_conv2d(*given, *options, 'triton') for given in (half, tensors))
    assert got.dtype == dtype and apart(got, want) <= share


def network(**options) -> GAVN:
    torch.manual_seed(0)
    made = GAVN(num_feat=16, num_extract_block=1, num_reconstruct_block=(1, 1), deformable_groups=4,
                radius=0, **options).to(DEVICE).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if 'conv_offset' in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return made


def window(n: int = 2) -> dict[str, Tensor]:
    torch.manual_seed(1)
    batch = {'lq': torch.rand(n, 5, 3, 32, 32), 'audio': torch.randn(n, 1, 1, 13, 20),
             'landmarks': torch.rand(n, 1, 68, 2)}
    return {name: value.to(DEVICE) for name, value in batch.items()}


def test_backends_agree_in_a_network():
    batch = window()
    with torch.inference_mode():
        got, want = (network(dcn_backend=backend)(**batch) for backend in ('triton', 'torchvision'))
    assert apart(got, want) <= 1e-4


@needs_cuda
@pytest.mark.parametrize('backend', ['triton', 'torchvision'])
def test_a_network_never_waits_for_the_gpu(backend):
    made, batch = network(dcn_backend=backend), window()
    with torch.inference_mode(), torch.autocast('cuda', torch.bfloat16):
        first = made(**batch)  # compiles kernels
        torch.cuda.set_sync_debug_mode('error')
        try:
            second = made(**batch)  # raises where it waits
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert apart(second, first) <= 1e-2


@needs_cuda
def test_a_graph_of_a_network_gives_its_frames():
    made, batch = network(dcn_backend='triton'), window()
    with torch.inference_mode():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                made(**batch)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = made(**batch)
        batch['lq'].copy_(1 - batch['lq'])
        graph.replay()
        assert apart(result, made(**batch)) <= 1e-5


@pytest.mark.parametrize('backend', ['triton', 'torchvision'])
def test_a_compiled_network_gives_its_frames(backend):
    torch._dynamo.reset()
    made, batch = network(dcn_backend=backend), window()
    with torch.inference_mode():
        want = made(**batch)
        compile_in_place(made, default_mode(DEVICE))
        for _ in range(3):  # the third call replays a graph
            got = made(**batch).clone()
    assert apart(got, want) <= 1e-4


@pytest.mark.parametrize(('dtype', 'share', 'mode'), [
    ('float32', 1e-3, None), ('bfloat16', 0.05, None),
    pytest.param('bfloat16', 0.05, 'reduce-overhead', marks=needs_cuda)])
def test_a_gpu_restores_what_a_cpu_does(dtype, share, mode):
    torch._dynamo.reset()
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    crops = [cv2.GaussianBlur(image, (0, 0), 2) for image in noise]
    got, want = (np.array(list(Restorer.from_pretrained('deblur', *means).residuals(crops)))
                 for means in ((str(DEVICE), dtype, None, mode), ('cpu', 'float32')))
    assert np.linalg.norm(got - want) <= share * np.linalg.norm(want)
