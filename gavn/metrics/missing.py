"""Errors of metrics without a value. Results then contain `n/a`, with the message as a note."""
import os
from pathlib import Path

from gavn.checkpoints.hub import MODELS, model_path
from gavn.errors import ExitCode, GavnError, MissingPackageError


class MissingWeightsError(GavnError, RuntimeError):
    """A metric lacks its weights. The message says how to get them."""

    exit_code = ExitCode.WEIGHTS


class UndefinedMetricError(GavnError, ValueError):
    """A metric has no value for a clip or an image. The message says why."""


UNAVAILABLE = (MissingWeightsError, MissingPackageError)
"""What prevents a metric on this machine."""


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
