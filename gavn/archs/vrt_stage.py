"""Stages of VRT (Liang et al. 2024): attention at one scale, then alignment by parallel warping.

Features are n t h w c.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gavn.archs.spynet import warp
from gavn.archs.vrt_attention import GEGLU, Block, Size
from gavn.archs.vrt_flow import by_frame, neighbours
from gavn.ops.deform_align import FlowGuidedAlignPack

MUTUAL_FRAMES = 2
MAX_RESIDUE = 10  # largest distance of an offset from the flow, in pixels of the full size


class FoldPixels(nn.Module):
    """Halves the size: blocks of 2 x 2 pixels become channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> (n, t, h / 2, w / 2, 4 c)."""
        n, t, h, w, c = x.shape
        return x.view(n, t, h // 2, 2, w // 2, 2, c).permute(0, 1, 2, 4, 5, 3, 6).flatten(4)


class UnfoldPixels(nn.Module):
    """Doubles the size: channels become blocks of 2 x 2 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> (n, t, 2 h, 2 w, c / 4)."""
        n, t, h, w, c = x.shape
        x = x.view(n, t, h, w, 2, 2, c // 4).permute(0, 1, 2, 5, 3, 4, 6)
        return x.reshape(n, t, 2 * h, 2 * w, c // 4)


class Group(nn.Module):
    """Blocks of attention. Every second block has shifted windows.

    Args:
        dim: channels.
        window: frames, rows and columns.
        num_heads: heads.
        mutual: see `WindowAttention`.
        mlp_ratio: see `Block`.
        drop_path: rate of each block, which determines the number of blocks.
        use_checkpoint: recompute blocks in the backward pass (gradient checkpointing).
    """

    def __init__(self, dim: int, window: Size, num_heads: int, mutual: bool, mlp_ratio: float,
                 drop_path: Sequence[float], use_checkpoint: bool) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        self.blocks = nn.ModuleList(Block(dim, window, num_heads, bool(i % 2), mutual, mlp_ratio, rate)
                                    for i, rate in enumerate(drop_path))

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> the same."""
        for block in self.blocks:
            keep = not (self.use_checkpoint and self.training and torch.is_grad_enabled())
            x = block(x) if keep else checkpoint(block, x, use_reentrant=False)
        return x


class Stage(nn.Module):
    """One of the seven stages of the U-net (figure 2 of the paper).

    Args:
        dim: channels.
        zoom: size of the stage over the size of its input: 1/2, 1 or 2.
        scale: full size over the size of the stage.
        window: frames, rows and columns of self attention; mutual attention has two frames.
        num_heads: heads.
        mutual_depth: number of blocks with mutual attention, which come first.
        deformable_groups: groups of channels with separate offsets.
        drop_path: rate of each block, which determines the number of blocks.
        mlp_ratio, use_checkpoint: see `Group`.
    """

    def __init__(self, dim: int, zoom: float, scale: int, window: Size, num_heads: int, mutual_depth: int,
                 deformable_groups: int, drop_path: Sequence[float], mlp_ratio: float, use_checkpoint: bool
                 ) -> None:
        super().__init__()
        self.reshape = _zoom(dim, zoom)
        mutual, alone = drop_path[:mutual_depth], drop_path[mutual_depth:]
        self.residual_group1 = Group(dim, (MUTUAL_FRAMES, *window[1:]), num_heads, True, mlp_ratio, mutual,
                                     use_checkpoint)
        self.linear1 = nn.Linear(dim, dim)
        self.residual_group2 = Group(dim, window, num_heads, False, mlp_ratio, alone, use_checkpoint)
        self.linear2 = nn.Linear(dim, dim)
        self.pa_deform = FlowGuidedAlignPack(dim, dim, 3, MAX_RESIDUE / scale, padding=1,
                                             deformable_groups=deformable_groups)
        self.pa_fuse = GEGLU(3 * dim, 3 * dim, dim)

    def forward(self, x: Tensor, flow: Tensor) -> Tensor:
        """Computes the features of the stage.

        Args:
            x: (n, t, h', w', dim).
            flow: (n, 2 (t - 1), 2, h, w), see `gavn.archs.vrt_flow`.

        Returns:
            (n, t, h, w, dim).
        """
        x = self.reshape(x)
        x = x + self.linear1(self.residual_group1(x))
        x = x + self.linear2(self.residual_group2(x))
        return self.pa_fuse(torch.cat([x, *self._aligned(x, flow)], dim=4))

    def _aligned(self, x: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Parallel warping: aligns the successor and the predecessor to each frame."""
        if x.shape[1] == 1:
            return torch.zeros_like(x), torch.zeros_like(x)
        own, neighbour = (frame_maps(frames) for frames in neighbours(x))
        flow = flow.flatten(0, 1)
        aligned = self.pa_deform(neighbour, torch.cat([warp(neighbour, flow), own], dim=1), flow)
        return by_frame(aligned.permute(0, 2, 3, 1).unflatten(0, (len(x), -1)))


class LastGroup(nn.Module):
    """Self attention without alignment, a part of the last stage."""

    def __init__(self, dim: int, window: Size, num_heads: int, drop_path: Sequence[float], mlp_ratio: float,
                 use_checkpoint: bool) -> None:
        super().__init__()
        self.residual_group = Group(dim, window, num_heads, False, mlp_ratio, drop_path, use_checkpoint)
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> the same."""
        return x + self.linear(self.residual_group(x))


def _zoom(dim: int, zoom: float) -> nn.Sequential:
    if zoom == 1:
        return nn.Sequential(nn.Identity(), nn.LayerNorm(dim))
    fold, channels = (FoldPixels(), 4 * dim) if zoom < 1 else (UnfoldPixels(), dim // 4)
    return nn.Sequential(fold, nn.LayerNorm(channels), nn.Linear(channels, dim))


def frame_maps(x: Tensor) -> Tensor:
    """(n, t, h, w, c) -> (n t, c, h, w), a view."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)
