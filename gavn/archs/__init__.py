"""Networks, registered in basicsr's ARCH_REGISTRY under their class names."""

from gavn.archs import (
    basicvsrpp_arch,
    davdnet_arch,
    dbpn_arch,
    edvr_arch,
    gavn_arch,
    pfld_arch,
    syncnet_arch,
    vrt_arch,
)
from gavn.ops.basicsr_networks import use_gavn_ops

__all__ = [
    'basicvsrpp_arch',
    'davdnet_arch',
    'dbpn_arch',
    'edvr_arch',
    'gavn_arch',
    'pfld_arch',
    'syncnet_arch',
    'vrt_arch',
]

use_gavn_ops()
