"""Exit codes of `gavn`, and messages of errors that the user can fix."""
from __future__ import annotations

import sys
from collections.abc import Callable

OK, FAILED, USAGE, NO_FACE, UNREADABLE, WEIGHTS, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


CODES = {
    'builtins.OSError': FAILED,
    'gavn.errors.ArgumentError': USAGE,
    'gavn.errors.GavnError': FAILED,
    'gavn.errors.MissingPackageError': USAGE,
    'gavn.errors.RunError': FAILED,
    'gavn.cli.prepare_clips.PrepareError': USAGE,
    'gavn.data.landmark_annotator.AnnotatorError': USAGE,
    'gavn.experiments.compare.settings.CompareError': USAGE,
    'gavn.data.clip_pairs.MismatchError': USAGE,
    'gavn.cli.evaluate_clips.EvaluationError': USAGE,
    'gavn.metrics.missing.MissingWeightsError': WEIGHTS,
    'gavn.restoration.weight_selection.TaskError': USAGE,
    'gavn.restoration.model_builder.RestoreError': WEIGHTS,
    'gavn.faces.tracker.NoFace': NO_FACE,
    'gavn.faces.tracks.ChoiceError': USAGE,
    'gavn.restoration.model_spec.DeviceError': USAGE,
    'gavn.restoration.output_path.OutputPathError': USAGE,
    'gavn.errors.MissingInput': UNREADABLE,
    'gavn.errors.InputPathError': USAGE,
    'gavn.errors.CheckpointError': WEIGHTS,
    'gavn.media.container.MediaError': UNREADABLE,
    'gavn.checkpoints.hub.ModelError': WEIGHTS,
    'gavn.config.option_file.OptionError': USAGE,
}
"""Exception class name -> exit code. Names avoid imports. The most specific class counts."""


def code_of(error: Exception) -> int | None:
    """Returns the exit code of an error; None for unexpected errors."""
    kinds = (f'{kind.__module__}.{kind.__qualname__}' for kind in type(error).__mro__)
    return next((CODES[kind] for kind in kinds if kind in CODES), None)


def guarded(job: Callable[[], int | None]) -> int:
    """Runs a job and returns its exit code; prints the message of an error that the user can fix."""
    try:
        return job() or OK
    except KeyboardInterrupt as stop:
        print(f'\n{stop}' if stop.args else '\ninterrupted: no incomplete output is left',
              file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if (code := code_of(error)) is None:
            raise
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return code
