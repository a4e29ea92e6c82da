"""Patch of basicsr.archs.arch_util: the deformable layer of EDVR. Parameter names do not change."""
from basicsr.archs.arch_util import DCNv2Pack

from gavn.basicsr_patches.replace import importers_of
from gavn.ops.deform_align import DeformableAlignPack

for module in importers_of(DCNv2Pack):
    # Defect: every layer synchronises with the device in every call, to compare its mean offset with 50.
    module.DCNv2Pack = DeformableAlignPack
