"""Patches of basicsr 1.4.2 for its own `train_pipeline` and `test_pipeline`.

Nothing of basicsr is copied or changed on disk. Each module here is named after the module of basicsr that it
patches (`models_base_model` patches basicsr.models.base_model). Every patch names the defect it corrects.

There are three kinds of patches. Data sets and models with a defect are replaced in their registry by a
subclass (`registry.replaces_in`), and a few methods and functions that everything uses are replaced in place
(`replace.replaces`), both when their module here is imported. Helpers of the pipelines are replaced in
basicsr.train and basicsr.test, which look them up by name, for each run anew.
"""
from __future__ import annotations

from argparse import Namespace


def apply(args: Namespace | None = None) -> None:
    """Patches basicsr in this process. A second call prepares the pipelines for another run.

    Args:
        args: arguments of the run (`gavn.config.overlays.add_run_arguments`). None: those of the command
            line, which is parsed when a pipeline starts.
    """
    from gavn.basicsr_patches import (  # noqa: F401  (importing applies the others)
        data_loading,
        data_reds_dataset,
        data_video_test_dataset,
        metrics,
        models_base_model,
        models_lr_scheduler,
        models_video_base_model,
        train,
    )
    train.prepare_run(args)


def run_pipeline(kind: str, args: Namespace | None = None) -> None:
    """Runs basicsr's `train` or `test` pipeline; `args` as for `apply`.

    The folders of the run are made in the checkout, or in the working directory of an installed package.

    Raises:
        OptionError, CheckpointError: options, or weights and states, are wrong.
        RunError: data are wrong, the disk is full or training diverges.
    """
    apply(args)
    from basicsr import test, train
    from torch import distributed

    from gavn.errors import RunError
    from gavn.runtime.files import is_full
    from gavn.runtime.project import project_root

    try:
        {'train': train.train_pipeline, 'test': test.test_pipeline}[kind](str(project_root()))
    except OSError as error:
        if not is_full(error):
            raise
        raise RunError(f'{error.filename or "a file of the run"} cannot be written: {error.strerror}; '
                       'make room there, then rerun the command with --auto_resume') from error
    if distributed.is_initialized():
        distributed.destroy_process_group()
