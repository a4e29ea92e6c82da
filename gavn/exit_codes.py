"""What the command `gavn` ends with, and how it tells of what the user can mend."""
from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

OK, FAILED, USAGE, NO_FACE, UNREADABLE, WEIGHTS, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


@cache
def codes() -> dict[type[Exception], int]:
    """The exit code by kind of error; the first that fits counts."""
    from gavn.data.footage import MismatchError
    from gavn.demo import DemoError
    from gavn.evaluate import EvaluationError
    from gavn.metrics.missing import WeightsMissing
    from gavn.pipeline.export import ExportError
    from gavn.pipeline.face_tracker import NoFace
    from gavn.pipeline.face_tracks import ChoiceError
    from gavn.pipeline.recipe import DeviceError, RestoreError
    from gavn.pipeline.target import TargetError
    from gavn.utils.checkpoint import CheckpointError
    from gavn.utils.media import MediaError
    from gavn.utils.model_store import ModelError
    from gavn.utils.option_file import OptionError
    return {
        NoFace: NO_FACE, MediaError: UNREADABLE, CheckpointError: WEIGHTS, DeviceError: USAGE,
        RestoreError: WEIGHTS, ModelError: WEIGHTS, WeightsMissing: WEIGHTS, TargetError: USAGE,
        ChoiceError: USAGE, OptionError: USAGE, MismatchError: USAGE, EvaluationError: USAGE,
        DemoError: FAILED, ExportError: FAILED, OSError: FAILED}


def guarded(job: Callable[[], int | None]) -> int:
    """Runs a job; what the user can mend is told on stderr in words and becomes the exit code."""
    try:
        return job() or OK
    except KeyboardInterrupt as stop:
        print(f'\n{stop}' if stop.args else '\ninterrupted: no unfinished output is left behind',
              file=sys.stderr)
        return INTERRUPTED
    except tuple(codes()) as error:
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return next(code for kind, code in codes().items() if isinstance(error, kind))
