"""Errors that gavn raises with a message for its user; all derive from `GavnError`."""
from __future__ import annotations

import errno
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class GavnError(Exception):
    """gavn cannot do what was asked; the message says what was wrong, where, and what to do next."""


class RunError(GavnError, RuntimeError):
    """A run cannot go on; the message says why, and what to change."""


class MissingInput(GavnError):  # noqa: N818
    """A file to work on that is not there."""


class MissingWeights(GavnError):  # noqa: N818
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


class DataError(RunError):
    """Data that cannot be used: absent, damaged or not matching; the message names the clip or the file."""

    def __str__(self) -> str:
        """The sentence alone: a loader's worker puts its traceback before it."""
        return str(self.args[0]).rpartition(f'{type(self).__name__}: ')[2].strip() if self.args else ''


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in _FULL


def disk_words(error: OSError) -> str:
    """What a full disk kept from being written, and what to do."""
    return (f'{error.filename or "a file of the run"} cannot be written: {error.strerror}; make room there, '
            'then give the same command with --auto_resume')
