"""Errors of metrics without a value. Results then contain `n/a`, with the message as a note."""
import importlib
import os
from pathlib import Path
from types import ModuleType

from gavn.checkpoints.hub import MODELS, model_path
from gavn.errors import GavnError
from gavn.runtime.project import install_command


class MissingWeightsError(GavnError, RuntimeError):
    """A metric lacks its weights or its package. The message says how to get them."""


class UndefinedMetricError(GavnError, ValueError):
    """A metric has no value for a clip or an image. The message says why."""


def optional_package(name: str, extra: str) -> ModuleType:
    """Imports the module `name` of the extra `gavn[extra]`. Raises MissingWeightsError if it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingWeightsError(f'no package {name} ({error}); {install_command(extra)}') from error


def weights_file(name: str, weights: str | os.PathLike[str] | None) -> Path:
    """The file `weights` if it is given, else the file of the fetched model `name`.

    Raises:
        MissingWeightsError: the model was not fetched. (Whether a given file exists is not checked.)
    """
    path = Path(weights) if weights is not None else model_path(name)
    if path is None:
        raise MissingWeightsError(f'no weights {MODELS[name].file}; `gavn models fetch {name}`, or give '
                                  'their path as the option `weights`')
    return path
