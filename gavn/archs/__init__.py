"""Networks, registered in basicsr's ARCH_REGISTRY under their class names."""

from gavn.archs.pfld_arch import PFLDAV, AuxiliaryPoseNet  # noqa: F401
from gavn.ops.basicsr_networks import use_gavn_ops

use_gavn_ops()
