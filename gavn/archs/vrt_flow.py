"""Optical flow between neighbouring frames at several scales, and warping: a part of VRT.

Flow is (k, 2, h, w) in pixels of its own scale, x before y. Pixel p of one frame is at p + flow(p) in the
other. A clip of t frames has 2 (t - 1) pairs in this order: first every frame and its successor, then every
frame and its predecessor (`neighbours`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gavn.archs.spynet import FlowNetwork, sampling_grid, target_positions
from gavn.ops.deform_conv import without_autocast

COARSEST = 32  # the flow network halves its images five times
SCALES = 4  # flow at 1, 1/2, 1/4 and 1/8 of the frame's size is returned


class FlowPyramid(FlowNetwork):
    """SpyNet (Ranjan and Black, CVPR 2017) that returns the flow of its finer scales.

    Parameters are those of basicsr's; `gavn.archs.spynet.init_spynet` initialises them.
    """

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Computes flow between all neighbours of a clip, in float32 also inside autocast.

        Args:
            frames: (n, t, 3, h, w), RGB in [0, 1]; sides are multiples of 32.

        Returns:
            (n, 2 (t - 1), 2, h / scale, w / scale) for each scale, finest first.
        """
        n, t, _, height, width = frames.shape
        if t == 1:
            return [frames.new_zeros(n, 0, 2, height >> i, width >> i) for i in range(SCALES)]
        with without_autocast(frames.device.type):
            pairs = [[part.flatten(0, 1) for part in neighbours(image.unflatten(0, (n, t)))]
                     for image in self.pyramid(frames.flatten(0, 1).float())]
            flows = self.refine(*zip(*pairs, strict=True))
        return [flow.unflatten(0, (n, 2 * (t - 1))).to(frames.dtype) for flow in flows[::-1][:SCALES]]


def neighbours(frames: Tensor) -> tuple[Tensor, Tensor]:
    """(n, t, ...) -> frames and neighbours of all pairs, (n, 2 (t - 1), ...) each; successors first."""
    first, second = frames[:, :-1], frames[:, 1:]
    return torch.cat([first, second], dim=1), torch.cat([second, first], dim=1)


def by_frame(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts results of pairs (n, 2 (t - 1), ...) by frame.

    Returns:
        Results of successors and of predecessors, (n, t, ...) each, with zeros for the last and the first
        frame.
    """
    of_next, of_previous = pairs.tensor_split(2, dim=1)
    none = pairs.new_zeros(len(pairs), 1, *pairs.shape[2:])
    return torch.cat([of_next, none], dim=1), torch.cat([none, of_previous], dim=1)


def warp_four_nearest(x: Tensor, flow: Tensor) -> Tensor:
    """Samples the four pixels around each target position, without the blur of interpolation.

    Args:
        x: (k, c, h, w); pixels outside are zero.
        flow: (k, 2, h, w). No gradient flows to it.

    Returns:
        (k, 4 c, h, w).
    """
    k, c, height, width = x.shape
    positions = target_positions(flow.detach())
    low, high = positions.floor(), positions.ceil()
    corners = [torch.stack([a, b], dim=-1)
               for a in (low[..., 0], high[..., 0]) for b in (low[..., 1], high[..., 1])]
    grid = sampling_grid(torch.cat(corners, dim=1), flow)
    sampled = F.grid_sample(x, grid, 'nearest', 'zeros', align_corners=True)
    return sampled.unflatten(2, (4, height)).transpose(1, 2).reshape(k, 4 * c, height, width)
