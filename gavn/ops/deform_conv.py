"""Modulated deformable convolution (DCNv2): one function, three backends that give the same numbers."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

Pair = tuple[int, int]
Backend = Literal['reference', 'torchvision', 'mmcv']
BACKEND_VARIABLE = 'GAVN_DCN_BACKEND'


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Convolve with taps that are moved by `offset` and weighted by `mask` (Zhu et al. 2019, eq. 1).

    Points between pixels are interpolated bilinearly, points outside the picture count as zero: one that is
    less than a pixel outside still sees part of the border pixel. The computation is in float32 (float64 for
    float64 input) inside autocast too; the result has the type of `x`.

    Args:
        x: (n, c, h, w).
        offset: (n, deform_groups * kh * kw * 2, oh, ow) in pixels; for each group and tap dy, then dx.
        mask: (n, deform_groups * kh * kw, oh, ow), usually in [0, 1].
        weight: (out, c / groups, kh, kw).
        bias: (out,) or None.
        stride: as in `torch.nn.functional.conv2d`, like the next three.
        padding: zeros added on each side.
        dilation: distance between taps.
        groups: groups of channels that are convolved apart.
        deform_groups: groups of input channels that share offsets and masks.
        backend: 'reference' (pure PyTorch), 'torchvision' or 'mmcv'; None takes the environment variable
            GAVN_DCN_BACKEND, else torchvision on CUDA and reference elsewhere.

    Returns:
        (n, out, oh, ow).

    Raises:
        ValueError: an unknown backend, or shapes that do not fit together.
        ImportError: backend 'mmcv' where mmcv or its compiled operators are not installed.
    """
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    convolve = _BACKENDS[resolve_backend(backend, x.device)]
    _check(x, offset, mask, weight, (stride, padding, dilation), groups, deform_groups)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    with without_autocast(x.device.type):
        tensors = [None if t is None else t.to(dtype) for t in (x, offset, mask, weight, bias)]
        return convolve(*tensors, stride, padding, dilation, groups, deform_groups).to(x.dtype)


def resolve_backend(backend: str | None, device: torch.device) -> str:
    """The backend that a call would use: the argument, else the environment, else the device's default."""
    default = 'torchvision' if device.type == 'cuda' else 'reference'
    chosen = backend or os.environ.get(BACKEND_VARIABLE) or default
    if chosen not in _BACKENDS:
        raise ValueError(
            f'unknown deformable convolution backend {chosen!r}: choose one of {", ".join(_BACKENDS)} '
            f'by the argument `backend` or the environment variable {BACKEND_VARIABLE}'
        )
    return chosen


def without_autocast(device_type: str) -> AbstractContextManager:
    """Tensors without data have no autocast that could be switched off."""
    return nullcontext() if device_type == 'meta' else torch.autocast(device_type, enabled=False)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


def _check(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, steps: tuple, groups: int, deform_groups: int
) -> None:
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


def _reference(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups) -> Tensor:
    """Sample every tap with `grid_sample`, then one matrix product."""
    n, c, h, w = x.shape
    out, _, kh, kw = weight.shape
    oh, ow = offset.shape[2:]
    # deformable groups move into the batch
    dy, dx = offset.reshape(n * deform_groups, kh, kw, 2, oh, ow).unbind(3)
    y = dy + _tap_positions(oh, kh, stride[0], padding[0], dilation[0], x)[:, None, :, None]
    x_ = dx + _tap_positions(ow, kw, stride[1], padding[1], dilation[1], x)[:, None, :]
    # pixel i lies at (2 i + 1) / side - 1; the other convention would divide by zero for a side of one pixel
    grid = torch.stack([(2 * x_ + 1) / w - 1, (2 * y + 1) / h - 1], dim=-1)
    sampled = F.grid_sample(
        x.reshape(n * deform_groups, -1, h, w),
        grid.reshape(n * deform_groups, -1, ow, 2),  # taps and rows in one axis
        mode='bilinear',
        padding_mode='zeros',
        align_corners=False,
    )
    sampled = sampled * mask.reshape(n * deform_groups, 1, -1, ow)
    columns = sampled.reshape(n, groups, c // groups * kh * kw, oh * ow)
    result = torch.matmul(weight.reshape(groups, out // groups, -1), columns).reshape(n, out, oh, ow)
    return result if bias is None else result + bias[:, None, None]


def _tap_positions(out: int, kernel: int, stride: int, padding: int, dilation: int, like: Tensor) -> Tensor:
    """Where the unmoved taps lie along one axis: (kernel, out) in pixels."""
    outputs = torch.arange(out, dtype=like.dtype, device=like.device) * stride - padding
    return torch.arange(kernel, dtype=like.dtype, device=like.device)[:, None] * dilation + outputs


def _torchvision(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups) -> Tensor:
    """torchvision reads both numbers of groups from the shapes, which were checked against ours."""
    return torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)


def _mmcv(*arguments: Tensor | Pair | int | None) -> Tensor:
    try:
        from mmcv.ops import modulated_deform_conv2d as operator
    except ImportError as error:
        raise ImportError(
            "deformable convolution backend 'mmcv' was chosen, but mmcv with compiled operators is not "
            "installed: pip install 'gavn[mmcv]', or choose 'torchvision' or 'reference' (same results)"
        ) from error
    return operator(*arguments)


_BACKENDS: dict[Backend, Callable[..., Tensor]] = {
    'reference': _reference,
    'torchvision': _torchvision,
    'mmcv': _mmcv,
}
