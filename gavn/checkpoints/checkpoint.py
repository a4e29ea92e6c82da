"""Weights on disk: safe reading, strict loading, and bundles with the options of the networks.

There are three kinds of files: BasicSR checkpoints (`.pth` with `params` and `params_ema`), plain state
dictionaries (`.pth` or `.safetensors`) and bundles. A bundle is one safetensors file for restoration: tensors
are named `<network>/<parameter>`, and its header has the options of the networks and facts about their
training as JSON.
"""
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import gavn
from gavn.checkpoints.bundle_header import BUNDLE_FORMAT, check_header, without_dead_values
from gavn.checkpoints.safe_files import HEADER, PathLike, State, read_pickle, read_safetensors
from gavn.config.annotations import fits
from gavn.errors import CheckpointError
from gavn.runtime.files import atomic_path
from gavn.runtime.input_checks import weight_file
from gavn.runtime.messages import listed
from gavn.runtime.plugins import modules_of

PREFERRED_KEYS = ('params_ema', 'params')  # averaged weights are better
BUDGET = 'budget'  # entry of a checkpoint: amount of training
WAITING = 'waiting'  # entry of a checkpoint: prefixes of weights that are not trained yet
# Arguments of networks with files of initial weights. Trained weights contain them, and are used where
# these files do not exist.
_INITIAL_WEIGHTS = ('spynet_path',)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Parameter names that identify a class; the first match counts.
_SIGNATURES = {
    'GAVN': ('temporal.', 'reconstruction.'),
    'PFLDAV': ('block3_2.', 'conv5_1.'),
    'BasicVSRPlusPlus': ('spynet.', 'deform_align.'),
    'EDVR': ('pcd_align.', 'upconv1.'),
    'DAVDNet': ('align.', 'attend.'),
    'DBPN': ('feat0.', 'up1.'),
    'VRT': ('stage8.', 'conv_after_body.'),
    'SyncNet': ('netcnnaud.', 'netcnnlip.'),
}


def load_state(path: PathLike, key: str | None = None) -> State:
    """Reads a state dictionary onto the CPU. Pickled objects are refused, never executed.

    Args:
        path: a `.safetensors` file, or a `.pth` with plain or BasicSR content.
        key: the entry: `params`, `params_ema`, or the name of a network in a bundle. None: `params_ema`, else
            `params`, else the only network of a bundle.

    Raises:
        CheckpointError: the file is missing, unreadable, has no such entry, or has other content than
            tensors.
    """
    path = weight_file(path)
    if path.suffix == '.safetensors':
        options, networks = _read_bundle(path)
        content: Mapping[str, Any] = networks if options else networks['']
    else:
        content = read_pickle(path)
    return _strip_parallel(_choose(content, key, path))


def load_trained(path: PathLike, options: Mapping[str, Any], key: str | None = None
                 ) -> tuple[dict[str, Any], State]:
    """Reads the trained part of a network, and the options of the network of that part.

    This is the whole network, except for a checkpoint of GAVN's first stage: its identity module and the
    layers that use it are untrained and must not restore. Options that name initial weights are removed (see
    `_INITIAL_WEIGHTS`).

    Raises:
        CheckpointError: as in `load_state`.
    """
    path, options = weight_file(path), _as_trained(options)
    if path.suffix == '.safetensors':
        return options, load_state(path, key)
    content = read_pickle(path)
    state, waiting = _strip_parallel(_choose(content, key, path)), _prefixes(content.get(WAITING, ()), path)
    trained = {name: value for name, value in state.items() if not name.startswith(waiting)}
    return {**options, 'use_identity': False} if waiting else options, trained


def _prefixes(value: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(prefix, str) for prefix in value):
        raise CheckpointError(f'{path}: its entry {WAITING!r} is no list of prefixes of weights\n'
                              'give a file that training wrote')
    return tuple(value)


def _as_trained(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _INITIAL_WEIGHTS}


