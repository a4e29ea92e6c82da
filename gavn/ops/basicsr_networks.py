"""basicsr's own deformable networks (EDVR, BasicVSR++) on our deformable convolution.

As they come, EDVR waits for the device in every deformable layer to compare a mean offset with 50, and
BasicVSR++ leaves its alignment out where there is no CUDA, so that weights from one machine do not load on
another. Names of parameters stay as they are.
"""

import functools
import inspect
import warnings
from collections.abc import Callable

import torch
from basicsr.archs import arch_util, basicvsrpp_arch, edvr_arch
from torch import Tensor, nn

from gavn.ops.deform_align import DeformableAlignPack, split_offset

PROPAGATIONS = ('backward_1', 'forward_1', 'backward_2', 'forward_2')


class SecondOrderAlignPack(DeformableAlignPack):
    """Flow-guided deformable alignment of two frames at once (BasicVSR++, Chan et al. 2022, eqs. 5 and 6).

    Args:
        in_channels: channels of both frames' features together.
        out_channels: channels of one frame's features and of the result.
        kernel_size: side of the square kernel.
        max_residue_magnitude: largest distance in pixels between an offset and the flow.
        **options: see `DeformableAlignPack`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        max_residue_magnitude: float = 10,
        **options: int | bool | str | None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.max_residue_magnitude = max_residue_magnitude
        last = nn.Conv2d(out_channels, 3 * self.deformable_groups * kernel_size**2, 3, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        layers: list[nn.Module] = []
        for channels in (3 * out_channels + 4, out_channels, out_channels):
            layers += [nn.Conv2d(channels, out_channels, 3, 1, 1), nn.LeakyReLU(0.1)]
        self.conv_offset = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, extra_feat: Tensor, flow_1: Tensor, flow_2: Tensor) -> Tensor:
        """Align two frames' features by their flows and what remains to be found.

        Args:
            x: (n, 2 c, h, w), features of the frames one and two steps away.
            extra_feat: (n, 3 c, h, w), warped features and those of the current frame.
            flow_1: (n, 2, h, w) in pixels, x before y, to the frame one step away.
            flow_2: the same to the frame two steps away.
        """
        residue, mask = split_offset(self.conv_offset(torch.cat([extra_feat, flow_1, flow_2], dim=1)))
        residue = self.max_residue_magnitude * torch.tanh(residue)
        # half of the groups sample either frame; offsets have y before x
        points = residue.shape[1] // 4
        flows = torch.cat([flow.flip(1).repeat(1, points, 1, 1) for flow in (flow_1, flow_2)], dim=1)
        return self.sample(x, residue + flows, torch.sigmoid(mask))


def use_gavn_ops() -> None:
    """Make every EDVR and BasicVSR++ that is built from now on use our layers; BasicVSR++ on any device."""
    arch_util.DCNv2Pack = edvr_arch.DCNv2Pack = DeformableAlignPack
    basicvsrpp_arch.SecondOrderDeformableAlignment = SecondOrderAlignPack
    network = basicvsrpp_arch.BasicVSRPlusPlus
    if not hasattr(network.__init__, '__wrapped__'):
        network.__init__ = _with_alignment(network.__init__)


def _with_alignment(build: Callable[..., None]) -> Callable[..., None]:
    """Add the alignment that BasicVSR++ leaves out without CUDA, and silence its warning about that."""

    signature = inspect.signature(build)

    @functools.wraps(build)
    def wrapped(self: basicvsrpp_arch.BasicVSRPlusPlus, *args: object, **kwargs: object) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Deformable alignment module is not added')
            build(self, *args, **kwargs)
        if not self.is_with_alignment:
            given = signature.bind(self, *args, **kwargs)
            given.apply_defaults()
            _add_alignment(self, given.arguments['max_residue_magnitude'])

    return wrapped


def _add_alignment(network: basicvsrpp_arch.BasicVSRPlusPlus, max_residue_magnitude: float) -> None:
    c = network.mid_channels
    for name in PROPAGATIONS:
        network.deform_align[name] = SecondOrderAlignPack(
            2 * c, c, 3, max_residue_magnitude, padding=1, deformable_groups=16
        )
    network.is_with_alignment = True
