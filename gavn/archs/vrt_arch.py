"""VRT, the video restoration transformer (Liang et al., IEEE TIP 2024).

Written from the paper and the published names and sizes of its parameters, without the authors' code, whose
licence is CC-BY-NC.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.padding import pad_to_multiple
from gavn.archs.spynet import init_spynet
from gavn.archs.vrt_flow import COARSEST, FlowPyramid, by_frame, neighbours, warp_four_nearest
from gavn.archs.vrt_initialisation import variance_preserving_init
from gavn.archs.vrt_stage import LastGroup, Stage, frame_maps
from gavn.checkpoints.checkpoint import PathLike
from gavn.ops.deform_align import use_backend
from gavn.ops.deform_conv import Backend
from gavn.registry import ARCH_REGISTRY
from gavn.runtime.windows import Layout

SCALES = (1, 2, 4, 8, 4, 2, 1)  # full size over the size of stages 1 to 7
UPSCALES = (1, 2, 4, 8)
COLOUR_CHANNELS = 3
UPSAMPLE_DIM = 64


class FrameConv(nn.Conv3d):
    """Convolution of single frames. Its weight has a time axis of length 1, as in the published weights."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(k, cin, h, w) -> (k, cout, h, w)."""
        return F.conv2d(x, self.weight.squeeze(2), self.bias, padding=1)


class Upsample(nn.ModuleDict):
    """Pixel shuffle to twice the size, log2(scale) times, and a convolution.

    The published names of the convolutions are 0, 5, 10 ...
    """

    def __init__(self, dim: int, scale: int) -> None:
        doublings = int(math.log2(scale))
        super().__init__({str(5 * i): FrameConv(dim, 4 * dim if i < doublings else dim)
                          for i in range(doublings + 1)})

    def forward(self, x: Tensor) -> Tensor:
        """(k, c, h, w) -> (k, c, s h, s w)."""
        *doublings, last = self.values()
        for conv in doublings:
            x = F.leaky_relu(F.pixel_shuffle(conv(x), 2), 0.1)
        return last(x)


