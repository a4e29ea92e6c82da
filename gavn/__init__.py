"""GAVN: audio-assisted restoration of talking-face video, as a BasicSR plugin."""
from importlib import import_module
from typing import Any

from gavn import torchvision_shim  # noqa: F401  (makes basicsr importable; must come first)

__version__ = '0.1.0'

_LAZY = {'AutoRestorer': 'gavn.restoration.auto_restorer', 'Report': 'gavn.restoration.report',
         'Restorer': 'gavn.restoration.restorer', 'Settings': 'gavn.restoration.settings',
         'restore_video': 'gavn.restoration.restore_video'}
__all__ = [*_LAZY, '__version__']


def __getattr__(name: str) -> Any:
    """Imports the public names at their first use, so that `import gavn` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_LAZY[name]), name)
