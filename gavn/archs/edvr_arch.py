"""EDVR (Wang et al., CVPRW 2019): basicsr's class for frames of any size, with a better initialisation."""

from basicsr.archs import arch_util, edvr_arch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from gavn.archs.blocks import SMALL
from gavn.archs.initialisation import (
    GATE,
    LAST,
    Init,
    average_parts,
    check_init,
    ignore_brightness,
    init_align,
    init_dot_embedding,
    init_linear,
    variance_preserving_init,
)
from gavn.archs.padding import pad_to_multiple
from gavn.basicsr_patches import archs_arch_util  # noqa: F401  (importing applies it)
from gavn.ops.deform_align import use_backend
from gavn.ops.deform_conv import Backend
from gavn.registry import replaces_in
from gavn.runtime.windows import Layout


@replaces_in(ARCH_REGISTRY)
class EDVR(edvr_arch.EDVR):
    """EDVR with the weights and results of basicsr's. Sides that basicsr refuses are padded.

    The paper's two sizes for restoring at the same size (`hr_in` and `with_predeblur`): M is `num_feat: 64,
    num_reconstruct_block: 10` (4,042,851 parameters), L is 128 and 40 (23,602,019).

    Args:
        num_in_ch: channels of the frames.
        num_out_ch: ignored, as in basicsr; the result has three channels.
        num_feat: channels, a multiple of `deformable_groups`.
        num_frame: frames of a window.
        deformable_groups: groups of channels with separate offsets.
        num_extract_block: residual blocks before the alignment.
        num_reconstruct_block: residual blocks after the fusion.
        center_frame_idx: index of the restored frame. None: the middle one.
        hr_in: restore at the same size. Otherwise upscale four times.
        with_predeblur: build the pre-deblur module.
        with_tsa: fuse by temporal and spatial attention. Otherwise by a convolution.
        init: `scaled` preserves the variance of signals and gradients. `ordinary` is basicsr's, which needs
            some hundreds of steps before the loss falls.
        dcn_backend: see `gavn.ops.modulated_deform_conv2d`.

    Raises:
        ValueError: `init` is not among its choices.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_frame: int = 5,
        deformable_groups: int = 8,
        num_extract_block: int = 5,
        num_reconstruct_block: int = 10,
        center_frame_idx: int | None = None,
        hr_in: bool = False,
        with_predeblur: bool = False,
        with_tsa: bool = True,
        init: Init = 'scaled',
        dcn_backend: Backend | None = None,
    ) -> None:
        check_init(init)
        super().__init__(
            num_in_ch, num_out_ch, num_feat, num_frame, deformable_groups, num_extract_block,
            num_reconstruct_block, center_frame_idx, hr_in, with_predeblur, with_tsa,
        )  # fmt: skip
        use_backend(self, dcn_backend)
        self.num_frame = num_frame
        self.pcd_align.register_forward_hook(_in_planes)
        if init == 'scaled':
            variance_preserving_init(self, _INITIALISERS, kept=(arch_util.ResidualBlockNoBN,))

    @property
    def layout(self) -> Layout:
        """Window layout: one output in the middle. Raises ValueError if the output is another frame."""
        around = self.center_frame_idx
        if self.num_frame != 2 * around + 1:
            raise ValueError(f'center_frame_idx: {around} is not the middle of num_frame: {self.num_frame}')
        return Layout(1, around, 'centre')

    def forward(self, lq: Tensor) -> Tensor:
        """Restores one frame.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t = `num_frame`. Any size.

        Returns:
            (n, 3, h, w) with `hr_in`, else (n, 3, 4 h, 4 w); RGB, not clamped.
        """
        height, width = lq.shape[-2:]
        multiple, scale = (16, 1) if self.hr_in else (4, 4)
        restored = super().forward(pad_to_multiple(lq, multiple).contiguous())
        return restored[..., : scale * height, : scale * width]


def _in_planes(module: nn.Module, given: tuple, aligned: Tensor) -> Tensor:
    """Makes features contiguous, as basicsr's fusion requires. Some operators return channels-last."""
    return aligned.contiguous()


def _init_network(network: EDVR) -> None:
    """First layers ignore brightness, fusion without attention averages, the last layer is small."""
    first = network.predeblur if network.with_predeblur else network
    ignore_brightness(first.conv_first)
    if network.with_predeblur:
        init_linear(network.conv_1x1)
    if not network.with_tsa:
        average_parts(network.fusion, network.num_frame)
    network.conv_last.weight.data *= LAST


def _init_fusion(fusion: edvr_arch.TSAFusion) -> None:
    """Weighted features are averaged; spatial attention passes them on and adds little."""
    init_dot_embedding(fusion.temporal_attn1)
    init_dot_embedding(fusion.temporal_attn2)
    parts = fusion.feat_fusion.in_channels // fusion.feat_fusion.out_channels
    average_parts(fusion.feat_fusion, parts)
    fusion.feat_fusion.weight.data /= GATE
    for small in (fusion.spatial_attn5, fusion.spatial_attn_add2):
        small.weight.data *= SMALL


_INITIALISERS = {
    EDVR: _init_network,
    edvr_arch.PCDAlignment: init_align,
    edvr_arch.TSAFusion: _init_fusion,
}
