"""What basicsr 1.4.2 needs before it can be imported on today's stack."""
import sys
import types


def _supply_functional_tensor() -> None:
    """torchvision 0.17 dropped `transforms.functional_tensor`, which basicsr's degradations import."""
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    module = types.ModuleType(name)
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = module


_supply_functional_tensor()
