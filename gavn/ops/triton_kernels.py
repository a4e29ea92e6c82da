"""Triton kernels of modulated deformable convolution; `deform_triton` plans and launches them.

All images are channels-last. A program computes a block of pixels of the result in steps of one tap of the
kernel and a block of channels. Channels are arranged as (units, channels of a unit): a unit has the channels
of one group of the convolution that share offsets. Sampled values are used directly in the matrix product of
their tap, without a buffer of columns. Coordinates and sums are float32.
"""

import triton
import triton.language as tl


@triton.jit
def _places(block, out_height, out_width, plan: tl.constexpr):
    """Pixels of a block of the result: indices, and images, rows and columns; each (pixels,)."""
    pixel = block * plan.block_pixels + tl.arange(0, plan.block_pixels)
    in_image = pixel % (out_height * out_width)
    image = (pixel // (out_height * out_width)).to(tl.int64)
    return pixel.to(tl.int64), (image, in_image // out_width, in_image % out_width)


@triton.jit
def _channels(step, group, plan: tl.constexpr):
    """Decodes a step.

    Returns the tap, indices of channels in their group (units, channels), which of them exist, which units
    exist, and the deformable groups of units (units,).
    """
    chunk = step % plan.chunks
    unit = (chunk // plan.parts) * plan.block_units + tl.arange(0, plan.block_units)
    part = (chunk % plan.parts) * plan.block_channels + tl.arange(0, plan.block_channels)
    known = unit < plan.units
    channel = unit[:, None] * plan.unit + part[None, :]
    shared = (group * plan.group_in + unit * plan.unit) // plan.shared
    return step // plan.chunks, channel, known[:, None] & (part < plan.unit)[None, :], known, shared


@triton.jit
def _points(offset_ptr, mask_ptr, strides, place, valid, tap, shared, plan: tl.constexpr):
    """Position y and x of a tap in pixels, and its mask, each (pixels, units)."""
    offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w = strides
    image, row, column = place
    at = (image * offset_n + row * offset_h + column * offset_w)[:, None]
    point = (shared * plan.taps + tap)[None, :]
    dy = tl.load(offset_ptr + at + 2 * point * offset_c, mask=valid, other=0).to(tl.float32)
    dx = tl.load(offset_ptr + at + (2 * point + 1) * offset_c, mask=valid, other=0).to(tl.float32)
    at = (image * mask_n + row * mask_h + column * mask_w)[:, None]
    mask = tl.load(mask_ptr + at + point * mask_c, mask=valid, other=0).to(tl.float32)
    if plan.sigmoid:
        mask = tl.sigmoid(mask)
    y = row * plan.stride_y - plan.padding_y + (tap // plan.kernel_width) * plan.dilation_y
    x = column * plan.stride_x - plan.padding_x + (tap % plan.kernel_width) * plan.dilation_x
    return y[:, None].to(tl.float32) + dy, x[:, None].to(tl.float32) + dx, mask


@triton.jit
def _cell(position, side):
    """Pixel before a position, and the weight of the pixel after it, which is NaN if the position is."""
    before = tl.floor(position)
    # clamped to one pixel outside of the image, so that it fits an integer
    return tl.minimum(tl.maximum(before, -2.0), side).to(tl.int32), position - before


@triton.jit
def _corner(image, y, x, size, valid, plan: tl.constexpr):
    """Memory offsets of pixels (y, x), and which are inside of the image; each (pixels, units)."""
    height, width = size
    inside = valid & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return (image[:, None] * height * width + y * width + x) * plan.channels, inside


@triton.jit
def _gather(x_ptr, at, inside, channel, exists):
    """Values (pixels, units, channels) in float32; zero outside."""
    pointers = x_ptr + at[:, :, None] + channel[None, :, :]
    return tl.load(pointers, mask=inside[:, :, None] & exists[None, :, :], other=0).to(tl.float32)


@triton.jit
def _sample(x_ptr, image, y, x, size, scale, valid, channel, exists, plan: tl.constexpr):
    """Bilinear samples times scale, in the type of x -> (pixels, units * channels)."""
    top, below = _cell(y, size[0])
    left, right = _cell(x, size[1])
    at, inside = _corner(image, top, left, size, valid, plan)
    value = _gather(x_ptr, at, inside, channel, exists) * (scale * (1 - below) * (1 - right))[:, :, None]
    at, inside = _corner(image, top, left + 1, size, valid, plan)
    value += _gather(x_ptr, at, inside, channel, exists) * (scale * (1 - below) * right)[:, :, None]
    at, inside = _corner(image, top + 1, left, size, valid, plan)
    value += _gather(x_ptr, at, inside, channel, exists) * (scale * below * (1 - right))[:, :, None]
    at, inside = _corner(image, top + 1, left + 1, size, valid, plan)
    value += _gather(x_ptr, at, inside, channel, exists) * (scale * below * right)[:, :, None]
    value = tl.reshape(value, (plan.block_pixels, plan.block_units * plan.block_channels))
    return value.to(x_ptr.dtype.element_ty)


@triton.jit
def _weights_at(weight_ptr, tap, channel, exists, group, out, plan: tl.constexpr):
    """Pointers into weights (taps, channels of a group, out), and which exist: (block of channels, out)."""
    block: tl.constexpr = plan.block_units * plan.block_channels
    row = tap * plan.group_in + tl.reshape(channel, (block,))
    there = tl.reshape(exists, (block,))[:, None] & (out < plan.group_out)[None, :]
    return weight_ptr + row[:, None] * plan.out_channels + (group * plan.group_out + out)[None, :], there


@triton.jit
def _add_product(total, a, b, plan: tl.constexpr):
    """Adds the matrix product of a and b."""
    if plan.widen:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=plan.precision)


@triton.jit
def forward_kernel(
        x_ptr, offset_ptr, mask_ptr, weight_ptr, bias_ptr, out_ptr, height, width, out_height, out_width,
        pixels, offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w, slope,
        plan: tl.constexpr):
    """Result of a block of pixels and a block of one group's outputs. Grid: blocks of pixels, of outputs."""
    strides = (offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w)
    pixel, place = _places(tl.program_id(0), out_height, out_width, plan)
    group = tl.program_id(1) // plan.out_blocks
    out = (tl.program_id(1) % plan.out_blocks) * plan.block_out + tl.arange(0, plan.block_out)
    total = tl.full((plan.block_pixels, plan.block_out), 0.0, tl.float32)
    for step in range(plan.taps * plan.chunks):
        tap, channel, exists, known, shared = _channels(step, group, plan)
        valid = (pixel < pixels)[:, None] & known[None, :]
        y, x, mask = _points(offset_ptr, mask_ptr, strides, place, valid, tap, shared, plan)
        value = _sample(x_ptr, place[0], y, x, (height, width), mask, valid, channel + group * plan.group_in,
                        exists, plan)
        pointers, there = _weights_at(weight_ptr, tap, channel, exists, group, out, plan)
        weights = tl.load(pointers, mask=there, other=0)
        total = _add_product(total, value, weights, plan)
    written = out < plan.group_out
    if plan.bias:
        bias = tl.load(bias_ptr + group * plan.group_out + out, mask=written, other=0)
        total += bias.to(tl.float32)[None, :]
    if plan.leaky:
        total = tl.where(total > 0, total, total * slope)
    pointers = out_ptr + pixel[:, None] * plan.out_channels + (group * plan.group_out + out)[None, :]
    tl.store(pointers, total.to(out_ptr.dtype.element_ty), mask=(pixel < pixels)[:, None] & written[None, :])


@triton.jit
def _column_gradient(grad_ptr, weight_ptr, pixel, pixels, tap, channel, exists, group, plan: tl.constexpr):
    """Gradient of sampled values, from that of the result -> (pixels, units, channels)."""
    block: tl.constexpr = plan.block_units * plan.block_channels
    total = tl.full((plan.block_pixels, block), 0.0, tl.float32)
    for part in range(plan.out_blocks):
        out = part * plan.block_out + tl.arange(0, plan.block_out)
        pointers = grad_ptr + pixel[:, None] * plan.out_channels + (group * plan.group_out + out)[None, :]
        grad = tl.load(pointers, mask=(pixel < pixels)[:, None] & (out < plan.group_out)[None, :], other=0)
        pointers, there = _weights_at(weight_ptr, tap, channel, exists, group, out, plan)
        weights = tl.load(pointers, mask=there, other=0)
        total = _add_product(total, grad, tl.trans(weights), plan)
    return tl.reshape(total, (plan.block_pixels, plan.block_units, plan.block_channels))


@triton.jit
def _corner_gradient(x_ptr, grad_x_ptr, at, inside, channel, exists, scale, grad):
    """Adds grad times scale to a corner's gradient; returns grad times that corner, summed over channels."""
    where = at[:, :, None] + channel[None, :, :]
    there = inside[:, :, None] & exists[None, :, :]
    tl.atomic_add(grad_x_ptr + where, grad * scale[:, :, None], mask=there, sem='relaxed')
    return tl.sum(grad * tl.load(x_ptr + where, mask=there, other=0).to(tl.float32), axis=2)


@triton.jit
def _put(ptr, value, valid, plan: tl.constexpr):
    """Stores a gradient of one step, or adds one of several steps."""
    if plan.unique:
        tl.store(ptr, value.to(ptr.dtype.element_ty), mask=valid)
    else:
        tl.atomic_add(ptr, value, mask=valid, sem='relaxed')


@triton.jit
def backward_data_kernel(
        grad_ptr, x_ptr, offset_ptr, mask_ptr, weight_ptr, grad_x_ptr, grad_offset_ptr, grad_mask_ptr,
        height, width, out_height, out_width, pixels, offset_n, offset_c, offset_h, offset_w,
        mask_n, mask_c, mask_h, mask_w, plan: tl.constexpr):
    """Gradients of input, offsets and masks (all channels-last). Grid: blocks of pixels, groups."""
    strides = (offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w)
    pixel, place = _places(tl.program_id(0), out_height, out_width, plan)
    group = tl.program_id(1)
    size = (height, width)
    for step in range(plan.taps * plan.chunks):
        tap, channel, exists, known, shared = _channels(step, group, plan)
        valid = (pixel < pixels)[:, None] & known[None, :]
        grad = _column_gradient(grad_ptr, weight_ptr, pixel, pixels, tap, channel, exists, group, plan)
        y, x, mask = _points(offset_ptr, mask_ptr, strides, place, valid, tap, shared, plan)
        top, below = _cell(y, height)
        left, right = _cell(x, width)
        channel += group * plan.group_in
        at, inside = _corner(place[0], top, left, size, valid, plan)
        share = mask * (1 - below) * (1 - right)
        nw = _corner_gradient(x_ptr, grad_x_ptr, at, inside, channel, exists, share, grad)
        at, inside = _corner(place[0], top, left + 1, size, valid, plan)
        share = mask * (1 - below) * right
        ne = _corner_gradient(x_ptr, grad_x_ptr, at, inside, channel, exists, share, grad)
        at, inside = _corner(place[0], top + 1, left, size, valid, plan)
        share = mask * below * (1 - right)
        sw = _corner_gradient(x_ptr, grad_x_ptr, at, inside, channel, exists, share, grad)
        at, inside = _corner(place[0], top + 1, left + 1, size, valid, plan)
        share = mask * below * right
        se = _corner_gradient(x_ptr, grad_x_ptr, at, inside, channel, exists, share, grad)
        to_mask = (1 - below) * ((1 - right) * nw + right * ne) + below * ((1 - right) * sw + right * se)
        if plan.sigmoid:
            to_mask *= mask * (1 - mask)
        to = pixel[:, None] * (plan.deform_groups * plan.taps) + (shared * plan.taps + tap)[None, :]
        _put(grad_mask_ptr + to, to_mask, valid, plan)
        _put(grad_offset_ptr + 2 * to, mask * ((1 - right) * (sw - nw) + right * (se - ne)), valid, plan)
        _put(grad_offset_ptr + 2 * to + 1, mask * ((1 - below) * (ne - nw) + below * (se - sw)), valid, plan)


@triton.jit
def backward_weight_kernel(
        grad_ptr, x_ptr, offset_ptr, mask_ptr, grad_weight_ptr, height, width, out_height, out_width, pixels,
        offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w, plan: tl.constexpr):
    """Gradient of the weights (taps, channels of a group, out) in float32.

    A program sums over every so many blocks of pixels. Grid: shares of the pixels, steps, blocks of outputs.
    """
    strides = (offset_n, offset_c, offset_h, offset_w, mask_n, mask_c, mask_h, mask_w)
    block: tl.constexpr = plan.block_units * plan.block_channels
    group = tl.program_id(2) // plan.out_blocks
    out = (tl.program_id(2) % plan.out_blocks) * plan.block_out + tl.arange(0, plan.block_out)
    tap, channel, exists, known, shared = _channels(tl.program_id(1), group, plan)
    total = tl.full((block, plan.block_out), 0.0, tl.float32)
    share = tl.program_id(0)
    while share * plan.block_pixels < pixels:
        pixel, place = _places(share, out_height, out_width, plan)
        valid = (pixel < pixels)[:, None] & known[None, :]
        y, x, mask = _points(offset_ptr, mask_ptr, strides, place, valid, tap, shared, plan)
        value = _sample(x_ptr, place[0], y, x, (height, width), mask, valid, channel + group * plan.group_in,
                        exists, plan)
        pointers = grad_ptr + pixel[:, None] * plan.out_channels + (group * plan.group_out + out)[None, :]
        grad = tl.load(pointers, mask=(pixel < pixels)[:, None] & (out < plan.group_out)[None, :], other=0)
        total = _add_product(total, tl.trans(value), grad, plan)
        share += tl.num_programs(0)
    pointers, there = _weights_at(grad_weight_ptr, tap, channel, exists, group, out, plan)
    tl.atomic_add(pointers, total, mask=there, sem='relaxed')
