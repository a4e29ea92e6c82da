"""Frames of any size for networks whose levels need sides that are multiples of something."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(frames: Tensor, multiple: int, least: int = 0) -> Tensor:
    """Mirror (..., c, h, w) to the right and below until both sides are multiples of `multiple`.

    Where a side is too short for its mirror image, the last row or column is repeated instead. Cut the result
    of the network back with `[..., :h, :w]`. `least`: sides become at least so long as well.
    """
    height, width = frames.shape[-2:]
    right, below = (max(side, least) - side for side in (width, height))
    right, below = right + -(width + right) % multiple, below + -(height + below) % multiple
    if not right and not below:
        return frames
    mode = 'reflect' if right < width and below < height else 'replicate'
    lead = frames.shape[:-3]
    padded = F.pad(frames.reshape(-1, *frames.shape[-3:]), (0, right, 0, below), mode)
    return padded.reshape(*lead, *padded.shape[1:])


def padded_region(region: Tensor | None, frames: Tensor, padded: Tensor) -> Tensor:
    """The part of the full frame that padded frames show.

    Args:
        region: (n, 4), x0 y0 x1 y1 in [0, 1] of the full frame: what `frames` show; None: all of it.
        frames: (n, ..., h, w) before padding.
        padded: what `pad_to_multiple` made of them.

    Returns (n, 4), which may reach beyond 1.
    """
    if region is None:
        region = frames.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(frames.shape[0], 4)
    if padded.shape == frames.shape:
        return region
    x0, y0, x1, y1 = region.unbind(1)
    right, below = padded.shape[-1] / frames.shape[-1], padded.shape[-2] / frames.shape[-2]
    return torch.stack([x0, y0, x0 + (x1 - x0) * right, y0 + (y1 - y0) * below], dim=1)
