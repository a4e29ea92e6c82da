"""Errors with a message for the user; all derive from `GavnError`."""
from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class GavnError(Exception):
    """Base class of errors. The message says what is wrong, where, and what to do next."""


class ArgumentError(GavnError, ValueError):
    """An argument of a function or class is out of range, or has a wrong type or shape."""


class MissingPackageError(GavnError):
    """A command needs a package that is not installed. The message says how to install it."""


class RunError(GavnError, RuntimeError):
    """A training or test run cannot continue. The message says why, and what to change."""


class MissingInput(GavnError):  # noqa: N818
    """An input file does not exist."""


class InputPathError(GavnError):
    """An input path cannot be used: it has no videos or images, or is not the folder that is needed."""


class CheckpointError(GavnError):
    """Weights are missing, unreadable, unsafe, or do not fit the network."""


def check_inputs(paths: Iterable[str | PathLike[str] | None]) -> None:
    """Raises MissingInput for the first missing file. Imports nothing, so that it is fast."""
    for path in paths:
        if path is not None and not Path(path).exists():
            address = re.match(r'[A-Za-z][\w+.-]+:/', str(path))
            advice = 'download it first, because addresses are not opened' if address else 'check the path'
            raise MissingInput(f'{path}: no such file; {advice}')


def weight_file(path: str | PathLike[str]) -> Path:
    """Returns the path of a file. Raises CheckpointError if it is missing, a folder or a device."""
    path = Path(path)
    try:
        there, folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:  # the name is too long, or has a zero byte
        raise CheckpointError(f'weights {str(path)[:80]!a}: not the name of a file ({error})') from error
    if not there:
        what = 'is a folder, not a file of weights' if folder else 'does not exist'
        raise CheckpointError(f'weights {path}: {what}\ngive the path of a .safetensors or .pth file')
    return path


def check_weight_file(path: str | PathLike[str] | None) -> None:
    """Checks a file of weights if one is given; see `weight_file`."""
    if path is not None:
        weight_file(path)


class DataError(RunError):
    """Data are missing, damaged or do not match. The message names the clip or the file."""

    def __str__(self) -> str:
        """The message without the traceback that a loader's worker adds."""
        return str(self.args[0]).rpartition(f'{type(self).__name__}: ')[2].strip() if self.args else ''


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's quota is full, or the file system takes no file of this size."""
    return error.errno in _FULL


def full_disk_message(error: OSError) -> str:
    """The message for a full disk."""
    return (f'{error.filename or "a file of the run"} cannot be written: {error.strerror}; make room there, '
            'then rerun the command with --auto_resume')


def shortened(text: str, limit: int) -> str:
    """Cuts a long text for a message."""
    return text if len(text) <= limit else f'{text[:limit]}...'


def listed(names: Sequence[str], limit: int = 4) -> str:
    """The first names, for a message, and how many there are besides."""
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')
