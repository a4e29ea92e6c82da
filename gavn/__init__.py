"""GAVN: audio-assisted restoration of talking-face video, as a BasicSR plugin."""
import warnings
from importlib import import_module
from typing import Any

from gavn import basicsr_hook, torchvision_shim  # noqa: F401  (the shim makes basicsr importable)

__version__ = '0.2.0'

basicsr_hook.register()

_LAZY = {
    'AutoRestorer': 'gavn.restoration.auto_restorer',
    'Report': 'gavn.restoration.report',
    'Restorer': 'gavn.restoration.restorer',
    'Settings': 'gavn.restoration.settings',
    'VideoRestorer': 'gavn.restoration.protocols',
    'list_pretrained': 'gavn.checkpoints.pretrained',
    'restore_frames': 'gavn.restoration.restore_video',
    'restore_video': 'gavn.restoration.restore_video',
    # errors
    'ArgumentError': 'gavn.errors',
    'CheckpointError': 'gavn.errors',
    'ChoiceError': 'gavn.faces.tracks',
    'DeviceError': 'gavn.runtime.devices',
    'DiskError': 'gavn.restoration.resume_state',
    'GavnError': 'gavn.errors',
    'InputPathError': 'gavn.errors',
    'MediaError': 'gavn.media.container',
    'ModelError': 'gavn.checkpoints.hub',
    'NoFace': 'gavn.faces.tracker',
    'OptionError': 'gavn.config.option_file',
    'OutputPathError': 'gavn.restoration.output_path',
    'RestoreError': 'gavn.restoration.model_builder',
    'TaskError': 'gavn.restoration.weight_selection',
}
"""Public name -> its module. They are imported at their first use, so that `import gavn` is cheap."""
__all__ = ['__version__', *_LAZY]


def __getattr__(name: str) -> Any:
    if name == 'Stopped':
        warnings.warn('gavn.Stopped is now gavn.DiskError', DeprecationWarning, stacklevel=2)
        name = 'DiskError'
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
