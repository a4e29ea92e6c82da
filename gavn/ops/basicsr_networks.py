"""basicsr's own deformable networks (EDVR, BasicVSR++) on our deformable convolution.

As they come, EDVR waits for the device in every deformable layer to compare a mean offset with 50, and
BasicVSR++ leaves its alignment out where there is no CUDA, so that weights from one machine do not load on
another. Names of parameters stay as they are.
"""

import functools
import inspect
import warnings
from collections.abc import Callable

from basicsr.archs import arch_util, basicvsrpp_arch, edvr_arch

from gavn.ops.deform_align import DeformableAlignPack, FlowGuidedAlignPack

PROPAGATIONS = ('backward_1', 'forward_1', 'backward_2', 'forward_2')


class SecondOrderAlignPack(FlowGuidedAlignPack):
    """Flow-guided deformable alignment of the frames one and two steps away (eqs. 5 and 6 of BasicVSR++)."""


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
