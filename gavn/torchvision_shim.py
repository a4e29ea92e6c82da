"""Compatibility of basicsr 1.4.2 with current torchvision, scipy and torch.

Only the import of torchvision's `transforms.functional_tensor` fails. Warnings of basicsr's code are
suppressed, because users cannot fix their cause.
"""
import sys
import types
import warnings
from typing import Any


def _supply_functional_tensor() -> None:
    """Supplies the function of `transforms.functional_tensor` for basicsr; torchvision 0.17 removed it.

    The function is looked up at its first use, so that `import gavn` does not import torch.
    """
    def lookup(name: str) -> Any:
        if name != 'rgb_to_grayscale':
            raise AttributeError(name)
        from torchvision.transforms import functional
        return functional.rgb_to_grayscale

    module = types.ModuleType('torchvision.transforms.functional_tensor')
    vars(module)['__getattr__'] = lookup
    sys.modules.setdefault(module.__name__, module)


def _silence() -> None:
    """Warnings of basicsr's code with current scipy and torch."""
    warnings.filterwarnings('ignore', message='.*scipy.ndimage.filters.*', category=DeprecationWarning)
    warnings.filterwarnings('ignore', message='.*torch.meshgrid.*', category=UserWarning)


_supply_functional_tensor()
_silence()
