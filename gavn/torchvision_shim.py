"""What basicsr 1.4.2 needs before it can be imported on today's stack.

The only import that fails is torchvision's `transforms.functional_tensor`; the rest is noise, silenced here
because its cause is old library code that its user cannot change.
"""
import sys
import types
import warnings
from typing import Any


def _supply_functional_tensor() -> None:
    """torchvision 0.17 dropped `transforms.functional_tensor`, from which basicsr imports one function.

    The function is looked up when it is asked for, so that `import gavn` does not import torch.
    """
    def lookup(name: str) -> Any:
        if name != 'rgb_to_grayscale':
            raise AttributeError(name)
        from torchvision.transforms import functional
        return functional.rgb_to_grayscale

    module = types.ModuleType('torchvision.transforms.functional_tensor')
    module.__getattr__ = lookup
    sys.modules.setdefault(module.__name__, module)


def _silence() -> None:
    """Warnings that basicsr's own code raises on today's scipy and torch."""
    warnings.filterwarnings('ignore', message='.*scipy.ndimage.filters.*', category=DeprecationWarning)
    warnings.filterwarnings('ignore', message='.*torch.meshgrid.*', category=UserWarning)


_supply_functional_tensor()
_silence()
