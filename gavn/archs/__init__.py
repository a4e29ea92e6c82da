"""Networks, registered in basicsr's ARCH_REGISTRY under their class names."""

from gavn.ops.basicsr_networks import use_gavn_ops

use_gavn_ops()
