"""Measures seconds per iteration of every method by a short training under the load of the comparison."""
from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gavn.config.option_file import write_options
from gavn.experiments.compare.experiments import Method
from gavn.experiments.compare.jobs import Environment, Process
from gavn.experiments.compare.settings import CompareSettings

_REPORT = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO: .*\biter:\s*([\d,]+),')
_ENDLESS = 10 ** 8  # iterations of the last phase, which keeps the machine busy until all others are timed
_UNTIMED = 0.25  # share of a phase's iterations for warm-up
_PAUSE = 0.2
_NO_MATTER = {'name', 'iters', 'lr', 'lr_end'}  # keys without influence on the time of an iteration

def kinds_of_phases(method: Method) -> list[int]:
    """For each phase, the index of the first one that trains the same modules; only that one is timed."""
    seen: dict[str, int] = {}
    kinds = []
    for i, phase in enumerate(method.train['train']['phases']):
        kind = {key: value for key, value in phase.items() if value and key not in _NO_MATTER}
        kinds.append(seen.setdefault(json.dumps(kind, sort_keys=True), i))
    return kinds


def timed_options(method: Method, settings: CompareSettings) -> dict[str, Any]:
    """Options of the timed training: each kind of phase once, with a report of every iteration."""
    options = copy.deepcopy(method.train)
    phases = [{**options['train']['phases'][i], 'iters': settings.timed}
              for i in sorted(set(kinds_of_phases(method)))]
    phases[-1]['iters'] = _ENDLESS
    options['train']['phases'] = phases
    options['name'] = method.token
    options['path']['experiments_root'] = settings.relative_path(_folder(settings))
    options['logger'] |= {'print_freq': 1, 'save_checkpoint_freq': _ENDLESS, 'use_tb_logger': False}
    options.pop('val', None)
    options['datasets'] = {'train': options['datasets']['train']}
    return options


def seconds_per_iteration(method: Method, lines: Sequence[str], timed: int) -> list[float] | None:
    """Seconds per iteration of each phase, from the log; None before its end."""
    kinds, ends = kinds_of_phases(method), iteration_ends(lines)
    timed_kinds = sorted(set(kinds))
    first = max(1, round(timed * _UNTIMED))
    if len(timed_kinds) * timed not in ends:
        return None
    seconds = {kind: (ends[(place + 1) * timed] - ends[place * timed + first]) / (timed - first)
               for place, kind in enumerate(timed_kinds)}
    return [seconds[kind] for kind in kinds]


def _folder(settings: CompareSettings) -> Path:
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


def calibrate(wanted: Sequence[Method], methods: Sequence[Method], settings: CompareSettings,
              trainer: Sequence[str], environment: Environment, lock: int | None = None
              ) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Measures seconds per iteration of each wanted method in each phase.

    Methods train briefly by the command `trainer` (with `-opt FILE`), in groups of `settings.jobs`. Every
    member of a group runs until all are timed, so that the load is that of the comparison.

    Returns:
        Seconds by method and phase, or why a method could not be timed.
    """
    seconds: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for group in groups(wanted, methods, settings.jobs):
        print(f'timing {", ".join(method.token for method in group)}')
        with _running(group, settings, trainer, environment, lock) as processes:
            for token, result in _wait(processes, settings.timed).items():
                if isinstance(result, str):
                    failed[token] = result
                else:
                    seconds.setdefault(token, result)  # the first timing counts
    shutil.rmtree(_folder(settings), ignore_errors=True)
    return seconds, failed


@contextlib.contextmanager
def _running(methods: Sequence[Method], settings: CompareSettings, trainer: Sequence[str],
             environment: Environment, lock: int | None) -> Iterator[Mapping[str, tuple[Method, Process]]]:
    """The processes of a group, which end with the block."""
    folder = _folder(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processes: dict[str, tuple[Method, Process]] = {}
    try:
        for slot, method in enumerate(methods):
            file = folder / f'{method.token}.yml'
            file.write_text(write_options(timed_options(method, settings)), encoding='utf-8')
            log = settings.out / 'logs' / f'timing_{method.token}.log'
            processes[method.token] = method, Process((*trainer, '-opt', str(file)), log, environment(slot),
                                                      settings.root, lock)
        yield processes
    finally:
        for _, process in processes.values():
            process.stop()


def _wait(processes: Mapping[str, tuple[Method, Process]], timed: int) -> dict[str, list[float] | str]:
    """Seconds per iteration of each phase by token, or why the training ended early."""
    found: dict[str, list[float] | str] = {}
    while len(found) < len(processes):
        time.sleep(_PAUSE)
        for token, (method, process) in processes.items():
            ended = process.poll() is not None
            if (seconds := seconds_per_iteration(method, process.lines(), timed)) is not None:
                found[token] = seconds
            elif ended:
                found[token] = process.failure_reason()
    return found
