"""What ends a run in words."""
from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path


class RunError(RuntimeError):
    """A run cannot go on; the message says why, and what to change."""


class MissingInput(Exception):  # noqa: N818
    """A file to work on that is not there."""


class MissingWeights(Exception):  # noqa: N818
    """A file of weights that is not there."""


def check_inputs(paths: Iterable[str | PathLike[str] | None]) -> None:
    """Raises MissingInput for the first that is named but not there. Imports nothing: told at once."""
    for path in paths:
        if path is not None and not Path(path).exists():
            raise MissingInput(f'{path}: no such file; check the path')


def check_weights(path: str | PathLike[str] | None) -> None:
    """Raises MissingWeights for a file that is named but not there."""
    if path is not None and not Path(path).exists():
        raise MissingWeights(f'weights {path}: does not exist\n'
                             'give the path of a .safetensors or .pth file')
