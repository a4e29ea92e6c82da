"""Networks derived from BasicSR's, and the registration of all networks of gavn in BasicSR's registry.

Importing this module imports BasicSR. Training does so; restoring only for weights of a BasicSR network.
"""

from basicsr import archs  # noqa: F401  (registers BasicSR's own networks)
from basicsr.utils.registry import ARCH_REGISTRY as BASICSR_REGISTRY

from gavn.archs import basicvsrpp_arch, edvr_arch
from gavn.registry import ARCH_REGISTRY

__all__ = ['basicvsrpp_arch', 'edvr_arch']

ARCH_REGISTRY.mirror_to(BASICSR_REGISTRY)
