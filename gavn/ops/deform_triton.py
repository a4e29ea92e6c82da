"""Fused modulated deformable convolution on a GPU: plans and launches `triton_kernels`.

The operators are registered in PyTorch, so they can be compiled, captured in CUDA graphs and differentiated
(once). Nothing synchronises with the device. Triton is imported at the first launch.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gavn.runtime.project import install_packages

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Types that the kernels support."""

BLOCK_PIXELS, BLOCK_CHANNELS, BLOCK_OUT, WARPS = 64, 64, 128, 8
"""Pixels, maximum of channels, maximum of outputs, and warps of one program.

float32 has half the pixels and outputs, because it needs twice the registers and shared memory; many GPUs
have 99 KiB of shared memory per program.
"""

PROGRAMS_PER_PROCESSOR = 4
"""Programs per multiprocessor that compute partial sums of the weights' gradient."""


@dataclass(frozen=True)
class KernelPlan:
    """Compile-time parameters of the kernels: the layer, without image sizes.

    Triton caches kernels by the text of this object, so all parameters must be fields.
    """

    stride_y: int
    stride_x: int
    padding_y: int
    padding_x: int
    dilation_y: int
    dilation_x: int
    kernel_width: int
    taps: int
    channels: int
    out_channels: int
    deform_groups: int
    group_in: int  # channels in one group
    group_out: int  # outputs of one group
    shared: int  # channels that share offsets
    unit: int  # channels of one group with the same offsets
    units: int  # units in a group
    parts: int  # blocks of the channels of a unit
    chunks: int  # blocks of the channels of a group
    out_blocks: int  # blocks of the outputs of a group
    block_pixels: int  # of one program; a power of two, like the next three
    block_units: int
    block_channels: int
    block_out: int
    unique: bool  # one step of one program has all channels of a deformable group
    sigmoid: bool  # masks are raw
    bias: bool
    leaky: bool
    precision: str  # of float32 products: ieee or tf32
    widen: bool  # bfloat16 products in float32, for the interpreter; same results


