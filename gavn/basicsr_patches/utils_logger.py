"""What training shows of itself: a bar on a terminal, lines in the log."""
from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from basicsr.utils import logger as stock
from basicsr.utils.dist_util import get_dist_info
from torch import Tensor, nn
from tqdm import tqdm

from gavn.basicsr_patches.utils_options import DEBUG


def wanted() -> bool:
    """Whether to draw a bar: on a terminal, in the first process, unless GAVN_PROGRESS is 0."""
    return sys.stderr.isatty() and get_dist_info()[0] == 0 and os.environ.get('GAVN_PROGRESS') != '0'


class _AboveTheBar:
    """A stream for log handlers whose lines leave the bar whole."""

    def write(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr, end='')

    def flush(self) -> None:
        sys.stderr.flush()


class Progress:
    """A bar with iteration, time left and the last loss that was logged; silent where none is wanted."""

    def __init__(self, done: int, total: int, logger: logging.Logger) -> None:
        self.bar = tqdm(total=total, initial=done, unit='it', dynamic_ncols=True, disable=not wanted())
        if not self.bar.disable:
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setStream(_AboveTheBar())

    def reach(self, done: int) -> None:
        """Moves the bar to so many finished iterations; at the last one it is closed."""
        self.bar.update(done - self.bar.n)
        if done >= self.bar.total:
            self.bar.close()

    def show(self, values: dict[str, float]) -> None:
        """Shows losses beside the bar."""
        self.bar.set_postfix({k: f'{v:.3e}' for k, v in values.items() if k.startswith('l_')}, refresh=False)


class Percent(float):
    """A share that log lines show as `0.4 %`: the stock logger writes every value as 4.0000e-01."""

    def __format__(self, form: str) -> str:
        return f'{float(self):.1f} %'


class Waiting:
    """How much of the time of training goes by while the loop has no batch to work on.

    The clock runs from the first call of `counted` to that of `share`, so that saving and validation after a
    log line do not count as training.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.since: float | None = None
        self.seconds = 0.0

    @contextmanager
    def counted(self, busy: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Counts the time that what it encloses takes, unless the device is still `busy` after it."""
        start = self.clock()
        self.since = start if self.since is None else self.since
        yield
        if not busy():
            self.seconds += self.clock() - start

    def share(self) -> Percent:
        """Percent of the time since the last call; begins anew."""
        passed = 0.0 if self.since is None else self.clock() - self.since
        share = Percent(100 * self.seconds / passed if passed else 0.0)
        self.since, self.seconds = None, 0.0
        return share


class MessageLogger(stock.MessageLogger):
    """The log line of every `print_freq` iterations, with the bar told of it.

    Stock counts one iteration too few ahead: the last line's time left is "-1 day, 23:59:59". The line and
    tensorboard also have `wait`, the percentage of `waiting`, which is the first process's, and `grad_norm`,
    before clipping where the model clips; tensorboard has the learning rates too.
    """

    def __init__(self, opt: dict[str, Any], start_iter: int, tb_logger: Any, progress: Progress,
                 waiting: Waiting, gradients: Callable[[], Iterator[Tensor]] = lambda: iter(())) -> None:
        super().__init__(opt, start_iter, tb_logger)
        self.max_iters += 1
        self.progress, self.waiting, self.gradients = progress, waiting, gradients
        if not self.exp_name.startswith(DEBUG):
            self.exp_name = self.exp_name.replace('debug', 'de_bug')  # stock keeps such names off tensorboard

    def __call__(self, log_vars: dict[str, Any]) -> None:
        """Logs a line; `log_vars` is emptied of what stands at its beginning."""
        log_vars['wait'] = self.waiting.share()
        if 'grad_norm' not in log_vars and (gradients := list(self.gradients())):
            log_vars['grad_norm'] = nn.utils.get_total_norm(gradients).item()
        if self.tb_logger is not None and self.use_tb_logger:
            for number, lr in enumerate(log_vars['lrs']):
                self.tb_logger.add_scalar(f'lr/{number}' if number else 'lr', lr, log_vars['iter'])
        super().__call__(log_vars)
        self.progress.show(log_vars)


def init_tb_loggers(opt: dict[str, Any]) -> Any:
    """Tensorboard's writer if wanted, with wandb listening if asked for; none in debug mode.

    Stock takes any name with 'debug' in it for debug mode.
    """
    if opt['name'].startswith(DEBUG) or not opt['logger'].get('use_tb_logger'):
        return None
    if (opt['logger'].get('wandb') or {}).get('project'):
        init_wandb_logger(opt)
    return stock.init_tb_logger(log_dir=os.path.join(opt['root_path'], 'tb_logger', opt['name']))


@stock.master_only
def init_wandb_logger(opt: dict[str, Any]) -> None:
    """Starts wandb, which reads what tensorboard is told; stock calls a function that wandb has dropped."""
    import wandb

    settings = opt['logger']['wandb']
    resume_id = settings.get('resume_id')
    wandb.init(project=settings['project'], id=resume_id, resume='allow' if resume_id else None,
               name=opt['name'], config=opt, sync_tensorboard=True)
