"""Operators: modulated deformable convolution, its layers, and window attention."""

from gavn.ops.deform_align import DeformableAlignPack, offset_magnitudes
from gavn.ops.deform_conv import modulated_deform_conv2d

__all__ = ['DeformableAlignPack', 'modulated_deform_conv2d', 'offset_magnitudes']
