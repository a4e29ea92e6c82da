"""Attention in windows of space and time: temporal mutual self attention of VRT (Liang et al. 2024).

Features are n t h w c. Written from the paper and the published sizes of its parameters.
"""

import math
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add, mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.ops.window_attention import WindowMasks, window_attention

Size = tuple[int, int, int]  # frames, rows, columns
BLOCKED = -100.0  # added to the logit of a masked pair
TEMPERATURE = 10000  # of the sine position encoding (Vaswani et al. 2017)


class GEGLU(nn.Module):
    """Two linear layers with gated hidden units (Shazeer 2020): fc2(GELU(fc11 x) * fc12 x)."""

    def __init__(self, cin: int, hidden: int, cout: int) -> None:
        super().__init__()
        self.fc11, self.fc12 = nn.Linear(cin, hidden), nn.Linear(cin, hidden)
        self.fc2 = nn.Linear(hidden, cout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., cin) -> (..., cout)."""
        return self.fc2(F.gelu(self.fc11(x)) * self.fc12(x))


class DropPath(nn.Module):
    """Drops a branch for random samples in training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> the same, zero for some samples and scaled up for the others."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)


@dataclass(frozen=True)
class Windows:
    """Non-overlapping windows over features n t h w c, cyclically shifted.

    A clip is padded with zeros to a multiple of the window's length. Rows and columns must be multiples.
    """

    grid: Size  # number of windows along each axis
    window: Size  # pixels of a window along each axis
    shift: Size  # along each axis

    @classmethod
    def over(cls, size: Size, window: Size, shifted: bool) -> 'Windows':
        """Makes windows over t h w, shifted by half a window if `shifted`.

        An axis that is not longer than the window has one window, which is not shifted.
        """
        t, h, w = (math.ceil(side / part) for side, part in zip(size, window, strict=True))
        dt, dh, dw = (part // 2 if shifted and count > 1 else 0
                      for part, count in zip(window, (t, h, w), strict=True))
        return cls((t, h, w), window, (dt, dh, dw))

    def split(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> (n windows, pixels, c)."""
        n, t, *_, c = x.shape
        if missing := self.grid[0] * self.window[0] - t:
            x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing))
        if any(self.shift):
            x = x.roll([-step for step in self.shift], dims=(1, 2, 3))
        (gt, gh, gw), (wt, wh, ww) = self.grid, self.window
        x = x.view(n, gt, wt, gh, wh, gw, ww, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
        return x.reshape(-1, wt * wh * ww, c)

    def merge(self, x: Tensor, t: int) -> Tensor:
        """The inverse of `split` for a clip of t frames."""
        (gt, gh, gw), (wt, wh, ww) = self.grid, self.window
        x = x.view(-1, gt, gh, gw, wt, wh, ww, x.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x.reshape(len(x), gt * wt, gh * wh, gw * ww, -1)
        if any(self.shift):
            x = x.roll(self.shift, dims=(1, 2, 3))
        return x[:, :t]

    def masks(self, frames: int, like: Tensor) -> WindowMasks | None:
        """Returns masks that separate pixels which were shifted around an end from their new neighbours.

        Args:
            frames: of a window, or 1 for attention between two frames.
            like: a tensor with the type and the device of the features.

        Returns:
            None if no window is shifted. Only the last windows along an axis need a mask.
        """
        if not any(self.shift):
            return None
        barriers = [self._barrier(axis, frames, like) for axis in range(3)]
        kinds = list(product((False, True), repeat=3))  # per axis: whether it is the last window
        masks = [reduce(add, map(mul, barriers, kind)) for kind in kinds]
        lasts = product(*([at == count - 1 for at in range(count)] for count in self.grid))
        return WindowMasks(torch.stack(masks), tuple(kinds.index(last) for last in lasts))

    def _barrier(self, axis: int, frames: int, like: Tensor) -> Tensor:
        """(pixels, pixels): logits to add for pairs on either side of the end of an axis."""
        beyond = torch.arange(self.window[axis], device=like.device) >= self.window[axis] - self.shift[axis]
        shape = [1, 1, 1]
        shape[axis] = -1
        beyond = beyond.view(shape).expand(self.window)[:frames].flatten()
        return BLOCKED * (beyond[:, None] != beyond).to(like.dtype)


class WindowAttention(nn.Module):
    """Self attention of all pixels of a window and, in windows of two frames, mutual attention of the frames.

    Self attention has a learned bias for each relative position. In mutual attention, queries of one frame
    attend to the other frame only, which aligns its content; it has a sine position encoding instead.

    Args:
        dim: channels, a multiple of `num_heads`.
        window: frames, rows and columns.
        num_heads: heads.
        mutual: also use mutual attention; `window` then has two frames.
    """

    relative_position_index: Tensor
    position_bias: Tensor  # only of mutual attention

    def __init__(self, dim: int, window: Size, num_heads: int, mutual: bool) -> None:
        super().__init__()
        self.num_heads, self.mutual = num_heads, mutual
        distances = math.prod(2 * side - 1 for side in window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances, num_heads))
        self.register_buffer('relative_position_index', relative_positions(window))
        self.qkv_self = nn.Linear(dim, 3 * dim)
        if mutual:
            self.register_buffer('position_bias', sine_positions(window[1:], dim))
            self.qkv_mut = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(2 * dim if mutual else dim, dim)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """(n windows, pixels, c) -> the same, pixels frame by frame."""
        frames = windows.window[0]
        heads = self._heads(self.qkv_self(x))
        result = _merge_heads(window_attention(*heads, self._bias(x.shape[1]), windows.masks(frames, x)))
        if self.mutual:
            located = x + self.position_bias.repeat(1, frames, 1)
            result = torch.cat([self._mutual(self._heads(self.qkv_mut(located)), windows), result], dim=2)
        return self.proj(result)

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, pixels, 3 c) -> three of (b, heads, pixels, c / heads)."""
        return qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _bias(self, pixels: int) -> Tensor:
        """(heads, pixels, pixels)."""
        index = self.relative_position_index[:pixels, :pixels]
        table = self.relative_position_bias_table.t().contiguous()
        return table.index_select(1, index.flatten()).view(-1, pixels, pixels)

    def _mutual(self, heads: tuple[Tensor, Tensor, Tensor], windows: Windows) -> Tensor:
        """Attention of the second frame to the first, then of the first to the second: (b, pixels, c)."""
        (q1, q2), (k1, k2), (v1, v2) = (part.chunk(2, dim=2) for part in heads)
        masks = windows.masks(1, q1)
        return _merge_heads(torch.cat([window_attention(q2, k1, v1, None, masks),
                                       window_attention(q1, k2, v2, None, masks)], dim=2))


def _merge_heads(x: Tensor) -> Tensor:
    """(b, heads, pixels, d) -> (b, pixels, c)."""
    return x.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """Attention and GEGLU, each with a normalisation before and a shortcut (figure 3 of the paper).

    Args:
        dim: channels.
        window: frames, rows and columns.
        num_heads: heads.
        shifted: shift windows by half a window.
        mutual: see `WindowAttention`.
        mlp_ratio: ratio of hidden channels of the GEGLU to `dim`.
        drop_path: rate of stochastic depth.
    """

    def __init__(self, dim: int, window: Size, num_heads: int, shifted: bool, mutual: bool, mlp_ratio: float,
                 drop_path: float) -> None:
        super().__init__()
        self.window, self.shifted, self.mutual = window, shifted, mutual
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, num_heads, mutual)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GEGLU(dim, int(dim * mlp_ratio), dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> the same."""
        x = x + self.drop_path(self._attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attention(self, x: Tensor) -> Tensor:
        t, height, width = x.shape[1:4]
        frames = self.window[0] if self.mutual else min(self.window[0], t)
        windows = Windows.over((t, height, width), (frames, *self.window[1:]), self.shifted)
        return windows.merge(self.attn(windows.split(x), windows), t)


def relative_positions(window: Size) -> Tensor:
    """Index of the relative position of any two pixels of a window, (pixels, pixels), frame by frame."""
    number = torch.zeros(1, 1, dtype=torch.long)
    for side in window:
        position = torch.arange(side)
        distance = position[:, None] - position + side - 1
        pixels = side * len(number)
        number = (number[:, None, :, None] * (2 * side - 1) + distance[:, None, :]).reshape(pixels, pixels)
    return number


def sine_positions(size: tuple[int, int], dim: int) -> Tensor:
    """Sine position encoding of the row, then of the column: (1, h w, dim)."""
    rows, columns = (2 * math.pi * torch.arange(1, side + 1) / side for side in size)
    exponents = torch.arange(0, dim // 2, 2) / (dim // 2)
    parts = []
    for angles in (rows[:, None].expand(size), columns.expand(size)):
        phases = angles.flatten()[:, None] / TEMPERATURE**exponents
        parts.append(torch.stack([phases.sin(), phases.cos()], dim=2).flatten(1)[:, :dim // 2])
    return torch.cat(parts, dim=1)[None]
