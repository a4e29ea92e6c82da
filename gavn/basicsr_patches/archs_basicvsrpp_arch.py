"""Patch of basicsr.archs.basicvsrpp_arch: gavn's layers, on any device. Parameter names do not change."""
import functools
import inspect
import warnings

from basicsr.archs import basicvsrpp_arch
from basicsr.archs.basicvsrpp_arch import BasicVSRPlusPlus

from gavn.basicsr_patches.replace import replaces
from gavn.ops.deform_align import FlowGuidedAlignPack

PROPAGATIONS = ('backward_1', 'forward_1', 'backward_2', 'forward_2')
basicvsrpp_arch.SecondOrderDeformableAlignment = FlowGuidedAlignPack
_original = BasicVSRPlusPlus.__init__


@replaces(BasicVSRPlusPlus)
@functools.wraps(_original)
def __init__(self: BasicVSRPlusPlus, *args: object, **kwargs: object) -> None:  # noqa: N807
    """Defect: without CUDA the network has no alignment, so that weights of one machine fit no other."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Deformable alignment module is not added')
        _original(self, *args, **kwargs)
    if not self.is_with_alignment:
        given = inspect.signature(_original).bind(self, *args, **kwargs)
        given.apply_defaults()
        _add_alignment(self, given.arguments['max_residue_magnitude'])


def _add_alignment(network: BasicVSRPlusPlus, max_residue_magnitude: float) -> None:
    c = network.mid_channels
    for name in PROPAGATIONS:
        network.deform_align[name] = FlowGuidedAlignPack(
            2 * c, c, 3, max_residue_magnitude, padding=1, deformable_groups=16)
    network.is_with_alignment = True
