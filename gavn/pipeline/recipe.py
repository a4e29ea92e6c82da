"""What an option file, or the header of a bundle, says about building and feeding the networks."""
from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

import gavn.archs  # noqa: F401  (registers the networks)
from gavn.archs.inputs import NAMES
from gavn.utils.option_sections import task_of

GENERATOR, DETECTOR = 'network_g', 'network_l'  # the names of networks in option files and bundles


class RestoreError(Exception):
    """Options that build no usable network, or a network that returns no numbers."""


class DeviceError(RestoreError):
    """A device or a number format that cannot be used here."""


@dataclass(frozen=True)
class Recipe:
    """The part of an option file that restoration needs.

    Attributes:
        networks: options (`type` and arguments) by name: `network_g` and, if it takes landmarks, `network_l`.
        inputs: what `network_g` receives, `lq` first.
        window: `centre` or `frame` for a network that does not tell its own layout.
        task: the layer of degraded frames that the weights were trained on, where it is known.
    """

    networks: dict[str, dict[str, Any]]
    inputs: tuple[str, ...] = ('lq',)
    window: str | None = None
    task: str | None = None

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str | os.PathLike[str]) -> Recipe:
        """Takes the recipe out of the options of the file `where`.

        Raises RestoreError for inputs that are not known, and if `network_g`, or `network_l` where landmarks
        are asked for, names no type.
        """
        inputs = tuple(options.get('network_inputs') or ('lq',))
        if unknown := set(inputs) - set(NAMES):
            raise RestoreError(f'{where}: network_inputs names {", ".join(sorted(unknown))}\n'
                               f'known are {", ".join(NAMES)}')
        networks = {}
        for name in (GENERATOR, DETECTOR) if 'landmarks' in inputs else (GENERATOR,):
            networks[name] = dict(options.get(name) or {})
            if 'type' not in networks[name]:
                raise RestoreError(f'{where}: {name} names no type of network\n'
                                   'give the option file that trained the weights')
        training = (options.get('datasets') or {}).get('train') or {}
        task = options.get('task', task_of(training))
        return cls(networks, inputs, options.get('window'), task)

    def build(self) -> dict[str, nn.Module]:
        """The networks with fresh weights.

        Raises RestoreError for an unknown type or wrong arguments.
        """
        return {name: _build(options) for name, options in self.networks.items()}


def _build(options: Mapping[str, Any]) -> nn.Module:
    arguments = dict(options)
    kind = arguments.pop('type')
    known = [name for name, _ in ARCH_REGISTRY]
    if kind not in known:
        near = difflib.get_close_matches(str(kind), known, n=1)
        hint = f'did you mean {near[0]}?' if near else f'known are {", ".join(known)}'
        raise RestoreError(f'no network is called {kind}\n{hint}')
    try:
        return ARCH_REGISTRY.get(kind)(**arguments)
    except (TypeError, ValueError) as error:
        raise RestoreError(f'{kind} cannot be built with {arguments}\n{error}') from error


def weight_files(options: Mapping[str, Any]) -> dict[str, str | Path | None]:
    """Where the weights of an option file's networks are, by network.

    A file that tests says so in `path.pretrain_network_*`. What training starts from (`pretrain_network_g`)
    is not what it made: that is `experiments/<name>/models/net_g_latest.pth` under the current folder.
    """
    paths = options.get('path') or {}
    made = Path('experiments', str(options.get('name')), 'models', 'net_g_latest.pth')
    return {GENERATOR: made if 'train' in options else paths.get('pretrain_network_g'),
            DETECTOR: paths.get('pretrain_network_l')}
