"""Errors with a message for the user; all derive from `GavnError`."""
from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the command `gavn`; see docs/restore.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_FACE = 3
    UNREADABLE = 4
    WEIGHTS = 5
    INTERRUPTED = 130


class GavnError(Exception):
    """Base class of errors. The message says what is wrong, where, and what to do next.

    Attributes:
        exit_code: of the command `gavn` after this error.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class ArgumentError(GavnError, ValueError):
    """An argument of a function or class is out of range, or has a wrong type or shape."""

    exit_code = ExitCode.USAGE


class MissingPackageError(GavnError):
    """An optional package is not installed. The message says how to install it."""

    exit_code = ExitCode.USAGE


class RunError(GavnError, RuntimeError):
    """A training or test run cannot continue. The message says why, and what to change."""


class MissingInput(GavnError):  # noqa: N818
    """An input file does not exist."""

    exit_code = ExitCode.UNREADABLE


class InputPathError(GavnError):
    """An input path cannot be used: it has no videos or images, or is not the folder that is needed."""

    exit_code = ExitCode.USAGE


class CheckpointError(GavnError):
    """Weights are missing, unreadable, unsafe, or do not fit the network."""

    exit_code = ExitCode.WEIGHTS


class DataError(RunError):
    """Data are missing, damaged or do not match. The message names the clip or the file."""

    def __str__(self) -> str:
        """The message without the traceback that a loader's worker adds."""
        return str(self.args[0]).rpartition(f'{type(self).__name__}: ')[2].strip() if self.args else ''
