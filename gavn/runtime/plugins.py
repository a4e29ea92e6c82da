"""Networks, models, losses, metrics and data sets of other packages: importing these registers them.

A package names its modules as entry points of the group `gavn.plugins`, or an option file names them as
`custom_imports`. Weights name the modules that made them, but that alone never has anything imported.
"""
from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from gavn.errors import GavnError

GROUP = 'gavn.plugins'
_OURS = ('gavn', 'basicsr')


class PluginError(GavnError, ValueError):
    """A module that cannot be imported; the message says which, and why."""


def import_plugins(modules: Iterable[str] = (), asked_by: str = 'custom_imports') -> None:
    """Imports the modules that installed packages offer, then those that are named.

    Where some are named, the current folder is searched as well, after all else: never otherwise, since
    modules that are optional to us could then lie beside somebody's videos. Raises PluginError.
    """
    modules = list(modules)
    for entry in importlib.metadata.entry_points(group=GROUP):
        _attempt(entry.load, entry.value, f'the entry point {entry.name} of {GROUP}')
    if modules and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in modules:
        _attempt(lambda name=name: importlib.import_module(name), name, asked_by)


def check_modules(modules: Any) -> list[str]:
    """`custom_imports` of an option file. Raises PluginError for what is no list of names of modules."""
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(map(_is_module, modules)):
        raise PluginError(f'custom_imports is {modules!r}; it must be a list of modules: [package.module]')
    return modules


def _is_module(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split('.'))


def _attempt(load: Callable[[], Any], name: str, asked_by: str) -> None:
    try:
        load()
    except ModuleNotFoundError as error:
        if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
            raise PluginError(f'{asked_by}: {name} needs the module {error.name}, which is not installed'
                              ) from error
        raise PluginError(f'{asked_by}: there is no module {name}: stand in the folder that holds '
                          f'{name.partition(".")[0]}, or install it') from error
    except Exception as error:  # somebody else's code, which may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(f'{asked_by}: {name} cannot be imported: {type(error).__name__}: {error} '
                          f'({place.filename}, line {place.lineno})') from error


def modules_of(objects: Iterable[object]) -> list[str]:
    """The modules, other than ours, whose classes the objects are of."""
    modules = {type(one).__module__ for one in objects}
    return sorted(name for name in modules if name.partition('.')[0] not in _OURS)
