"""Runs a command: messages of errors that the user can fix, and the exit code."""
from __future__ import annotations

import sys
from collections.abc import Callable

from gavn.errors import ExitCode, GavnError


def code_of(error: Exception) -> int | None:
    """Returns the exit code of an error; None for unexpected errors."""
    if isinstance(error, GavnError):
        return error.exit_code
    return ExitCode.FAILED if isinstance(error, OSError) else None


def guarded(job: Callable[[], int | None]) -> int:
    """Runs a job and returns its exit code; prints the message of an error that the user can fix."""
    try:
        return job() or ExitCode.OK
    except KeyboardInterrupt as stop:
        print(f'\n{stop}' if stop.args else '\ninterrupted: no incomplete output is left',
              file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:
        if (code := code_of(error)) is None:
            raise
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return code
