"""The option files of the repository, for tests: reading, building networks, comparing files."""
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.config.overlays import resolve_options

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
PARTS = ('presets', 'ablations')  # overlays
FILES = sorted(path for path in OPTIONS.rglob('*.yml') if path.parent.name not in PARTS)
TASKS = {'car': 'car_crf45', 'deblur': 'blur', 'sr': 'sr'}
LEVELS = {'car': ('car_crf35', 'car_crf40', 'car_crf45'), 'deblur': ('blur_k17', 'blur_k21', 'blur_k25'),
          'sr': ('sr_x2', 'sr_x4', 'sr_x8')}
PEERS = ('dbpn', 'edvr', 'basicvsrpp', 'davdnet', 'vrt')
METHODS = {'gavn': None, 'dbpn': 'DBPN', 'edvr': 'EDVR', 'edvr_l': 'EDVR-L', 'basicvsrpp': 'BasicVSR++',
           'davdnet': 'DAVD-Net (ours)', 'vrt': 'VRT'}


def name_of(path: Path) -> str:
    """'small/train_gavn_car' of a file."""
    return path.relative_to(OPTIONS).with_suffix('').as_posix()


def load(name: str, *, small: bool = False, ablation: str = '', degradations: Sequence[str] = ()) -> dict:
    """Options of a file with the preset of small runs, an ablation and degradations laid over it."""
    overlays = []
    if small:
        detector, blur = '_pfld_' in name, name.endswith('_deblur')
        kind = '_pfld' if detector else '_deblur' if blur else ''
        overlays.append(OPTIONS / f'presets/small{kind}.yml')
    if ablation:
        overlays.append(OPTIONS / f'ablations/{ablation}.yml')
    return resolve_options(OPTIONS / f'{name}.yml', overlays, degradations)[0]


def build(options: dict) -> nn.Module:
    """The network of a section, without weights (on the meta device); built once."""
    return _built(json.dumps(options, sort_keys=True))


@cache
def _built(options: str) -> nn.Module:
    arguments = json.loads(options)
    with torch.device('meta'):
        network = ARCH_REGISTRY.get(arguments.pop('type'))(**arguments)
    return network.to('meta')


def parameters(options: dict) -> int:
    """Parameters of the network of a section."""
    return sum(parameter.numel() for parameter in build(options).parameters())


def flat(options: dict, prefix: str = '') -> dict:
    """Options by dotted keys."""
    items = {}
    for key, value in options.items():
        items |= flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value}
    return items


def differences(one: dict, other: dict) -> set[str]:
    """Dotted keys of which two files say something different."""
    one, other = flat(one), flat(other)
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
