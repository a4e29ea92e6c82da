"""Networks, registered in `gavn.registry.ARCH_REGISTRY` under their class names.

BasicSR's registry has them too once `gavn.archs.basicsr_archs` is imported, which happens here if BasicSR was
imported before, and with `gavn.models`.
"""

import sys

from gavn.archs import davdnet_arch, dbpn_arch, gavn_arch, pfld_arch, syncnet_arch, vrt_arch

__all__ = [
    'davdnet_arch',
    'dbpn_arch',
    'gavn_arch',
    'pfld_arch',
    'syncnet_arch',
    'vrt_arch',
]

if 'basicsr' in sys.modules:
    from gavn.archs import basicsr_archs  # noqa: F401  (joins the registries)
