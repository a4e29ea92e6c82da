"""BasicVSR++ (Chan et al., CVPR 2022): basicsr's class for frames and clips of any size."""

import torch.nn.functional as F
from basicsr.archs import arch_util, basicvsrpp_arch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from gavn.archs.initialisation import (
    LAST,
    Init,
    average_parts,
    check_init,
    ignore_brightness,
    variance_preserving_init,
)
from gavn.archs.padding import pad_to_multiple
from gavn.archs.spynet import SpyNet, init_spynet
from gavn.basicsr_patches import archs_basicvsrpp_arch  # noqa: F401  (importing applies it)
from gavn.ops.deform_align import FlowGuidedAlignPack, use_backend
from gavn.ops.deform_conv import Backend
from gavn.registry import replaces_in
from gavn.runtime.windows import Layout

FLOW_SIDE = 64  # smallest side that basicsr accepts for its flow network
MOST_PADDED = 1024  # limit of `min_side`
REDUCTION = 4  # size of frames over features if the input has the full resolution


@replaces_in(ARCH_REGISTRY)
class BasicVSRPlusPlus(basicvsrpp_arch.BasicVSRPlusPlus):
    """BasicVSR++ with the weights of basicsr's, and the same results where that one runs.

    The alignment also works without CUDA (`basicsr_patches.archs_basicvsrpp_arch`). Sides that basicsr
    refuses are padded. Features stay on the device of the frames. The window (`layout`) bounds their memory,
    so there is no `cpu_cache_length`.

    Args:
        mid_channels: channels, a multiple of 8.
        num_blocks: residual blocks in each of the four propagation branches.
        max_residue_magnitude: largest distance in pixels between an offset and the flow.
        is_low_res_input: upscale four times. Otherwise restore at the same size.
        spynet_path: pretrained weights of the flow network. None: zero flow initially.
        min_side: shorter sides are padded to this number of pixels. None: basicsr's minimum, 64, or 256 for
            restoring at the same size. Smaller values work too (see `SpyNet`) and cost less: a crop of 64
            pixels costs a sixteenth of one that is padded to 256.
        window: frames of a window over a long clip.
        context: frames at either end of a window whose results are dropped, because they lack propagation.
        init: `scaled` preserves the variance of signals and gradients. `ordinary` is basicsr's.
        dcn_backend: see `gavn.ops.modulated_deform_conv2d`.

    Raises:
        ValueError: numbers do not fit together, or `init` is not a valid choice.
        CheckpointError: `spynet_path` has no weights of the flow network.
    """

    def __init__(
        self,
        mid_channels: int = 64,
        num_blocks: int = 7,
        max_residue_magnitude: float = 10,
        is_low_res_input: bool = True,
        spynet_path: str | None = None,
        min_side: int | None = None,
        window: int = 15,
        context: int = 2,
        init: Init = 'scaled',
        dcn_backend: Backend | None = None,
    ) -> None:
        check_init(init)
        if mid_channels % 8 or window <= 2 * context:
            raise ValueError(
                f'need mid_channels divisible by 8 and window > 2 context, got mid_channels {mid_channels}, '
                f'window {window}, context {context}'
            )
        if min_side is not None and not 1 <= min_side <= MOST_PADDED:
            raise ValueError(f'min_side is {min_side}; it must be from 1 to {MOST_PADDED}')
        super().__init__(mid_channels, num_blocks, max_residue_magnitude, is_low_res_input)
        use_backend(self, dcn_backend)
        self.spynet = SpyNet()
        init_spynet(self.spynet, spynet_path)
        self.layout = Layout(window - 2 * context, context, 'clip')
        self.scale, self.reduction = (REDUCTION, 1) if is_low_res_input else (1, REDUCTION)
        self.min_side = self.reduction * FLOW_SIDE if min_side is None else min_side
        self.cpu_cache = False  # read by basicsr's methods
        if init == 'scaled':
            variance_preserving_init(self, _INITIALISERS, kept=(arch_util.ResidualBlockNoBN,))

    def forward(self, lq: Tensor) -> Tensor:
        """Restores every frame.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t >= 1. Any size.

        Returns:
            (n, t, 3, h, w), or (n, t, 3, 4 h, 4 w) with `is_low_res_input`; RGB, not clamped.
        """
        height, width = lq.shape[-2:]
        restored = self._restore(pad_to_multiple(lq, self.reduction, self.min_side))
        return restored[..., : self.scale * height, : self.scale * width]

    def _restore(self, frames: Tensor) -> Tensor:
        forward, backward = self.compute_flow(self._reduced(frames))
        features = self.feat_extract(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        feats = {'spatial': list(features.unbind(1))}
        for order in (1, 2):
            for direction, flows in (('backward', backward), ('forward', forward)):
                branch = f'{direction}_{order}'
                feats[branch] = []
                feats = self.propagate(feats, flows, branch)
        return self.upsample(frames, feats)

    def _reduced(self, frames: Tensor) -> Tensor:
        if self.is_low_res_input:
            return frames
        reduced = F.interpolate(frames.flatten(0, 1), scale_factor=1 / REDUCTION, mode='bicubic')
        return reduced.unflatten(0, frames.shape[:2])

    def compute_flow(self, lqs: Tensor) -> tuple[Tensor, Tensor]:
        """Computes flow between neighbours. A clip of one frame has none.

        Args:
            lqs: (n, t, 3, h, w) at the size of the features.

        Returns:
            Flow to the previous and to the next frame, (n, t - 1, 2, h, w) in pixels, x before y.
        """
        if lqs.shape[1] > 1:
            return super().compute_flow(lqs)
        none = lqs.new_zeros(len(lqs), 0, 2, *lqs.shape[-2:])
        return none, none


def _init_network(network: BasicVSRPlusPlus) -> None:
    """The first layer ignores brightness, the last layer is small."""
    first = network.feat_extract.main if network.is_low_res_input else network.feat_extract
    ignore_brightness(first[0])
    network.conv_last.weight.data *= LAST


_INITIALISERS = {
    BasicVSRPlusPlus: _init_network,
    # masks are initially one half, so half of the features passes; otherwise they would grow with the clip
    FlowGuidedAlignPack: lambda module: average_parts(module, parts=2),
}
