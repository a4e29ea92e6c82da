"""EDVR (Wang et al., CVPRW 2019) as it comes with basicsr, for frames of any size."""

from basicsr.archs import edvr_arch
from torch import Tensor

from gavn.archs.padding import pad_to_multiple
from gavn.archs.replacing import in_place_of_stock
from gavn.utils.windows import Layout


@in_place_of_stock
class EDVR(edvr_arch.EDVR):
    """Basicsr's EDVR with the same arguments, weights and results; sides that it refuses are padded.

    The paper's two sizes for restoring at the same size (`hr_in` and `with_predeblur`): M is `num_feat: 64,
    num_reconstruct_block: 10` (4,042,851 parameters), L is 128 and 40 (23,602,019).
    """

    @property
    def layout(self) -> Layout:
        """One frame restored from those around it. Raises ValueError where that is not the middle one."""
        around = self.center_frame_idx
        frames = getattr(self.fusion, 'feat_fusion', self.fusion).in_channels // self.conv_l2_1.in_channels
        if frames != 2 * around + 1:
            raise ValueError(f'center_frame_idx: {around} is not the middle of num_frame: {frames}')
        return Layout(1, around, 'centre')

    def forward(self, lq: Tensor) -> Tensor:
        """Restore the middle frame.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t = `num_frame`. Any size.

        Returns (n, 3, h, w) with `hr_in`, else (n, 3, 4 h, 4 w); RGB, not clamped.
        """
        height, width = lq.shape[-2:]
        multiple, scale = (16, 1) if self.hr_in else (4, 4)
        restored = super().forward(pad_to_multiple(lq, multiple).contiguous())
        return restored[..., : scale * height, : scale * width]
