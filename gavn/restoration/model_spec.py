"""`ModelSpec`: how to build the networks and what they take, from an option file or a bundle header."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gavn.archs.inputs import NAMES
from gavn.checkpoints.safe_files import State
from gavn.config.option_file import read_options
from gavn.config.sections import check_component, task_of
from gavn.restoration.model_builder import RestoreError, build, build_with, check_foreign
from gavn.runtime.plugins import PluginError, check_modules, import_plugins
from gavn.runtime.project import locate, project_root

__all__ = ['DETECTOR', 'GENERATOR', 'ModelSpec', 'RestoreError', 'weight_files']

GENERATOR, DETECTOR = 'network_g', 'network_l'  # the names of networks in option files and bundles


def import_modules(modules: Iterable[str] = (), asked_by: str = '--import') -> None:
    """Calls `import_plugins`; its error becomes a RestoreError."""
    try:
        import_plugins(modules, asked_by)
    except PluginError as error:
        raise RestoreError(str(error)) from error


@dataclass(frozen=True)
class ModelSpec:
    """The options that restoration needs."""

    # name -> `type` and arguments: `network_g` and, if it takes landmarks, `network_l`
    networks: dict[str, dict[str, Any]]
    inputs: tuple[str, ...] = ('lq',)  # inputs of `network_g`, `lq` first
    window: str | None = None  # `centre` or `frame` for a network without a `layout` of its own
    task: str | None = None  # the degradation that the weights were trained on; None if unknown
    # modules that register networks from outside gavn
    modules: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> tuple[ModelSpec, dict[str, Any]]:
        """Reads an option file and imports its `custom_imports`.

        Raises:
            OptionError: the file cannot be read.
            RestoreError: see `from_options`.
        """
        options, _ = read_options(file)
        return cls.from_options(options, file), options

    @classmethod
    def from_options(cls, options: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelSpec:
        """Extracts the spec from the options of an option file and imports their `custom_imports`.

        Raises:
            RestoreError: see `parse`; also if a module cannot be imported.
        """
        try:
            modules = check_modules(options.get('custom_imports'))
        except PluginError as error:
            raise RestoreError(f'{where}: {error}') from error
        import_modules(modules, f'{where}: custom_imports')
        return cls.parse(options, where)

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelSpec:
        """Extracts the spec from options.

        Raises:
            RestoreError: an input is unknown, or `network_g` (or `network_l`, if landmarks are an input) has
                no type.
        """
        inputs = options.get('network_inputs') or ['lq']
        if not isinstance(inputs, list | tuple) or not set(map(str, inputs)) <= set(NAMES):
            raise RestoreError(f'{where}: network_inputs is {inputs!r}\n'
                               f'use a list of {", ".join(NAMES)}')
        networks = {}
        for name in (GENERATOR, DETECTOR) if 'landmarks' in inputs else (GENERATOR,):
            section = options.get(name)
            if not isinstance(section, Mapping) or 'type' not in section:
                raise RestoreError(f'{where}: {name} has no type\n'
                                   'use the option file that trained the weights')
            networks[name] = dict(section)
        return cls(networks, tuple(inputs), options.get('window'), _task(options),
                   tuple(options.get('custom_imports') or ()))

    @classmethod
    def parse_bundle(cls, header: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelSpec:
        """Extracts the spec from the header of an untrusted bundle.

        The header may name networks that installed packages register.

        Raises:
            RestoreError: see `parse`; also for networks that are not allowed (see `check_foreign`).
        """
        import_modules()
        spec = cls.parse({**header, **header['networks']}, where)
        for name, options in spec.networks.items():
            check_foreign(options, f'{where} ({name})', name == DETECTOR, spec.modules)
        return spec

    def build(self) -> dict[str, nn.Module]:
        """Builds the networks with fresh weights.

        Raises:
            RestoreError: a type is unknown or arguments are invalid.
        """
        import_modules()
        return {name: build(options) for name, options in self.networks.items()}

    def build_with(self, states: Mapping[str, tuple[State, str]]) -> dict[str, nn.Module]:
        """Builds the networks with weights: name -> (state, name for messages); see `build_with`."""
        return {name: build_with(options, *states[name]) for name, options in self.networks.items()}


def _task(options: Mapping[str, Any]) -> str | None:
    training = options.get('datasets')
    training = training.get('train') if isinstance(training, Mapping) else None
    task = options.get('task', task_of(training if isinstance(training, Mapping) else {}))
    return task if isinstance(task, str) else None


def weight_files(options: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the checkpoint of each network of an option file: name -> path.

    A test file names them in `path.pretrain_network_*`. In a training file `pretrain_network_g` is only the
    initialisation; the result is `<name>/models/net_g_latest.pth` in `path.experiments_root`, by default
    `experiments`. Files are searched as by `gavn test`; see `gavn.runtime.project.locate`.

    Raises:
        RestoreError: a path or the name is invalid.
    """
    paths = options.get('path')
    paths = paths if isinstance(paths, Mapping) else {}
    for key in ('pretrain_network_g', 'pretrain_network_l', 'experiments_root'):
        if not isinstance(paths.get(key), str | None):
            raise RestoreError(f'path.{key} is {paths[key]!r}; it must be a file path')
    generator = _trained(options, paths) if 'train' in options else paths.get('pretrain_network_g')
    files, root = {GENERATOR: generator, DETECTOR: paths.get('pretrain_network_l')}, project_root()
    return {name: file and str(locate(file, root) or file) for name, file in files.items()}


def _trained(options: Mapping[str, Any], paths: Mapping[str, Any]) -> str:
    """Returns the path of the newest weights of a training."""
    try:
        name = check_component(str(options.get('name')))
    except ValueError as error:
        raise RestoreError(f'name: {error}') from error
    return os.path.join(paths.get('experiments_root') or 'experiments', name, 'models', 'net_g_latest.pth')
