"""Imports packages that register networks, models, losses, metrics and data sets.

A package declares its modules as entry points of the group `gavn.plugins`, or an option file names them in
`custom_imports`. Weights also name modules, but never cause an import.
"""
from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from gavn.errors import GavnError

GROUP = 'gavn.plugins'
_OURS = ('gavn', 'basicsr')


class PluginError(GavnError, ValueError):
    """A module cannot be imported."""


def import_plugins(modules: Iterable[str] = (), asked_by: str = 'custom_imports') -> None:
    """Imports the entry points of installed packages, then the named modules.

    The current folder is searched last, and only for named modules: it must not provide gavn's optional
    dependencies.

    Raises:
        PluginError: a module cannot be imported.
    """
    modules = list(modules)
    for entry in importlib.metadata.entry_points(group=GROUP):
        _attempt(entry.load, entry.value, f'the entry point {entry.name} of {GROUP}')
    if modules and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in modules:
        _attempt(partial(importlib.import_module, name), name, asked_by)


def check_modules(modules: Any) -> list[str]:
    """Returns `custom_imports` of an option file. Raises PluginError if it is not a list of module names."""
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
        raise PluginError(f'{asked_by}: there is no module {name}: install it, or change to the folder that '
                          f'contains {name.partition(".")[0]}') from error
    except Exception as error:  # other code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(f'{asked_by}: {name} cannot be imported: {type(error).__name__}: {error} '
                          f'({place.filename}, line {place.lineno})') from error


def modules_of(objects: Iterable[object]) -> list[str]:
    """Returns the modules of the classes of objects, without gavn and basicsr."""
    modules = {type(one).__module__ for one in objects}
    return sorted(name for name in modules if name.partition('.')[0] not in _OURS)