def training_budget(path: PathLike) -> dict[str, float | None]:
    """Reads the amount of training: iterations, minutes, clips_seen; {} if it is unknown.

    Raises:
        CheckpointError: as in `load_state`.
    """
    path = weight_file(path)
    content = _read_bundle(path)[0] if path.suffix == '.safetensors' else read_pickle(path)
    budget = content.get(BUDGET) or {}
    if not fits(budget, dict) or not all(fits(value, float | None) for value in budget.values()):
        raise CheckpointError(f'{path}: its entry {BUDGET!r} holds more than numbers\n'
                              'give a file that training wrote')
    return dict(budget)


def load_strict(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Loads `state` into `network` if names and shapes agree exactly; otherwise changes nothing.

    Args:
        name: of the weights in messages, such as their file.

    Raises:
        CheckpointError: as in `check_fit`.
    """
    check_fit(network, state, name)
    network.load_state_dict(state)


def check_fit(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Checks that weights fit a network, which may be on the device `meta`.

    Raises:
        CheckpointError: parameters are missing, unknown, or have another shape or type. The message names the
            first ones, the probable class of the weights, and what to do.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    common = [key for key in own if key in state]
    shapes = [f'{key} is {_shape(state[key])}, not {_shape(own[key])}'
              for key in common if state[key].shape != own[key].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(_mismatch(network, state, name, missing, unexpected, shapes))
    if others := [f'{key} is {_kind(state[key])}, not {_kind(own[key])}'
                  for key in common if not _alike(state[key], own[key])]:
        raise CheckpointError(f'weights {name} are numbers of another kind: {listed(others)}\n'
                              'store weights as float32, float16, bfloat16 or float64, dense')


def _alike(given: Tensor, own: Tensor) -> bool:
    """Whether one can be copied into the other: dense, and both floats or of one integer type."""
    if given.layout != torch.strided or given.is_quantized or given.is_meta:
        return False
    return given.dtype in _FLOATS if own.is_floating_point() else given.dtype == own.dtype


def _kind(tensor: Tensor) -> str:
    words = str(tensor.dtype).removeprefix('torch.')
    return words if tensor.layout == torch.strided else f'{tensor.layout} {words}'.removeprefix('torch.')


def save_bundle(path: PathLike, networks: Mapping[str, tuple[Mapping[str, Any], nn.Module]],
                meta: Mapping[str, Any], half: bool = False) -> None:
    """Writes networks and their options to one safetensors file, atomically.

    Args:
        path: should end in `.safetensors`.
        networks: name (`network_g`, `network_l`) -> options (`type` and its arguments), and the network with
            its weights. Options that name initial weights are removed.
        meta: further JSON: `task`, `network_inputs`, `window`, `sources` ... Versions of tools and modules of
            networks outside of gavn are added.
        half: store 16 bits per number; networks compute in 32 bits.

    Raises:
        ValueError: a name contains a slash.
        TypeError: options are not JSON.
        CheckpointError: weights are too large for 16 bits.
    """
    tensors = {}
    for name, (_, network) in networks.items():
        if '/' in name or not name:
            raise ValueError(f'{name!r} cannot name a network in a bundle')
        for key, value in network.state_dict().items():
            tensors[f'{name}/{key}'] = _stored(value.detach().cpu().contiguous().clone(), half)
    options = {**meta, 'versions': _versions(), 'format': BUNDLE_FORMAT,
               'networks': {name: _as_trained(option) for name, (option, _) in networks.items()}}
    if modules := modules_of(network for _, network in networks.values()):
        options['custom_imports'] = modules
    header = {HEADER: json.dumps(options, sort_keys=True)}
    with atomic_path(path) as part:
        save_file(tensors, part, metadata=header)


def _stored(value: Tensor, half: bool) -> Tensor:
    if not half or not value.is_floating_point():
        return value
    short = value.half()
    if short.isfinite().ne(value.isfinite()).any():
        raise CheckpointError('the weights are too large for 16 bits\nstore them in 32')
    return short


def _versions() -> dict[str, str]:
    tools = {}
    for name in ('torch', 'basicsr'):
        with suppress(importlib.metadata.PackageNotFoundError):
            tools[name] = importlib.metadata.version(name)
    return {'gavn': gavn.__version__, 'python': platform.python_version(), **tools}


def load_bundle(path: PathLike) -> tuple[dict[str, Any], dict[str, State]]:
    """Reads a bundle: its options (`networks` and further data), and the state of each network.

    Raises:
        CheckpointError: the file is missing, unreadable, or not a bundle of a known format.
    """
    path = weight_file(path)
    options, networks = _read_bundle(path) if path.suffix == '.safetensors' else ({}, {})
    if not options:
        raise CheckpointError(f'{path} is no bundle: it lacks the options that build the network\n'
                              'make one of an experiment: `gavn bundle -opt FILE.yml -o FILE.safetensors`')
    return options, networks


def _read_bundle(path: Path) -> tuple[dict[str, Any], dict[str, State]]:
    """Returns the options ({} of a plain file) and the tensors by network ('' in a plain file)."""
    options, tensors = read_safetensors(path)
    if options == {}:
        return {}, {'': tensors}
    options = without_dead_values(options)
    check_header(options, tensors, path)
    networks: dict[str, State] = {name: {} for name in options['networks']}
    for name, tensor in tensors.items():
        network, _, key = name.partition('/')
        networks[network][key] = tensor
    return options, networks


def _choose(content: Mapping[str, Any], key: str | None, path: Path) -> State:
    groups = {name: value for name, value in content.items() if isinstance(value, Mapping)}
    if not groups and key is None:
        chosen: Any = content
    elif key is not None:
        chosen = groups.get(key)
    else:
        chosen = next((groups[name] for name in PREFERRED_KEYS if name in groups), None)
        if chosen is None and len(groups) == 1:
            chosen = next(iter(groups.values()))
    if chosen is None:
        asked = f'no entry {key!r}' if key else f'none of {", ".join(PREFERRED_KEYS)}'
        raise CheckpointError(f'{path} has {asked}; it holds {", ".join(sorted(groups)) or "plain weights"}\n'
                              'choose one of these by its key')
    strangers = [str(name) for name, value in chosen.items()
                 if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strangers or not chosen:
        raise CheckpointError(f'{path} holds no weights but {listed(strangers) or "nothing"}\n'
                              'a training state (.state) is not a network: give a file of models/ beside it')
    return dict(chosen)


def _strip_parallel(state: State) -> State:
    """Removes the prefix of data-parallel wrappers from all names."""
    return {key.removeprefix('module.'): value for key, value in state.items()}


def _mismatch(network: nn.Module, state: Mapping[str, Tensor], name: str, missing: list[str],
              unexpected: list[str], shapes: list[str]) -> str:
    """Returns the message of a failed strict load."""
    own = type(network).__name__
    lines = [f'weights {name} do not fit the network {own}']
    for words, names in (('missing', missing), ('unknown', unexpected), ('other shape', shapes)):
        if names:
            lines.append(f'  {words}: {listed(names)}')
    maker = next((cls for cls, marks in _SIGNATURES.items()
                  if all(any(key.startswith(mark) for key in state) for mark in marks)), None)
    if maker and maker != own:
        lines.append(f'these look like weights of {maker}: give them to it, or give weights of {own}')
    elif shapes and not missing and not unexpected:
        lines.append('same class, other size: build the network with the options that trained these weights '
                     '(the widths, such as num_feat, differ)')
    else:
        lines.append(f'give weights of {own} made with the same options (its switches add and remove parts)')
    return '\n'.join(lines)


def _shape(tensor: Tensor) -> str:
    return 'x'.join(map(str, tensor.shape)) or 'a number'
