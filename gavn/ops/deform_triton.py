"""Modulated deformable convolution on a GPU, fused: planning and launching of `triton_kernels`.

The operators are registered with torch, so that they can be compiled, captured in a CUDA graph and
differentiated (once). Nothing here waits for the device. Triton itself is imported at the first launch.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernels compute with."""

BLOCK_PIXELS, BLOCK_CHANNELS, BLOCK_OUT, WARPS = 64, 64, 128, 8
"""Pixels, and at most so many channels and outputs, that one program works on at once; and its warps."""

PROGRAMS_PER_PROCESSOR = 4
"""Programs that share the sum of the weights' gradient, for each multiprocessor."""


@dataclass(frozen=True)
class Plan:
    """What kernels are compiled for: the layer, without its pictures' sizes."""

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
    group_in: int  # channels in one group
    group_out: int  # outputs of one group
    deform_groups: int
    shared: int  # channels that share offsets
    bias: bool
    sigmoid: bool  # masks come raw
    leaky: bool
    precision: str  # of products of float32: ieee or tf32
    widen: bool  # products of bfloat16 in float32, for the interpreter, which has none; the numbers are the same

    @property
    def unit(self) -> int:
        """Channels that lie in one group and share offsets."""
        return math.gcd(self.group_in, self.shared)

    @property
    def units(self) -> int:
        """Units in a group."""
        return self.group_in // self.unit

    @property
    def block_channels(self) -> int:
        """Channels of a unit that are looked at together, a power of two."""
        return min(_power(self.unit), BLOCK_CHANNELS)

    @property
    def block_units(self) -> int:
        """Units that are looked at together, a power of two; a matrix product wants 16 channels or more."""
        room = BLOCK_CHANNELS // self.block_channels
        return max(min(_power(self.units), room), 16 // self.block_channels, 1)

    @property
    def parts(self) -> int:
        """Blocks that a unit takes."""
        return -(-self.unit // self.block_channels)

    @property
    def chunks(self) -> int:
        """Blocks that a group's channels take."""
        return -(-self.units // self.block_units) * self.parts

    @property
    def block_out(self) -> int:
        """Outputs that are computed together, a power of two."""
        return min(max(_power(self.group_out), 16), BLOCK_OUT)

    @property
    def out_blocks(self) -> int:
        """Blocks that a group's outputs take."""
        return -(-self.group_out // self.block_out)

    @property
    def block_pixels(self) -> int:
        """Pixels that are computed together."""
        return BLOCK_PIXELS

    @property
    def unique(self) -> bool:
        """Whether the channels of a deformable group are looked at in one step, by one program."""
        return self.shared == self.unit and self.parts == 1


def _power(value: int) -> int:
    return 1 << (value - 1).bit_length()


def make_plan(x: Tensor, offset: Tensor, weight: Tensor, bias: bool, steps: Sequence[int], groups: int,
              deform_groups: int, sigmoid: bool, leaky: bool) -> Plan:
    """The plan of a layer; arguments as those of `deform_conv2d`."""
    out, group_in, kernel_height, kernel_width = weight.shape
    tf32 = x.is_cuda and torch.get_float32_matmul_precision() != 'highest'
    return Plan(*steps, kernel_width, kernel_height * kernel_width, x.shape[1], out, group_in, out // groups,
                deform_groups, x.shape[1] // deform_groups, bias, sigmoid, leaky, 'tf32' if tf32 else 'ieee',
                x.dtype == torch.bfloat16 and not x.is_cuda)


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot serve tensors of a device and type, in words; None where they can."""
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
        x: (n, c, h, w), of one of `DTYPES`: products are of this type, sums and coordinates float32.
        offset: (n, deform_groups * kh * kw * 2, oh, ow), any floating type and strides, like the mask.
        mask: (n, deform_groups * kh * kw, oh, ow).
        weight: (out, c / groups, kh, kw), rounded to the type of x.
        bias: (out,) or None.
        steps: stride, padding and dilation, for each y, then x.
        groups: of the convolution.
        deform_groups: groups of channels that share offsets.
        sigmoid: the mask goes through a sigmoid.
        slope: of a LeakyReLU at the end, not negative, or None.

    Returns:
        (n, out, oh, ow), channels-last, of the type of x.
    """
    from gavn.ops.triton_kernels import forward_kernel
    result = _empty_result(x, offset, weight)
    if result.numel():
        plan = make_plan(x, offset, weight, bias is not None, steps, groups, deform_groups, sigmoid,
                         slope is not None)
        packed = _packed(weight, x.dtype)
        grid = (-(-_pixels(offset) // plan.block_pixels), groups * plan.out_blocks)
        forward_kernel[grid](
            _channels_last(x), offset, mask, packed, packed if bias is None else bias.contiguous(), result,
            *x.shape[2:], *offset.shape[2:], _pixels(offset), *offset.stride(), *mask.stride(), slope or 0.0, plan,
            num_warps=WARPS)
    return result


@deform_conv2d.register_fake
def _(x, offset, mask, weight, bias, steps, groups, deform_groups, sigmoid, slope):
    return _empty_result(x, offset, weight)


@torch.library.custom_op('gavn::deform_conv2d_backward_data', mutates_args=())
def backward_data(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, steps: Sequence[int],
                  groups: int, deform_groups: int, sigmoid: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, offset and mask from that of the result before its LeakyReLU.

    The order of additions to the input's gradient differs from call to call.
    """
    from gavn.ops.triton_kernels import backward_data_kernel
    plan = make_plan(x, offset, weight, False, steps, groups, deform_groups, sigmoid, False)
    # what several programs add to starts at zero, in float32
    grad_x = _zeros(x, torch.float32)
    to_offset, to_mask = (torch.empty_like(t, memory_format=torch.channels_last) if plan.unique
                          else _zeros(t, torch.float32) for t in (offset, mask))
    if grad.numel():
        grid = (-(-_pixels(offset) // plan.block_pixels), groups)
        backward_data_kernel[grid](
            _channels_last(grad.to(x.dtype)), _channels_last(x), offset, mask, _packed(weight, x.dtype), grad_x,
            to_offset, to_mask, *x.shape[2:], *offset.shape[2:], _pixels(offset), *offset.stride(),
            *mask.stride(), plan, num_warps=WARPS)
    return grad_x.to(x.dtype), to_offset.to(offset.dtype), to_mask.to(mask.dtype)


@backward_data.register_fake
def _(grad, x, offset, mask, weight, steps, groups, deform_groups, sigmoid):
    return tuple(torch.empty_like(t, memory_format=torch.channels_last) for t in (x, offset, mask))


@torch.library.custom_op('gavn::deform_conv2d_backward_weight', mutates_args=())
def backward_weight(grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor,
                    steps: Sequence[int], groups: int, deform_groups: int, sigmoid: bool) -> Tensor:
    """Gradient of the weights from that of the result before its LeakyReLU."""
    from gavn.ops.triton_kernels import backward_weight_kernel
    plan = make_plan(x, offset, weight, False, steps, groups, deform_groups, sigmoid, False)
    packed = torch.zeros((plan.taps, plan.group_in, plan.out_channels), dtype=torch.float32, device=x.device)
    if grad.numel():
        steps_, outs = plan.taps * plan.chunks, groups * plan.out_blocks
        wanted = -(-PROGRAMS_PER_PROCESSOR * _processors(x.device) // (steps_ * outs))
        grid = (min(wanted, -(-_pixels(offset) // plan.block_pixels)), steps_, outs)
        backward_weight_kernel[grid](
            _channels_last(grad.to(x.dtype)), _channels_last(x), offset, mask, packed, *x.shape[2:],
            *offset.shape[2:], _pixels(offset), *offset.stride(), *mask.stride(), plan, num_warps=WARPS)
    unpacked = packed.view(*weight.shape[2:], plan.group_in, plan.out_channels).permute(3, 2, 0, 1)
    return torch.empty_like(weight, memory_format=torch.contiguous_format).copy_(unpacked)


@backward_weight.register_fake
def _(grad, x, offset, mask, weight, steps, groups, deform_groups, sigmoid):
    return torch.empty_like(weight, memory_format=torch.contiguous_format)


def _remember(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, offset, mask, weight, bias, *ctx.layer, ctx.slope = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(x, offset, mask, weight, None if ctx.slope is None else output)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, result = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    if result is not None:
        grad = torch.ops.aten.leaky_relu_backward(grad, result, ctx.slope, True)
    data = backward_data(grad, *tensors, *ctx.layer) if any(wanted[:3]) else (None, None, None)
    weight = backward_weight(grad, *tensors, *ctx.layer) if wanted[3] else None
    bias = grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype) if wanted[4] else None
    return (*data, weight, bias, *[None] * 5)


deform_conv2d.register_autograd(_backward, setup_context=_remember)


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


def _processors(device: torch.device) -> int:
    """Multiprocessors of a GPU; the interpreter has one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == 'cuda' else 1