def make_plan(x: Tensor, weight: Tensor, steps: Sequence[int], groups: int, deform_groups: int, sigmoid: bool,
              bias: bool = False, leaky: bool = False) -> KernelPlan:
    """Returns the plan of a layer. Arguments are those of `deform_conv2d`."""
    (out, group_in, kernel_height, kernel_width), channels = weight.shape, x.shape[1]
    group_out, shared = out // groups, channels // deform_groups
    unit = math.gcd(group_in, shared)
    units = group_in // unit
    block_channels = min(_power(unit), BLOCK_CHANNELS)
    # a matrix product needs at least 16 channels
    block_units = max(min(_power(units), BLOCK_CHANNELS // block_channels), 16 // block_channels)
    wide = 2 if x.dtype == torch.float32 else 1
    block_out = min(max(_power(group_out), 16), BLOCK_OUT // wide)
    parts = _blocks(unit, block_channels)
    stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x = steps
    return KernelPlan(
        stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x,
        kernel_width, kernel_height * kernel_width, channels, out, deform_groups, group_in, group_out,
        shared, unit, units, parts, _blocks(units, block_units) * parts, _blocks(group_out, block_out),
        BLOCK_PIXELS // wide, block_units, block_channels, block_out, shared == unit and parts == 1, sigmoid,
        bias, leaky, 'tf32' if x.is_cuda and torch.get_float32_matmul_precision() != 'highest' else 'ieee',
        x.dtype == torch.bfloat16 and not x.is_cuda)  # fmt: skip


def _power(value: int) -> int:
    """Returns the next power of two."""
    return 1 << (value - 1).bit_length()


def _blocks(whole: int, block: int) -> int:
    return -(-whole // block)


def unsupported_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns why the kernels do not support a device or type; None if they do."""
    if dtype not in DTYPES:
        return f'it computes in float32, bfloat16 and float16, not in {str(dtype).removeprefix("torch.")}'
    if device.type != 'cuda' and os.environ.get('TRITON_INTERPRET') != '1':
        return f'it needs a CUDA device, not {device.type} (or TRITON_INTERPRET=1, which is slow)'
    return None


@torch.library.custom_op('gavn::deform_conv2d', mutates_args=())
def deform_conv2d(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
                  steps: Sequence[int], groups: int, deform_groups: int, sigmoid: bool, slope: float | None
                  ) -> Tensor:
    """Modulated deformable convolution, see `deform_conv.modulated_deform_conv2d`.

    Args:
        x: (n, c, h, w), of one of `DTYPES`, which is the type of products; sums and coordinates are float32.
        offset: (n, deform_groups * kh * kw * 2, oh, ow), any floating type and strides, like the mask.
        mask: (n, deform_groups * kh * kw, oh, ow).
        weight: (out, c / groups, kh, kw), rounded to the type of x.
        bias: (out,) or None.
        steps: stride, padding and dilation, for each y, then x.
        slope: of a LeakyReLU at the end, not negative, or None.

    Returns:
        (n, out, oh, ow), channels-last, of the type of x.
    """
    forward_kernel = _kernels().forward_kernel
    result = _empty_result(x, offset, weight)
    if result.numel():
        plan = make_plan(x, weight, steps, groups, deform_groups, sigmoid, bias is not None,
                         slope is not None)
        packed = _packed(weight, x.dtype)
        grid = (_blocks(_pixels(offset), plan.block_pixels), groups * plan.out_blocks)
        forward_kernel[grid](
            _channels_last(x), offset, mask, packed, packed if bias is None else bias.contiguous(), result,
            *_sizes(x, offset, mask), slope or 0.0, plan, num_warps=WARPS)
    return result


@deform_conv2d.register_fake
def _(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, *_: object) -> Tensor:
    return _empty_result(x, offset, weight)


@torch.library.custom_op('gavn::deform_conv2d_backward_data', mutates_args=())
def backward_data(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, steps: Sequence[int],
                  groups: int, deform_groups: int, sigmoid: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, offset and mask from that of the result before its LeakyReLU.

    The order of additions to the input's gradient differs from call to call.
    """
    backward_data_kernel = _kernels().backward_data_kernel
    plan = make_plan(x, weight, steps, groups, deform_groups, sigmoid)
    # buffers that several programs add to are float32 and start at zero
    grad_x = _zeros(x, torch.float32)
    to_offset, to_mask = (torch.empty_like(t, memory_format=torch.channels_last) if plan.unique
                          else _zeros(t, torch.float32) for t in (offset, mask))
    if grad.numel():
        grid = (_blocks(_pixels(offset), plan.block_pixels), groups)
        backward_data_kernel[grid](
            _channels_last(grad.to(x.dtype)), _channels_last(x), offset, mask, _packed(weight, x.dtype),
            grad_x, to_offset, to_mask, *_sizes(x, offset, mask), plan, num_warps=WARPS)
    return grad_x.to(x.dtype), to_offset.to(offset.dtype), to_mask.to(mask.dtype)


@backward_data.register_fake
def _(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, *_: object) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.channels_last) for t in (x, offset, mask))


@torch.library.custom_op('gavn::deform_conv2d_backward_weight', mutates_args=())
def backward_weight(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor,
                    steps: Sequence[int], groups: int, deform_groups: int, sigmoid: bool) -> Tensor:
    """Gradient of the weights from that of the result before its LeakyReLU."""
    backward_weight_kernel = _kernels().backward_weight_kernel
    plan = make_plan(x, weight, steps, groups, deform_groups, sigmoid)
    packed = torch.zeros((plan.taps, plan.group_in, plan.out_channels), dtype=torch.float32, device=x.device)
    if grad.numel():
        steps_, outs = plan.taps * plan.chunks, groups * plan.out_blocks
        wanted = _blocks(PROGRAMS_PER_PROCESSOR * _processors(x.device), steps_ * outs)
        grid = (min(wanted, _blocks(_pixels(offset), plan.block_pixels)), steps_, outs)
        backward_weight_kernel[grid](
            _channels_last(grad.to(x.dtype)), _channels_last(x), offset, mask, packed,
            *_sizes(x, offset, mask), plan, num_warps=WARPS)
    unpacked = packed.view(*weight.shape[2:], plan.group_in, plan.out_channels).permute(3, 2, 0, 1)
    return torch.empty_like(weight, memory_format=torch.contiguous_format).copy_(unpacked)


@backward_weight.register_fake
def _(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, *_: object) -> Tensor:
    return torch.empty_like(weight, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, offset, mask, weight, bias, *ctx.layer, ctx.slope = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(x, offset, mask, weight, None if ctx.slope is None else output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, result = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    if result is not None:
        grad = torch.ops.aten.leaky_relu_backward(grad, result, ctx.slope, True)
    data = backward_data(grad, *tensors, *ctx.layer) if any(wanted[:3]) else (None, None, None)
    weight = backward_weight(grad, *tensors, *ctx.layer) if wanted[3] else None
    bias = grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype) if wanted[4] else None
    return (*data, weight, bias, *[None] * 5)


deform_conv2d.register_autograd(_backward, setup_context=_remember)


def _kernels() -> ModuleType:
    try:
        from gavn.ops import triton_kernels
    except ImportError as error:
        raise ImportError(
            "deformable convolution backend 'triton' was chosen, but Triton cannot be imported: "
            f"{install_packages('triton')}, or choose 'torchvision' or 'reference' (same results)"
        ) from error
    return triton_kernels


def _empty_result(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    shape = (x.shape[0], weight.shape[0], *offset.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _zeros(like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(like, dtype=dtype, memory_format=torch.channels_last)


def _channels_last(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h, w, c), dense."""
    return x.permute(0, 2, 3, 1).contiguous()


def _packed(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights (out, c, kh, kw) -> (kh, kw, c, out), dense, in one pass."""
    order = weight.permute(2, 3, 1, 0)
    return torch.empty(order.shape, dtype=dtype, device=weight.device).copy_(order)


def _pixels(offset: Tensor) -> int:
    return offset.shape[0] * offset.shape[2] * offset.shape[3]


def _sizes(x: Tensor, offset: Tensor, mask: Tensor) -> tuple[int, ...]:
    """Arguments of every kernel: sizes of x and the result, number of pixels, strides."""
    return (*x.shape[2:], *offset.shape[2:], _pixels(offset), *offset.stride(), *mask.stride())


def _processors(device: torch.device) -> int:
    """Number of multiprocessors of a GPU; 1 for the interpreter."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == 'cuda' else 1
