"""Patches of basicsr's deformable networks EDVR and BasicVSR++, which then use gavn's layers.

Defects: EDVR synchronises with the device in every deformable layer to compare the mean offset with 50.
BasicVSR++ omits its alignment without CUDA, so that weights of one machine do not load on another. Parameter
names do not change.
"""

import functools
import inspect
import warnings
from collections.abc import Callable

from basicsr.archs import arch_util, basicvsrpp_arch, edvr_arch

from gavn.ops.deform_align import DeformableAlignPack, FlowGuidedAlignPack

PROPAGATIONS = ('backward_1', 'forward_1', 'backward_2', 'forward_2')


class SecondOrderAlignPack(FlowGuidedAlignPack):
    """Flow-guided deformable alignment of frames at distances one and two (eqs. 5 and 6 of BasicVSR++)."""


def use_gavn_ops() -> None:
    """Makes all EDVR and BasicVSR++ networks built afterwards use gavn's layers."""
    arch_util.DCNv2Pack = edvr_arch.DCNv2Pack = DeformableAlignPack
    basicvsrpp_arch.SecondOrderDeformableAlignment = SecondOrderAlignPack
    network = basicvsrpp_arch.BasicVSRPlusPlus
    if not hasattr(network.__init__, '__wrapped__'):
        network.__init__ = _with_alignment(network.__init__)


def _with_alignment(build: Callable[..., None]) -> Callable[..., None]:
    """Adds the alignment that BasicVSR++ omits without CUDA, and suppresses its warning."""

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
