"""Motion between neighbouring frames at several scales, and pictures moved by it: a part of VRT.

Flow is (k, 2, h, w) in pixels of its own scale, x before y: a pixel p of one frame is found at p + flow(p) in
the other. The pairs of a clip of t frames always stand in one order: first every frame and its successor,
then every frame and its predecessor, 2 (t - 1) in all (`neighbours`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gavn.archs.spynet import FlowNetwork, normalised, points, warp
from gavn.ops.deform_conv import without_autocast

COARSEST = 32  # the flow network halves its pictures five times
SCALES = 4  # of the flow that is kept: 1, 1/2, 1/4 and 1/8 of the frame's size


class FlowPyramid(FlowNetwork):
    """SpyNet (Ranjan and Black, CVPR 2017) that keeps the flow of its finer scales.

    Parameters are those of basicsr's; `gavn.archs.spynet.start_spynet` gives them their first values.
    """

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Flow between all neighbours of a clip, in float32 inside autocast too.

        Args:
            frames: (n, t, 3, h, w), RGB in [0, 1]; sides are multiples of 32.

        Returns per scale, finest first, (n, 2 (t - 1), 2, h / scale, w / scale).
        """
        n, t, _, height, width = frames.shape
        if t == 1:
            return [frames.new_zeros(n, 0, 2, height >> i, width >> i) for i in range(SCALES)]
        with without_autocast(frames.device.type):
            pictures = [self.preprocess(frames.flatten(0, 1).float())]
            for _ in range(len(self.basic_module) - 1):
                pictures.insert(0, F.avg_pool2d(pictures[0], 2))
            flows = self._refine([picture.unflatten(0, (n, t)) for picture in pictures])
        return [flow.unflatten(0, (n, 2 * (t - 1))).to(frames.dtype) for flow in flows[::-1][:SCALES]]

    def _refine(self, pictures: list[Tensor]) -> list[Tensor]:
        """From coarse to fine, each level adds what the flow of the coarser one leaves over."""
        flows: list[Tensor] = []
        for level, picture in zip(self.basic_module, pictures, strict=True):
            here, there = (frames.flatten(0, 1) for frames in neighbours(picture))
            if flows:
                start = 2 * F.interpolate(flows[-1], scale_factor=2, mode='bilinear', align_corners=True)
            else:
                start = here.new_zeros(len(here), 2, *here.shape[2:])
            moved = warp(there, start, padding_mode='border')
            flows.append(start + level(torch.cat([here, moved, start], dim=1)))
        return flows


def neighbours(frames: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs (n, t, ...) -> a frame and its neighbour, both (n, 2 (t - 1), ...), successors first."""
    first, second = frames[:, :-1], frames[:, 1:]
    return torch.cat([first, second], dim=1), torch.cat([second, first], dim=1)


def beside(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """What was made of pairs (n, 2 (t - 1), ...) in the order of frames: of successors and of predecessors.

    Returns two of (n, t, ...): zeros for the last frame, which has no successor, and for the first.
    """
    of_next, of_previous = pairs.tensor_split(2, dim=1)
    none = pairs.new_zeros(len(pairs), 1, *pairs.shape[2:])
    return torch.cat([of_next, none], dim=1), torch.cat([none, of_previous], dim=1)


def warp_four_nearest(x: Tensor, flow: Tensor) -> Tensor:
    """The four pixels around where flow leads, instead of their mixture: nothing is blurred.

    Args:
        x: (k, c, h, w); pixels outside are zero.
        flow: (k, 2, h, w). No gradient flows to it.

    Returns (k, 4 c, h, w).
    """
    k, c, height, width = x.shape
    position = points(flow.detach())
    low, high = position.floor(), position.ceil()
    corners = [torch.stack([a, b], dim=-1)
               for a in (low[..., 0], high[..., 0]) for b in (low[..., 1], high[..., 1])]
    grid = normalised(torch.cat(corners, dim=1), flow)
    sampled = F.grid_sample(x, grid, 'nearest', 'zeros', align_corners=True)
    return sampled.unflatten(2, (4, height)).transpose(1, 2).reshape(k, 4 * c, height, width)
