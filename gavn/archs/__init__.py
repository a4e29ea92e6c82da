"""Networks, registered in `gavn.registry.ARCH_REGISTRY` under their class names.

Importing `gavn.archs.basicsr_archs` adds them to BasicSR's registry.
"""

from gavn.archs import davdnet_arch, dbpn_arch, gavn_arch, pfld_arch, span_arch, syncnet_arch, vrt_arch

__all__ = [
    'davdnet_arch',
    'dbpn_arch',
    'gavn_arch',
    'pfld_arch',
    'span_arch',
    'syncnet_arch',
    'vrt_arch',
]
