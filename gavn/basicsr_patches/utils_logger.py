"""Replacements of basicsr.utils.logger: the log line of training, its progress bar and the loggers' start."""
from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from basicsr.utils import logger as basicsr_logger
from basicsr.utils.dist_util import get_dist_info
from torch import Tensor, nn
from tqdm import tqdm

from gavn.basicsr_patches.utils_options import DEBUG


def shows_progress_bar() -> bool:
    """Whether to draw a bar: on a terminal, in the first process, unless GAVN_PROGRESS is 0."""
    return sys.stderr.isatty() and get_dist_info()[0] == 0 and os.environ.get('GAVN_PROGRESS') != '0'


class _TqdmStream:
    """A stream for log handlers that writes lines above the progress bar."""

    def write(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr, end='')

    def flush(self) -> None:
        sys.stderr.flush()


class ProgressBar:
    """A bar with the iteration, the time left and the last logged losses. Silent without a terminal."""

    def __init__(self, done: int, total: int, logger: logging.Logger) -> None:
        self.bar = tqdm(total=total, initial=done, unit='it', dynamic_ncols=True,
                        disable=not shows_progress_bar())
        if not self.bar.disable:
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setStream(_TqdmStream())

    def update_to(self, done: int) -> None:
        """Moves the bar to the number of finished iterations and closes it at the last one."""
        self.bar.update(done - self.bar.n)
        if done >= (self.bar.total or 0):
            self.bar.close()

    def show_losses(self, values: dict[str, float]) -> None:
        """Shows the losses (`l_*`) of a log line beside the bar."""
        self.bar.set_postfix({k: f'{v:.3e}' for k, v in values.items() if k.startswith('l_')}, refresh=False)


class Percent(float):
    """A percentage that log lines show as `0.4 %`. Basicsr's logger formats every value as 4.0000e-01."""

    def __format__(self, form: str) -> str:
        return f'{float(self):.1f} %'


class DataWaitTimer:
    """Measures the share of training time in which the loop waits for a batch.

    The clock runs from the first `measure` to `percent`. Saving and validation after a log line do not count.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.start: float | None = None
        self.seconds = 0.0

    @contextmanager
    def measure(self, is_busy: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Counts the time of the enclosed block as waiting, unless the device is still busy after it."""
        start = self.clock()
        self.start = start if self.start is None else self.start
        yield
        if not is_busy():
            self.seconds += self.clock() - start

    def percent(self) -> Percent:
        """Percentage of the time since the last call. Resets the timer."""
        elapsed = 0.0 if self.start is None else self.clock() - self.start
        percent = Percent(100 * self.seconds / elapsed if elapsed else 0.0)
        self.start, self.seconds = None, 0.0
        return percent


class MessageLogger(basicsr_logger.MessageLogger):
    """Writes the log line of every `print_freq` iterations and updates the progress bar.

    Defect: basicsr counts one iteration too few, so that the last line's time left is "-1 day, 23:59:59".

    The line and tensorboard also have `wait`, the percentage of `wait_timer` in the first process, and
    `grad_norm`, before clipping where the model clips. Tensorboard also has the learning rates.
    """

    exp_name: str

    def __init__(self, opt: dict[str, Any], start_iter: int, tb_logger: Any, progress: ProgressBar,
                 wait_timer: DataWaitTimer, gradients: Callable[[], Iterator[Tensor]] = lambda: iter(())
                 ) -> None:
        super().__init__(opt, start_iter, tb_logger)
        self.max_iters += 1
        self.progress, self.wait_timer, self.gradients = progress, wait_timer, gradients
        if not self.exp_name.startswith(DEBUG):
            self.exp_name = self.exp_name.replace('debug', 'de_bug')  # basicsr skips tensorboard for 'debug'

    def __call__(self, log_vars: dict[str, Any]) -> None:
        """Logs a line. Removes from `log_vars` what the head of the line shows."""
        log_vars['wait'] = self.wait_timer.percent()
        if 'grad_norm' not in log_vars and (gradients := list(self.gradients())):
            log_vars['grad_norm'] = nn.utils.get_total_norm(gradients).item()
        if self.tb_logger is not None and self.use_tb_logger:
            for number, lr in enumerate(log_vars['lrs']):
                self.tb_logger.add_scalar(f'lr/{number}' if number else 'lr', lr, log_vars['iter'])
        super().__call__(log_vars)
        self.progress.show_losses(log_vars)


def init_tb_loggers(opt: dict[str, Any]) -> Any:
    """Returns tensorboard's writer if the options ask for it, and starts wandb. None in debug mode.

    Defect: basicsr takes every name that contains 'debug' for debug mode.
    """
    if opt['name'].startswith(DEBUG) or not opt['logger'].get('use_tb_logger'):
        return None
    if (opt['logger'].get('wandb') or {}).get('project'):
        init_wandb_logger(opt)
    folder = os.path.join(opt['root_path'], 'tb_logger', opt['name'])
    return basicsr_logger.init_tb_logger(log_dir=folder)


@basicsr_logger.master_only
def init_wandb_logger(opt: dict[str, Any]) -> None:
    """Starts wandb, which copies what tensorboard receives.

    Defect: basicsr calls a function that wandb has removed.
    """
    import wandb

    settings = opt['logger']['wandb']
    resume_id = settings.get('resume_id')
    wandb.init(project=settings['project'], id=resume_id, resume='allow' if resume_id else None,
               name=opt['name'], config=opt, sync_tensorboard=True)
