"""What the stock train_pipeline and test_pipeline of basicsr 1.4.2 get wrong, mended from outside.

Nothing of basicsr is copied or changed on the disk: `install` puts functions of these modules where basicsr
looks its own up. Each says in its docstring what the stock one does. The trainer, the registries, option
files, folders and tensorboard stay what BasicSR's users know.
"""
import sys

_installed = False


def install() -> None:
    """Mends basicsr in this process; a second call only readies the pipelines for another run."""
    from gavn.basicsr_patches import (
        data_prefetch_dataloader,
        reading,
        stock_data,
        stock_models,
        train,
        training_state,
        utils_dist_util,
    )

    global _installed
    if not _installed:
        for module in (training_state, utils_dist_util, data_prefetch_dataloader, reading,
                       stock_data, stock_models):
            module.install()
        _installed = True
    train.install()


def run_pipeline(kind: str) -> None:
    """Runs basicsr's `train` or `test` pipeline with the options of the command line.

    Folders of the run are made below the checkout, or below the working directory of an installed package.
    Ends the process with a message in words and exit status 1 where options, data, weights or the state to
    resume from are wrong, and where training diverges.
    """
    install()
    from basicsr import test, train
    from torch import distributed

    from gavn.checkpoints.checkpoint import CheckpointError
    from gavn.config.option_file import OptionError
    from gavn.errors import RunError, disk_words, is_full
    from gavn.runtime.project import project_root

    try:
        {'train': train.train_pipeline, 'test': test.test_pipeline}[kind](str(project_root()))
    except (CheckpointError, OptionError, RunError) as error:
        sys.exit(f'error: {error}')
    except OSError as error:
        if not is_full(error):
            raise
        sys.exit(f'error: {disk_words(error)}')
    if distributed.is_initialized():
        distributed.destroy_process_group()