@ARCH_REGISTRY.register()
class VRT(nn.Module):
    """Restores all frames of a window by attention and flow-guided alignment at four scales.

    Parameters have the names and shapes of the authors' released weights. For restoring at the same size, the
    outputs equal the published network's; for upscaling, only names and sizes were compared.

    Args:
        upscale: 1 restores at the same size; 2, 4 or 8 upscale.
        img_size: frames of a window, then rows and columns of training crops (unused).
        window_size: frames, rows and columns of the windows of self attention.
        depths: blocks of stages 1 to 7, then of each group of the last stage.
        indep_reconsts: indices in `depths` of the groups that process single frames.
        embed_dims: channels, as `depths`; the same for stages 1 to 7, and for the groups of the last stage.
        num_heads: heads of attention, as `depths`.
        mul_attn_ratio: share of the blocks of stages 1 to 7 that have mutual attention.
        mlp_ratio: ratio of hidden channels to channels of a block.
        drop_path: rate of stochastic depth of the last block; it grows linearly from 0.
        pa_frames: frames of parallel warping; only 2 is implemented.
        deformable_groups: groups of channels with separate offsets.
        spynet_path: pretrained weights of the flow network. None: zero flow initially.
        use_checkpoint: recompute blocks in the backward pass (gradient checkpointing): less memory, more
            time, the same gradients.
        context: frames at either end of a window that are dropped if a clip is longer than the window.
        dcn_backend: see `gavn.ops.modulated_deform_conv2d`.

    Raises:
        ValueError: numbers do not fit together.
        CheckpointError: `spynet_path` has no weights of the flow network.
    """

    def __init__(
        self,
        upscale: int = 1,
        img_size: Sequence[int] = (6, 192, 192), window_size: Sequence[int] = (6, 8, 8),
        depths: Sequence[int] = (8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4),
        indep_reconsts: Sequence[int] = (9, 10),
        embed_dims: Sequence[int] = (96, 96, 96, 96, 96, 96, 96, 120, 120, 120, 120),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6),
        mul_attn_ratio: float = 0.75, mlp_ratio: float = 2, drop_path: float = 0.2,
        pa_frames: int = 2, deformable_groups: int = 16,
        spynet_path: PathLike | None = None, use_checkpoint: bool = False,
        context: int = 1, dcn_backend: Backend | None = None,
    ) -> None:
        super().__init__()
        _check(upscale, depths, embed_dims, num_heads, pa_frames, deformable_groups, img_size[0], context)
        (frames, *sides), dim, last_dim = window_size, embed_dims[0], embed_dims[-1]
        window = (frames, sides[0], sides[1])
        self.upscale = upscale
        self.layout = Layout(img_size[0] - 2 * context, context, 'clip')
        self.multiple = math.lcm(COARSEST, *(max(SCALES) * side for side in window[1:]))
        rates = _drop_path_rates(drop_path, depths)
        self.spynet = FlowPyramid()
        self.conv_first = FrameConv(COLOUR_CHANNELS * (1 + 2 * 4), dim)
        (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5, self.stage6, self.stage7) = (
            Stage(dim, previous / scale, scale, window, num_heads[i], int(depths[i] * mul_attn_ratio),
                  deformable_groups, rates[i], mlp_ratio, use_checkpoint)
            for i, (previous, scale) in enumerate(zip(SCALES[:1] + SCALES, SCALES, strict=False)))
        groups = [LastGroup(last_dim, (1, *window[1:]) if i in indep_reconsts else window, num_heads[i],
                            rates[i], mlp_ratio, use_checkpoint) for i in range(len(SCALES), len(depths))]
        entrance = nn.Sequential(nn.Identity(), nn.LayerNorm(dim), nn.Linear(dim, last_dim))
        self.stage8 = nn.Sequential(entrance, *groups)
        self.norm = nn.LayerNorm(last_dim)
        self.conv_after_body = nn.Linear(last_dim, dim)
        if upscale > 1:
            self.conv_before_upsample = nn.Sequential(FrameConv(dim, UPSAMPLE_DIM), nn.LeakyReLU(0.01))
            self.upsample = Upsample(UPSAMPLE_DIM, upscale)
        self.conv_last = FrameConv(UPSAMPLE_DIM if upscale > 1 else dim, COLOUR_CHANNELS)
        use_backend(self, dcn_backend)
        variance_preserving_init(self)
        init_spynet(self.spynet, spynet_path)

    def forward(self, lq: Tensor) -> Tensor:
        """Restores every frame.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t >= 1. Any size: sides are padded to multiples of 64 (of 8
                windows and of 32) and the result is cropped.

        Returns:
            (n, t, 3, s h, s w) with s = `upscale`; RGB, not clamped.
        """
        height, width = (self.upscale * side for side in lq.shape[-2:])
        frames = pad_to_multiple(lq, self.multiple)
        flows = self.spynet(frames)
        first = self._first(frames, flows[0])
        residual = self._residual(first + self._body(first, flows))
        return (self._upsampled(frames) + residual)[..., :height, :width]

    def _first(self, frames: Tensor, flow: Tensor) -> Tensor:
        """Features n t h w c of each frame and its warped neighbours."""
        _, neighbour = neighbours(frames)
        near = warp_four_nearest(neighbour.flatten(0, 1), flow.flatten(0, 1))
        near = near.unflatten(0, neighbour.shape[:2])
        features = self.conv_first(torch.cat([frames, *by_frame(near)], dim=2).flatten(0, 1))
        return features.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])

    def _body(self, x: Tensor, flows: list[Tensor]) -> Tensor:
        """Stages 1 to 7, a U-net, and stage 8 at the full size; n t h w c."""
        x1 = self.stage1(x, flows[0])
        x2 = self.stage2(x1, flows[1])
        x3 = self.stage3(x2, flows[2])
        x4 = self.stage4(x3, flows[3])
        x = self.stage5(x4, flows[2])
        x = self.stage6(x + x3, flows[1])
        x = self.stage7(x + x2, flows[0])
        return self.conv_after_body(self.norm(self.stage8(x + x1)))

    def _residual(self, x: Tensor) -> Tensor:
        """(n, t, h, w, c) -> residual of the frames, (n, t, 3, s h, s w)."""
        maps = frame_maps(x)
        if self.upscale > 1:
            maps = self.upsample(self.conv_before_upsample(maps))
        return self.conv_last(maps).unflatten(0, x.shape[:2])

    def _upsampled(self, frames: Tensor) -> Tensor:
        if self.upscale == 1:
            return frames
        larger = F.interpolate(frames.flatten(0, 1), scale_factor=self.upscale, mode='bilinear')
        return larger.unflatten(0, frames.shape[:2])


def _drop_path_rates(highest: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates of each stage's blocks, from 0 for the first block to `highest` for the last."""
    steps = max(sum(depths) - 1, 1)
    rates = [highest * block / steps for block in range(sum(depths))]
    ends = list(accumulate(depths))
    return [rates[end - depth:end] for end, depth in zip(ends, depths, strict=True)]


def _check(upscale: int, depths: Sequence[int], embed_dims: Sequence[int], num_heads: Sequence[int],
           pa_frames: int, deformable_groups: int, frames: int, context: int) -> None:
    """Raises ValueError for numbers that do not fit together."""
    stages, counts = len(SCALES), (len(depths), len(embed_dims), len(num_heads))
    if len(set(counts)) > 1 or counts[0] <= stages:
        raise ValueError('depths, embed_dims and num_heads need one entry for each of the 7 stages and of '
                         f'the groups after them, got {", ".join(map(str, counts))}')
    if len(set(embed_dims[:stages])) > 1 or len(set(embed_dims[stages:])) > 1:
        raise ValueError('embed_dims: stages 1 to 7 need the same number of channels, and so do the groups '
                         f'after them, got {list(embed_dims)}')
    for dim, heads in zip(embed_dims, num_heads, strict=True):
        if dim % heads:
            raise ValueError(f'embed_dims: {dim} channels are not divisible by {heads} heads')
    if embed_dims[0] % 4 or embed_dims[0] % deformable_groups:
        raise ValueError(f'embed_dims: {embed_dims[0]} must be divisible by 4 and by deformable_groups '
                         f'{deformable_groups}')
    if upscale not in UPSCALES or pa_frames != 2:
        raise ValueError(f'upscale must be one of {", ".join(map(str, UPSCALES))} and pa_frames 2, '
                         f'got {upscale} and {pa_frames}')
    if frames <= 2 * context:
        raise ValueError(f'img_size: a window of {frames} frames needs more than 2 x context: {context}')
