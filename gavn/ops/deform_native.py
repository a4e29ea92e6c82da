"""Modulated deformable convolution on a CPU: layout of the tensors of `native.c`, and its threads.

The extension is built if there is a C compiler when gavn is installed.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

try:
    import gavn.ops._native as _native
except ImportError:
    _native = None

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Types of input and result; the computation is in float32."""

BORDER, SLACK = 2, 4
"""Zeros around an image, and numbers after the last, that `native.c` may read."""

ROW = 8
"""Outputs that are computed at a time."""

PART, PARTS = 256, 4
"""Pixels of the result in a unit of work, and the smallest number of units for another thread."""


def installed() -> bool:
    """Whether the extension was built."""
    return _native is not None


def is_fast() -> bool:
    """Whether the extension was built and is faster than PyTorch here: on x86-64 with AVX2."""
    return installed() and bool(_native.QUICK)


def unsupported_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns why the operator does not support a device or type; None if it does."""
    if dtype not in DTYPES:
        return f'it supports float32, bfloat16 and float16, not {str(dtype).removeprefix("torch.")}'
    return None if device.type in ('cpu', 'meta') else f'it needs the CPU, not {device.type}'


def addressable(x: Tensor, *others: Tensor | None) -> bool:
    """Whether compiled code may read tensors directly.

    It may not while a network is compiled, traced or exported, inside dispatch modes, for tensor subclasses,
    for tensors without data or elements, in `torch.func` and in forward-mode differentiation. An image of x
    (n, c, h, w) must have less than 2^31 numbers.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or is_in_torch_dispatch_mode():
        return False
    bordered = math.prod(side + 2 * BORDER for side in x.shape[2:])
    tensors = (x, *(other for other in others if other is not None))
    return x.shape[1] * bordered < 2 ** 31 and all(map(_has_address, tensors))


def _has_address(tensor: Tensor) -> bool:
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.device.type != 'cpu' or not tensor.numel():
        return False
    if forward_ad.unpack_dual(tensor).tangent is not None:
        return False
    try:
        return tensor.data_ptr() != 0
    except RuntimeError:  # torch.func's tensors
        return False


def deform_conv2d(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                  steps: Sequence[int], groups: int, deform_groups: int, sigmoid: bool, slope: float | None
                  ) -> Tensor:
    """Modulated deformable convolution without gradients, see `deform_conv.modulated_deform_conv2d`.

    Args:
        x: (n, c, h, w), of one of `DTYPES`; the result has its memory format.
        offset: (n, deform_groups * kh * kw * 2, oh, ow). bfloat16 in channels-last needs no copy, even if it
            is a slice of a larger tensor; the same holds for the mask.
        mask: (n, deform_groups * kh * kw, oh, ow).
        weight: (out, c / groups, kh, kw).
        bias: (out,) or None.
        steps: stride, padding and dilation, for each y, then x.
        slope: of a LeakyReLU at the end, or None.

    Returns:
        (n, out, oh, ow), of the type of x.
    """
    n, channels, height, width = x.shape
    out, group_in, *kernel = weight.shape
    unit = math.gcd(group_in, channels // deform_groups)
    halves = offset.dtype == mask.dtype == torch.bfloat16
    (offset, offset_step), (mask, mask_step) = (_rows(t if halves else t.float()) for t in (offset, mask))
    image, (packed, offsets) = _with_border(x), _packed(weight, bias, groups, unit)
    result = torch.empty(n, *offset.shape[1:3], out)
    tensors = (image, offset, mask, packed, offsets, result)
    pixels = result.numel() // out
    layer = ((halves, offset_step, mask_step), (height, width, *offset.shape[1:3]),
             (channels, out, groups, deform_groups, unit, packed.shape[-1]), (*kernel, *steps), sigmoid,
             1.0 if slope is None else slope)

    def work(first: int, last: int) -> None:  # the closure keeps the tensors alive while threads run
        _native.convolve(tuple(tensor.data_ptr() for tensor in tensors), *layer, first, last)

    _run_in_threads(work, pixels)
    result = result.permute(0, 3, 1, 2).to(x.dtype)
    return result if x.is_contiguous(memory_format=torch.channels_last) else result.contiguous()


def _rows(tensor: Tensor) -> tuple[Tensor, int]:
    """(n, c, h, w) -> (n, h, w, c) with contiguous channels, and the stride of pixels."""
    rows = tensor.permute(0, 2, 3, 1)
    n, height, width, channels = rows.shape
    # an axis of length one may have any stride
    axes = zip((n, height, width), rows.stride()[:3], (height * width, width, 1), strict=True)
    steps = {divmod(stride, pixels) for side, stride, pixels in axes if side > 1}
    if rows.stride(3) == 1 and len(steps) == 1:
        step, uneven = steps.pop()
        if not uneven:
            return rows, step
    return rows.contiguous(), channels


def _with_border(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h + 4, w + 4, c) in float32, with zeros around each image."""
    n, channels, height, width = x.shape
    shape = (n, height + 2 * BORDER, width + 2 * BORDER, channels)
    bordered = torch.zeros(math.prod(shape) + SLACK)[:-SLACK].view(shape)
    bordered[:, BORDER:-BORDER, BORDER:-BORDER] = x.permute(0, 2, 3, 1)
    return bordered


def _packed(weight: Tensor, bias: Tensor | None, groups: int, unit: int) -> tuple[Tensor, Tensor]:
    """Weights (out, c / groups, kh, kw) -> (groups, units, taps, unit, row), biases -> (groups, row)."""
    out, group_in, height, width = weight.shape
    per_group = out // groups
    row = -(-per_group // ROW) * ROW
    packed = torch.zeros(groups, group_in // unit, height * width, unit, row)
    packed[..., :per_group] = weight.reshape(
        groups, per_group, group_in // unit, unit, height * width).permute(0, 2, 4, 3, 1)
    biases = torch.zeros(groups, row)
    if bias is not None:
        biases[:, :per_group] = bias.reshape(groups, per_group)
    return packed, biases


_pool: ThreadPoolExecutor


def _new_pool() -> None:
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), 'deform_conv2d')


_new_pool()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_new_pool)  # threads do not survive a fork


def _run_in_threads(work: Callable[[int, int], None], count: int) -> None:
    """Calls `work(first, last)` for parts of `count` in PyTorch's number of threads, including this one.

    Idle threads take the next part. Threads that have not started when no part is left are cancelled.
    """
    firsts = iter(range(0, count, PART))

    def take() -> None:
        for first in firsts:
            work(first, min(first + PART, count))

    threads = min(torch.get_num_threads(), count // (PARTS * PART))
    others = [_pool.submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:  # running threads still write to the caller's tensors
        started = [other for other in others if not other.cancel()]
        wait(started)
    for other in started:
        other.result()
