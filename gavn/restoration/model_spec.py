"""What an option file, or the header of a bundle, says about building and feeding the networks."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from gavn.archs.inputs import NAMES
from gavn.checkpoints.safe_files import State
from gavn.config.option_file import read_options
from gavn.config.sections import check_component, task_of
from gavn.restoration.model_builder import RestoreError, build, build_with, check_foreign
from gavn.runtime.plugins import PluginError, check_modules, import_plugins

__all__ = ['DETECTOR', 'GENERATOR', 'DeviceError', 'ModelSpec', 'RestoreError', 'weight_files']

GENERATOR, DETECTOR = 'network_g', 'network_l'  # the names of networks in option files and bundles


class DeviceError(RestoreError):
    """A device or a number format that cannot be used here."""


def import_modules(modules: Iterable[str] = (), asked_by: str = '--import') -> None:
    """`import_plugins`, whose error is a RestoreError."""
    try:
        import_plugins(modules, asked_by)
    except PluginError as error:
        raise RestoreError(str(error)) from error


@dataclass(frozen=True)
class ModelSpec:
    """The part of an option file that restoration needs.

    Attributes:
        networks: options (`type` and arguments) by name: `network_g` and, if it takes landmarks, `network_l`.
        inputs: what `network_g` receives, `lq` first.
        window: `centre` or `frame` for a network that does not tell its own layout.
        task: the layer of degraded frames that the weights were trained on, where it is known.
        modules: where networks are that do not come with gavn.
    """

    networks: dict[str, dict[str, Any]]
    inputs: tuple[str, ...] = ('lq',)
    window: str | None = None
    task: str | None = None
    modules: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> tuple[ModelSpec, dict[str, Any]]:
        """The recipe of an option file, whose `custom_imports` are imported, and all of its options.

        Raises OptionError for a file that cannot be read, RestoreError as `parse` does and for modules that
        cannot be imported.
        """
        options, _ = read_options(file)
        try:
            modules = check_modules(options.get('custom_imports'))
        except PluginError as error:
            raise RestoreError(f'{file}: {error}') from error
        import_modules(modules, f'{file}: custom_imports')
        return cls.parse(options, file), options

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelSpec:
        """Takes the recipe out of the options of the file `where`.

        Raises RestoreError for inputs that are not known, and if `network_g`, or `network_l` where landmarks
        are asked for, names no type.
        """
        inputs = options.get('network_inputs') or ['lq']
        if not isinstance(inputs, list | tuple) or not set(map(str, inputs)) <= set(NAMES):
            raise RestoreError(f'{where}: network_inputs is {inputs!r}\n'
                               f'it must be a list of {", ".join(NAMES)}')
        networks = {}
        for name in (GENERATOR, DETECTOR) if 'landmarks' in inputs else (GENERATOR,):
            section = options.get(name)
            if not isinstance(section, Mapping) or 'type' not in section:
                raise RestoreError(f'{where}: {name} names no type of network\n'
                                   'give the option file that trained the weights')
            networks[name] = dict(section)
        return cls(networks, tuple(inputs), options.get('window'), _task(options),
                   tuple(options.get('custom_imports') or ()))

    @classmethod
    def parse_bundle(cls, header: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelSpec:
        """Takes the recipe out of the header of a bundle, which may come from anybody.

        What installed packages register may be named in it. Raises RestoreError as `parse` does, and for
        networks that may not be built (see `check_foreign`).
        """
        import_modules()
        recipe = cls.parse({**header, **header['networks']}, where)
        for name, options in recipe.networks.items():
            check_foreign(options, f'{where} ({name})', name == DETECTOR, recipe.modules)
        return recipe

    def build(self) -> dict[str, nn.Module]:
        """The networks with fresh weights.

        Raises RestoreError for an unknown type or wrong arguments.
        """
        import_modules()
        return {name: build(options) for name, options in self.networks.items()}

    def build_with(self, states: Mapping[str, tuple[State, str]]) -> dict[str, nn.Module]:
        """The networks with weights by network, each beside what to call them; see `building.build_with`."""
        return {name: build_with(options, *states[name]) for name, options in self.networks.items()}


def _task(options: Mapping[str, Any]) -> str | None:
    training = options.get('datasets')
    training = training.get('train') if isinstance(training, Mapping) else None
    task = options.get('task', task_of(training if isinstance(training, Mapping) else {}))
    return task if isinstance(task, str) else None


def weight_files(options: Mapping[str, Any]) -> dict[str, str | Path | None]:
    """Where the weights of an option file's networks are, by network.

    A file that tests says so in `path.pretrain_network_*`. What training starts from (`pretrain_network_g`)
    is not what it made: that is `experiments/<name>/models/net_g_latest.pth` under the current folder.
    """
    paths = options.get('path')
    paths = paths if isinstance(paths, Mapping) else {}
    for key in ('pretrain_network_g', 'pretrain_network_l'):
        if not isinstance(paths.get(key), str | None):
            raise RestoreError(f'path.{key} is {paths[key]!r}; it must be the path of a file')
    if 'train' not in options:
        return {GENERATOR: paths.get('pretrain_network_g'), DETECTOR: paths.get('pretrain_network_l')}
    try:
        name = check_component(str(options.get('name')))
    except ValueError as error:
        raise RestoreError(f'name: {error}') from error
    made = Path('experiments', name, 'models', 'net_g_latest.pth')
    return {GENERATOR: made, DETECTOR: paths.get('pretrain_network_l')}
