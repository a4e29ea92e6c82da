"""Networks, registered in basicsr's ARCH_REGISTRY under their class names."""

from gavn.archs import gavn_arch, pfld_arch
from gavn.ops.basicsr_networks import use_gavn_ops

__all__ = ['gavn_arch', 'pfld_arch']

use_gavn_ops()
