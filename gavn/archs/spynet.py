"""SpyNet, the flow network of recurrent networks (Ranjan and Black, CVPR 2017), for pictures of any size."""

import torch
import torch.nn.functional as F
from basicsr.archs.arch_util import flow_warp
from basicsr.archs.spynet_arch import SpyNet
from torch import Tensor, nn

from gavn.checkpoints.checkpoint import PathLike, load_state, load_strict
from gavn.ops.deform_conv import without_autocast


class SizedSpyNet(SpyNet):
    """Basicsr's SpyNet, with its parameters and results; small pictures go through its finer levels alone.

    Each of its six levels halves the picture once more, and the coarsest needs two pixels a side, so stock
    fails below 33 pixels. A level that is left out is not trained either: in several processes, training on
    such small pictures needs `find_unused_parameters: true`.
    """

    def forward(self, ref: Tensor, supp: Tensor) -> Tensor:
        """Flow from one picture to another, in float32 inside autocast too.

        Args:
            ref: (n, 3, h, w), RGB in [0, 1].
            supp: the same size.

        Returns (n, 2, h, w) in pixels, x before y: what is at p in `ref` is at p + flow(p) in `supp`.
        """
        levels = max(1, (min(ref.shape[-2:]) - 1).bit_length())
        with without_autocast(ref.device.type):
            if levels >= len(self.basic_module):
                return super().forward(ref.float(), supp.float())
            return self._fine_levels(ref.float(), supp.float(), levels)

    def _fine_levels(self, ref: Tensor, supp: Tensor, levels: int) -> Tensor:
        height, width = ref.shape[-2:]
        block = 2 ** (levels - 1)
        size = -(-height // block) * block, -(-width // block) * block
        flow = None
        for level, a, b in zip(self.basic_module[-levels:], self._pyramid(ref, size, levels),
                               self._pyramid(supp, size, levels), strict=True):
            if flow is None:
                flow = a.new_zeros(len(a), 2, *a.shape[-2:])
            else:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode='bilinear', align_corners=True)
            moved = flow_warp(b, flow.permute(0, 2, 3, 1), padding_mode='border')
            flow = flow + level(torch.cat([a, moved, flow], dim=1))
        flow = F.interpolate(flow, (height, width), mode='bilinear', align_corners=False)
        return flow * flow.new_tensor([width / size[1], height / size[0]])[:, None, None]

    def _pyramid(self, picture: Tensor, size: tuple[int, int], levels: int) -> list[Tensor]:
        """The picture at `size` and halved again and again, coarsest first."""
        pictures = [self.preprocess(F.interpolate(picture, size, mode='bilinear', align_corners=False))]
        for _ in range(levels - 1):
            pictures.insert(0, F.avg_pool2d(pictures[0], 2))
        return pictures


def start_spynet(network: SpyNet, weights: PathLike | None) -> None:
    """Load published weights, or let the network see no motion at first.

    Random weights would displace everything by random amounts. Published files lack what pictures are
    normalised with, which is constant; checkpoints of networks have it.

    Raises CheckpointError if `weights` are absent, unreadable or not those of SpyNet.
    """
    if weights is not None:
        load_strict(network, {**dict(network.named_buffers()), **load_state(weights)}, str(weights))
        return
    for level in network.basic_module:
        last = level.basic_module[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
