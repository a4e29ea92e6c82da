"""A training whose cosine ends on time: a first leg tells the rate, the second is as long as time allows."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gavn.experiments.compare.calibration import iteration_ends

SAFETY = 0.95  # of the iterations that would fit
_LEAST = 10  # iterations of a leg
_REPORTS = 10  # lines of the log a leg

Options = dict[str, Any]


def placed(options: Options, data: Path, experiments: Path, detector: Path, batch: int | None) -> Options:
    """Options with the folders and the batch size of this run."""
    options = copy.deepcopy(options)
    for section in options['datasets'].values():
        section['root'] = str(data)
    if batch:
        options['datasets']['train']['batch_size_per_gpu'] = batch
    options.setdefault('path', {}).update(experiments_root=str(experiments), pretrain_network_l=str(detector))
    return options


def first_leg(options: Options, iterations: int) -> Options:
    """A training at the full learning rate, which ends without a validation."""
    options = copy.deepcopy(options)
    lr = options['train']['phases'][0]['lr']
    options['train']['phases'] = [{'name': 'start', 'iters': iterations, 'lr': lr}]
    options['datasets'] = {'train': options['datasets']['train']}
    options.pop('val', None)
    return _logged(options, iterations)


def second_leg(options: Options, done: int, iterations: int) -> Options:
    """The rest: as many iterations again, along a cosine, then the validation."""
    options = copy.deepcopy(options)
    first, last = options['train']['phases'][0], options['train']['phases'][-1]
    options['train']['phases'] = [{'name': 'start', 'iters': done, 'lr': first['lr']},
                                  {**last, 'iters': iterations}]
    options['val']['val_freq'] = done + iterations + 1  # BasicSR saves, then validates at the end
    return _logged(options, iterations)


def _logged(options: Options, iterations: int) -> Options:
    every = max(1, iterations // _REPORTS)
    options['logger'] |= {'print_freq': every, 'save_checkpoint_freq': every, 'use_tb_logger': False}
    return options


def leg_length(rate: float | None, seconds: float) -> int:
    """Iterations that fit into so many seconds, with some to spare."""
    return max(_LEAST, int(SAFETY * (rate or 0) * seconds))


def measured_rate(lines: Sequence[str]) -> float | None:
    """Iterations a second between the first and the last line of a training's log; None for fewer."""
    ends = sorted(iteration_ends(lines).items())
    if len(ends) < 2 or ends[-1][1] <= ends[0][1]:
        return None
    return (ends[-1][0] - ends[0][0]) / (ends[-1][1] - ends[0][1])


def newest_checkpoint(models: Path) -> Path | None:
    """The network that was written last."""
    return max(models.glob('net_g_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
