"""Modulated deformable convolution (DCNv2): one function with six backends of equal results.

The backend triton has products of the type of the input (TF32 if `torch.set_float32_matmul_precision` allows
it) and sums and positions in float32, and can be differentiated once. native has no gradients: if they are
needed, or compiled code cannot be used (`deform_native.addressable`), reference replaces it.
"""

import functools
import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gavn.ops import deform_native, deform_triton
from gavn.registry import basicsr_installed
from gavn.runtime.project import install_command

Pair = tuple[int, int]
Tensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]  # x, offset, mask, weight, bias
Backend = Literal['reference', 'torchvision', 'mmcv', 'basicsr', 'triton', 'native']
BACKEND_VARIABLE = 'GAVN_DCN_BACKEND'


def modulated_deform_conv2d(
        x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None,
        stride: int | Pair = 1, padding: int | Pair = 0, dilation: int | Pair = 1, groups: int = 1,
        deform_groups: int = 1, backend: str | None = None, sigmoid: bool = False,
        slope: float | None = None) -> Tensor:
    """Convolves with taps at `offset` that are weighted by `mask` (Zhu et al. 2019, eq. 1).

    Sampling is bilinear with zeros outside of the image. The computation is in float32 (float64 for float64
    input), also inside autocast; the result (n, out, oh, ow) has the type of `x`.

    Args:
        x: (n, c, h, w).
        offset: (n, deform_groups * kh * kw * 2, oh, ow) in pixels: for each group and tap dy, then dx.
        mask: (n, deform_groups * kh * kw, oh, ow), usually in [0, 1].
        weight: (out, c / groups, kh, kw).
        bias, stride, padding, dilation, groups: as in `torch.nn.functional.conv2d`.
        deform_groups: groups of input channels that share offsets and masks.
        backend: 'reference' (pure PyTorch), 'torchvision', 'mmcv', 'basicsr' (its extension, for CUDA),
            'triton', or 'native' (compiled, for a CPU). None: the environment variable GAVN_DCN_BACKEND, else
            the automatic choice of `resolve_backend`.
        sigmoid: apply a sigmoid to the mask first. triton and native fuse this and the LeakyReLU.
        slope: of a LeakyReLU at the end, at least 0. None: no LeakyReLU.

    Raises:
        ValueError: the backend is unknown, shapes do not fit, the slope is negative, or the backend does not
            support the device, the type or the steps.
        ImportError: the backend is not installed or was not built.
    """
    tensors = (x, offset, mask, weight, bias)
    layer = (_pair(stride), _pair(padding), _pair(dilation), groups, deform_groups)
    chosen = resolve_backend(backend, x.device, x.dtype)
    _check(x, offset, mask, weight, layer, slope)
    if chosen == 'triton':
        return _triton(*tensors, *layer, sigmoid, slope)
    if chosen == 'native':
        _check_native(x)
        if not _needs_gradient(tensors) and deform_native.addressable(*tensors):
            steps = [*layer[0], *layer[1], *layer[2]]
            return deform_native.deform_conv2d(*tensors, steps, groups, deform_groups, sigmoid, slope)
        chosen = 'reference'
    return _unfused(_BACKENDS[chosen], tensors, layer, sigmoid, slope)


def resolve_backend(backend: str | None, device: torch.device, dtype: torch.dtype = torch.float32
                    ) -> Backend:
    """Returns the backend of a call: the argument, else the environment variable, else the automatic choice.

    The automatic choice is torchvision on CUDA, native on a CPU if it is fast and supports the type, and
    reference otherwise and during export. triton is never chosen automatically.

    Raises:
        ValueError: the backend is unknown.
    """
    chosen = backend or os.environ.get(BACKEND_VARIABLE)
    if not chosen:
        return 'reference' if _exporting() else _automatic(device, dtype)
    if chosen not in BACKENDS:
        raise ValueError(
            f'unknown deformable convolution backend {chosen!r}: choose one of {", ".join(BACKENDS)} '
            f'by the argument `backend` or the environment variable {BACKEND_VARIABLE}'
        )
    return chosen


@contextmanager
def default_backend(backend: str | None) -> Iterator[None]:
    """Sets the environment variable of the backend inside the block; None leaves it unchanged."""
    before = os.environ.get(BACKEND_VARIABLE)
    if backend is not None:
        os.environ[BACKEND_VARIABLE] = backend
    try:
        yield
    finally:
        os.environ.pop(BACKEND_VARIABLE, None)
        if before is not None:
            os.environ[BACKEND_VARIABLE] = before


