"""Errors with a message for the user; all derive from `GavnError`."""
from __future__ import annotations

import errno
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class GavnError(Exception):
    """Base class of errors. The message says what is wrong, where, and what to do next."""


class RunError(GavnError, RuntimeError):
    """A training or test run cannot continue. The message says why, and what to change."""


class MissingInput(GavnError):  # noqa: N818
    """An input file does not exist."""


class MissingWeights(GavnError):  # noqa: N818
    """A weight file does not exist."""


def check_inputs(paths: Iterable[str | PathLike[str] | None]) -> None:
    """Raises MissingInput for the first missing file. Imports nothing, so that it is fast."""
    for path in paths:
        if path is not None and not Path(path).exists():
            raise MissingInput(f'{path}: no such file; check the path')


def check_weights(path: str | PathLike[str] | None) -> None:
    """Raises MissingWeights if a given file does not exist."""
    if path is not None and not Path(path).exists():
        raise MissingWeights(f'weights {path}: does not exist\n'
                             'give the path of a .safetensors or .pth file')


class DataError(RunError):
    """Data are missing, damaged or do not match. The message names the clip or the file."""

    def __str__(self) -> str:
        """The message without the traceback that a loader's worker adds."""
        return str(self.args[0]).rpartition(f'{type(self).__name__}: ')[2].strip() if self.args else ''


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's quota is full."""
    return error.errno in _FULL


def disk_words(error: OSError) -> str:
    """The message for a full disk."""
    return (f'{error.filename or "a file of the run"} cannot be written: {error.strerror}; make room there, '
            'then rerun the command with --auto_resume')
