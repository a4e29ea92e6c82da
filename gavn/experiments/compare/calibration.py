"""Measures seconds per iteration of every method by a short training under the load of the comparison."""
from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gavn.config.option_file import write_options
from gavn.experiments.compare.experiments import Method
from gavn.experiments.compare.jobs import Environment, Process
from gavn.experiments.compare.settings import Settings

_REPORT = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO: .*\biter:\s*([\d,]+),')
_ENDLESS = 10 ** 8  # iterations of the last phase, which keeps the machine busy until all others are timed
_UNTIMED = 0.25  # share of a phase's iterations for warm-up
_PAUSE = 0.2
_NO_MATTER = {'name', 'iters', 'lr', 'lr_end'}  # keys without influence on the time of an iteration

Trainer = Sequence[str]
"""The training command, to which `-opt FILE` is added."""


@dataclass(frozen=True)
class Timing:
    """Timing of one method: its kinds of phases, and the kind of each phase."""

    method: Method
    kinds: tuple[int, ...]
    of_phase: tuple[int, ...]

    @classmethod
    def of(cls, method: Method) -> Timing:
        """Groups phases that train the same modules, of which only the first is timed."""
        seen: dict[str, int] = {}
        of_phase = []
        phases = method.train['train']['phases']
        for phase in phases:
            kind = {key: value for key, value in phase.items() if value and key not in _NO_MATTER}
            of_phase.append(seen.setdefault(json.dumps(kind, sort_keys=True), len(seen)))
        return cls(method, tuple(of_phase.index(i) for i in range(len(seen))), tuple(of_phase))

    def options(self, settings: Settings) -> dict[str, Any]:
        """Options of the timed training: each kind of phase once, with a report of every iteration."""
        options = copy.deepcopy(self.method.train)
        phases = [{**options['train']['phases'][i], 'iters': settings.timed} for i in self.kinds]
        phases[-1]['iters'] = _ENDLESS
        options['train']['phases'] = phases
        options['name'] = self.method.token
        options['path']['experiments_root'] = settings.relative_path(_folder(settings))
        options['logger'] |= {'print_freq': 1, 'save_checkpoint_freq': _ENDLESS, 'use_tb_logger': False}
        options.pop('val', None)
        options['datasets'] = {'train': options['datasets']['train']}
        return options

    def read(self, lines: Sequence[str], timed: int) -> list[float] | None:
        """Seconds per iteration of each phase, from the log; None before its end."""
        ends = iteration_ends(lines)
        first = max(1, round(timed * _UNTIMED))
        if len(self.kinds) * timed not in ends:
            return None
        spans = [(ends[i * timed + first], ends[(i + 1) * timed]) for i in range(len(self.kinds))]
        seconds = [(end - start) / (timed - first) for start, end in spans]
        return [seconds[i] for i in self.of_phase]


def _folder(settings: Settings) -> Path:
    return settings.out / 'calibration'


def iteration_ends(lines: Sequence[str]) -> dict[int, float]:
    """End times of iterations, in seconds."""
    matches = filter(None, map(_REPORT.match, lines))
    return {int(match[2].replace(',', '')): datetime.strptime(match[1], '%Y-%m-%d %H:%M:%S,%f').timestamp()
            for match in matches}


def groups(wanted: Sequence[Method], methods: Sequence[Method], parallel: int) -> list[tuple[Method, ...]]:
    """Groups of methods to time in parallel. The last group is filled up with others."""
    parallel = min(parallel, len(methods))
    found = [tuple(wanted[i:i + parallel]) for i in range(0, len(wanted), parallel)]
    others = [method for method in methods if method not in found[-1]]
    return [*found[:-1], (*found[-1], *others[:parallel - len(found[-1])])]


def calibrate(wanted: Sequence[Method], methods: Sequence[Method], settings: Settings, trainer: Trainer,
              environment: Environment, lock: int | None = None, show: Callable[[str], None] = print
              ) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Measures seconds per iteration of each wanted method in each phase.

    Methods train briefly in groups of `settings.jobs`. Every member of a group runs until all are timed, so
    that the load is that of the comparison.

    Returns:
        Seconds by method and phase, or why a method could not be timed.
    """
    seconds: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for group in groups(wanted, methods, settings.jobs):
        show(f'timing {", ".join(method.token for method in group)}')
        timings = [Timing.of(method) for method in group]
        with _running(timings, settings, trainer, environment, lock) as processes:
            for token, result in _wait(processes, settings.timed).items():
                if isinstance(result, str):
                    failed[token] = result
                else:
                    seconds.setdefault(token, result)  # the first timing counts
    shutil.rmtree(_folder(settings), ignore_errors=True)
    return seconds, failed


@contextlib.contextmanager
def _running(timings: Sequence[Timing], settings: Settings, trainer: Trainer, environment: Environment,
             lock: int | None) -> Iterator[Mapping[str, tuple[Timing, Process]]]:
    """The processes of a group, which end with the block."""
    folder = _folder(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processes: dict[str, tuple[Timing, Process]] = {}
    try:
        for slot, timing in enumerate(timings):
            token = timing.method.token
            file = folder / f'{token}.yml'
            file.write_text(write_options(timing.options(settings)), encoding='utf-8')
            log = settings.out / 'logs' / f'timing_{token}.log'
            processes[token] = timing, Process((*trainer, '-opt', str(file)), log, environment(slot),
                                               settings.root, lock)
        yield processes
    finally:
        for _, process in processes.values():
            process.stop()


def _wait(processes: Mapping[str, tuple[Timing, Process]], timed: int) -> dict[str, list[float] | str]:
    """Seconds per iteration of each phase by token, or why the training ended early."""
    found: dict[str, list[float] | str] = {}
    while len(found) < len(processes):
        time.sleep(_PAUSE)
        for token, (timing, process) in processes.items():
            ended = process.poll() is not None
            if (seconds := timing.read(process.lines(), timed)) is not None:
                found[token] = seconds
            elif ended:
                found[token] = process.last_words()
    return found