def _automatic(device: torch.device, dtype: torch.dtype) -> Backend:
    if device.type == 'cuda':
        return 'torchvision'
    supported = device.type == 'cpu' and deform_native.is_fast() and dtype in deform_native.DTYPES
    return 'native' if supported else 'reference'


def _needs_gradient(tensors: Iterable[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


@functools.cache
def triton_imports() -> bool:
    """Whether Triton is installed and can be imported."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def installed_backends() -> list[str]:
    """Returns the installed backends, whether or not there is a device for them."""
    modules = {'mmcv': _mmcv_imports(), 'basicsr': _basicsr_operator() is not None,
               'triton': triton_imports(), 'native': deform_native.installed()}
    return [name for name in BACKENDS if modules.get(name, True)]


def _mmcv_imports() -> bool:
    try:
        import mmcv.ops  # noqa: F401
    except ImportError:
        return False
    return True


def _basicsr_operator() -> Callable[..., Tensor] | None:
    """Returns basicsr's operator if it was built with BASICSR_EXT=True, or if BASICSR_JIT is True."""
    if not basicsr_installed():
        return None
    module = importlib.import_module('basicsr.ops.dcn.deform_conv')  # hidden by a function in its package
    return module.modulated_deform_conv if hasattr(module, 'deform_conv_ext') else None


def _exporting() -> bool:
    """Whether a network is being exported, which needs standard operators."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def without_autocast(device_type: str) -> AbstractContextManager:
    """Disables autocast if it is enabled, so that an export does not contain a switch that has no effect.

    Meta tensors have no autocast.
    """
    if device_type == 'meta' or not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def _pair(value: int | Pair) -> Pair:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


def _check(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, layer: tuple, slope: float | None
) -> None:
    if slope is not None and slope < 0:
        raise ValueError(f'the slope of a LeakyReLU is {slope}, expected 0 or more')
    *steps, groups, deform_groups = layer
    channels, (out, per_group, *kernel) = x.shape[1], weight.shape
    if channels != per_group * groups or out % groups or channels % deform_groups:
        raise ValueError(
            f'{channels} channels do not fit weights {tuple(weight.shape)} in {groups} groups '
            f'with {deform_groups} deformable groups'
        )
    size = tuple(
        (side + 2 * p - d * (k - 1) - 1) // s + 1
        for side, k, s, p, d in zip(x.shape[2:], kernel, *steps, strict=True)
    )
    taps = deform_groups * kernel[0] * kernel[1]
    for name, tensor, depth in (('offset', offset, 2 * taps), ('mask', mask, taps)):
        expected = (x.shape[0], depth, *size)
        if tensor.shape != expected:
            raise ValueError(f'{name} has the shape {tuple(tensor.shape)}, expected {expected}')


def _unfused(operator: Callable[..., Tensor], tensors: Tensors, layer: tuple,
             sigmoid: bool, slope: float | None) -> Tensor:
    """Calls an operator with tensors of one type, and applies sigmoid and LeakyReLU separately."""
    x, bias = tensors[0], tensors[4]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    with without_autocast(x.device.type):
        x_, offset, mask, weight = (tensor.to(dtype) for tensor in tensors[:4])
        mask = torch.sigmoid(mask) if sigmoid else mask
        result = operator(x_, offset, mask, weight, None if bias is None else bias.to(dtype), *layer)
        return (result if slope is None else F.leaky_relu(result, slope)).to(x.dtype)


def _reference(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair,
               padding: Pair, dilation: Pair, groups: int, deform_groups: int) -> Tensor:
    """Samples every tap by `grid_sample`, then computes one matrix product."""
    n, c, h, w = x.shape
    out, _, kh, kw = weight.shape
    oh, ow = offset.shape[2:]
    # deformable groups become part of the batch; contiguous, because channels-last is slow below
    dy, dx = offset.contiguous().view(n * deform_groups, kh, kw, 2, oh, ow).unbind(3)
    y = _tap_positions(oh, kh, stride[0], padding[0], dilation[0], x)[:, None, :, None]
    x_ = _tap_positions(ow, kw, stride[1], padding[1], dilation[1], x)[:, None, :]
    # pixel i is at (2 i + 1) / side - 1; align_corners=True would divide by zero for a side of one pixel
    y = torch.add(2 * y + 1, dy, alpha=2).div_(h).sub_(1)
    x_ = torch.add(2 * x_ + 1, dx, alpha=2).div_(w).sub_(1)
    sampled = F.grid_sample(
        x.reshape(n * deform_groups, c // deform_groups, h, w),
        # taps and rows in one axis
        torch.stack([x_, y], dim=-1).view(n * deform_groups, kh * kw * oh, ow, 2),
        mode='bilinear',
        padding_mode='zeros',
        align_corners=False,
    )
    mask = mask.reshape(n * deform_groups, 1, kh * kw * oh, ow)
    sampled = sampled * mask if torch.is_grad_enabled() else sampled.mul_(mask)
    columns = sampled.reshape(n, groups, c // groups * kh * kw, oh * ow)
    result = torch.matmul(weight.reshape(groups, out // groups, -1), columns).reshape(n, out, oh, ow)
    return result if bias is None else result + bias[:, None, None]


def _tap_positions(out: int, kernel: int, stride: int, padding: int, dilation: int, like: Tensor) -> Tensor:
    """Positions of taps without offsets along one axis: (kernel, out) in pixels."""
    outputs = torch.arange(out, dtype=like.dtype, device=like.device) * stride - padding
    return torch.arange(kernel, dtype=like.dtype, device=like.device)[:, None] * dilation + outputs


def _torchvision(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair,
                 padding: Pair, dilation: Pair, groups: int, deform_groups: int) -> Tensor:
    """torchvision derives both numbers of groups from the shapes, which were checked before."""
    import torchvision
    return torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)


def _mmcv(*arguments: Tensor | Pair | int | None) -> Tensor:
    try:
        from mmcv.ops import modulated_deform_conv2d as operator
    except ImportError as error:
        raise ImportError(
            "deformable convolution backend 'mmcv' was chosen, but mmcv with compiled operators is not "
            f"installed: {install_command('mmcv')}, or choose 'torchvision' or 'reference' (same results)"
        ) from error
    return operator(*arguments)


def _basicsr(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair,
             padding: Pair, dilation: Pair, groups: int, deform_groups: int) -> Tensor:
    """The extension supports equal steps in both axes, and contiguous tensors on a GPU."""
    operator = _basicsr_operator()
    if operator is None:
        raise ImportError(
            "deformable convolution backend 'basicsr' was chosen, but basicsr's extension was not built: "
            "install it with BASICSR_EXT=True (or set BASICSR_JIT=True), or choose 'torchvision' (same "
            'results)'
        )
    if x.device.type != 'cuda' or any(len(set(pair)) > 1 for pair in (stride, padding, dilation)):
        raise ValueError("deformable convolution backend 'basicsr' supports NVIDIA GPUs and equal steps in "
                         "both axes: choose 'torchvision' or 'reference' (same results)")
    tensors = (t if t is None else t.contiguous() for t in (x, offset, mask, weight, bias))
    return operator(*tensors, stride[0], padding[0], dilation[0], groups, deform_groups)


def _triton(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair,
            padding: Pair, dilation: Pair, groups: int, deform_groups: int,
            sigmoid: bool, slope: float | None) -> Tensor:
    if reason := deform_triton.unsupported_reason(x.device, x.dtype):
        raise ValueError(f"deformable convolution backend 'triton' was chosen, but {reason}: choose "
                         "'torchvision' or 'reference' (same results)")
    return deform_triton.deform_conv2d(
        x, offset, mask, weight, bias, [*stride, *padding, *dilation], groups, deform_groups, sigmoid, slope)


def _check_native(x: Tensor) -> None:
    if not deform_native.installed():
        raise ImportError("deformable convolution backend 'native' was chosen, but it was not built: install "
                          "gavn again with a C compiler, or choose 'reference' (same results)")
    if reason := deform_native.unsupported_reason(x.device, x.dtype):
        raise ValueError(f"deformable convolution backend 'native' was chosen, but {reason}: choose "
                         "'reference' or 'torchvision' (same results)")


_BACKENDS: dict[Backend, Callable[..., Tensor]] = {
    'reference': _reference,
    'torchvision': _torchvision,
    'mmcv': _mmcv,
    'basicsr': _basicsr,
}
"""Operators of tensors of one type, without sigmoid and LeakyReLU; triton and native fuse these."""

BACKENDS = (*_BACKENDS, 'triton', 'native')
