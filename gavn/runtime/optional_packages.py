"""Packages that an extra of gavn installs."""
from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from gavn.errors import MissingPackageError
from gavn.runtime.project import install_command


def optional_package(name: str, extra: str, purpose: str, also: str = '') -> ModuleType:
    """Imports a package, or a module of it.

    Args:
        name: the module.
        extra: the extra of gavn that installs it.
        purpose: what needs it, for the message.
        also: a further command that installs it.

    Raises:
        MissingPackageError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_package(name, extra, purpose, error, also) from error


def require_packages(names: Sequence[str], extra: str, purpose: str) -> None:
    """Raises MissingPackageError if packages are not installed. Imports nothing; see `optional_package`."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise missing_package(', '.join(missing), extra, purpose)


def models_folder(package: str, extra: str, purpose: str) -> Path:
    """Returns the folder `models` of a package, which is not imported; see `optional_package`."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise missing_package(package, extra, purpose)
    return Path(found.submodule_search_locations[0], 'models')


def missing_package(name: str, extra: str, purpose: str, error: ImportError | None = None, also: str = ''
                    ) -> MissingPackageError:
    """Returns the error for a missing package; see `optional_package`.

    Args:
        error: why it cannot be imported; part of the message unless the package itself is missing.
    """
    package, command = name.partition('.')[0], install_command(extra) + (also and f' && {also}')
    broken = error is not None and not f'{name}.'.startswith(f'{error.name}.')
    reason = f', which cannot be imported ({error})' * broken
    return MissingPackageError(f'{purpose} needs {package}{reason}: {command}')
