"""Padding of frames for networks that need sides of certain multiples."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(frames: Tensor, multiple: int, least: int = 0) -> Tensor:
    """Pads (..., c, h, w) on the right and below by reflection to multiples of `multiple`, at least `least`.

    If a side is too short for its reflection, the last row or column is repeated instead. Crop the network's
    result by `[..., :h, :w]`.
    """
    height, width = frames.shape[-2:]
    right, below = (max(side, least) - side for side in (width, height))
    right, below = right + -(width + right) % multiple, below + -(height + below) % multiple
    if not right and not below:
        return frames
    mode = 'reflect' if right < width and below < height else 'replicate'
    leading = frames.shape[:-3]
    padded = F.pad(frames.reshape(-1, *frames.shape[-3:]), (0, right, 0, below), mode)
    return padded.reshape(*leading, *padded.shape[1:])


def padded_region(region: Tensor | None, frames: Tensor, padded: Tensor) -> Tensor:
    """Returns the part of the full frame that padded frames show.

    Args:
        region: (n, 4), x0 y0 x1 y1 in [0, 1]: part of the full frame that `frames` show. None: all of it.
        frames: (n, ..., h, w) before padding.
        padded: result of `pad_to_multiple`.

    Returns:
        (n, 4), which may exceed 1.
    """
    if region is None:
        region = frames.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(frames.shape[0], 4)
    if padded.shape == frames.shape:
        return region
    x0, y0, x1, y1 = region.unbind(1)
    right, below = padded.shape[-1] / frames.shape[-1], padded.shape[-2] / frames.shape[-2]
    return torch.stack([x0, y0, x0 + (x1 - x0) * right, y0 + (y1 - y0) * below], dim=1)
