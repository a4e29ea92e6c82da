"""What the command `gavn` ends with, and how it tells of what the user can mend."""
from __future__ import annotations

import sys
from collections.abc import Callable

OK, FAILED, USAGE, NO_FACE, UNREADABLE, WEIGHTS, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


CODES = {
    'builtins.OSError': FAILED,
    'gavn.data.clip_reader.MismatchError': USAGE,
    'gavn.cli.demo.DemoError': FAILED,
    'gavn.cli.evaluate.EvaluationError': USAGE,
    'gavn.metrics.missing.MissingWeightsError': WEIGHTS,
    'gavn.restoration.choosing.TaskError': USAGE,
    'gavn.restoration.model_builder.RestoreError': WEIGHTS,
    'gavn.restoration.export.ExportError': FAILED,
    'gavn.faces.tracker.NoFace': NO_FACE,
    'gavn.faces.tracks.ChoiceError': USAGE,
    'gavn.restoration.model_spec.DeviceError': USAGE,
    'gavn.restoration.output_path.OutputPathError': USAGE,
    'gavn.checkpoints.safe_files.CheckpointError': WEIGHTS,
    'gavn.errors.MissingInput': UNREADABLE,
    'gavn.errors.MissingWeights': WEIGHTS,
    'gavn.media.container.MediaError': UNREADABLE,
    'gavn.checkpoints.hub.ModelError': WEIGHTS,
    'gavn.config.option_file.OptionError': USAGE,
}
"""The exit code by kind of error, named, so that telling of one imports nothing; the nearest kind counts."""


def code_of(error: Exception) -> int | None:
    """What an error ends the command with; None for one whose message is not meant for the user."""
    kinds = (f'{kind.__module__}.{kind.__qualname__}' for kind in type(error).__mro__)
    return next((CODES[kind] for kind in kinds if kind in CODES), None)


def guarded(job: Callable[[], int | None]) -> int:
    """Runs a job; what the user can mend is told on stderr in words and becomes the exit code."""
    try:
        return job() or OK
    except KeyboardInterrupt as stop:
        print(f'\n{stop}' if stop.args else '\ninterrupted: no unfinished output is left behind',
              file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if (code := code_of(error)) is None:
            raise
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return code
