"""A timed run on a GPU: tests and benchmark while data are unpacked, then a training in the time left.

The training has two parts, so that its cosine ends on time: the first measures the rate, the second one is as
long as time allows.
"""
from __future__ import annotations

import copy
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gavn.checkpoints import pretrained
from gavn.checkpoints.checkpoint import load_state
from gavn.config.option_file import read_options, write_options
from gavn.experiments.bench import batches
from gavn.experiments.bench.batches import Rate
from gavn.experiments.compare.calibration import iteration_ends
from gavn.experiments.compare.jobs import Process

ROOT = Path(__file__).resolve().parents[2]
SAFETY = 0.95  # of the iterations that would fit
_FIRST_PART, _BUNDLING = 20.0, 15.0  # seconds; the second one to bundle and collect
_GOALS = ('EDVR-M', 'BasicVSR++', 'GAVN-64')  # networks that the benchmark's goals compare
_LEAST, _REPORTS = 10, 10  # iterations, and lines in the log, of a part
_PAUSE = 0.2
_MODULE = (sys.executable, '-m')
Options = dict[str, Any]


class Steps:
    """Commands under one deadline: each has a log, and none of them ends the run.

    `outcomes` has a Markdown table's row for each: name, `ok` or the reason, seconds, last line of its log.
    """

    def __init__(self, root: Path, logs: Path, budget: float, environment: Mapping[str, str]) -> None:
        self.root, self.logs, self.environment = root, logs, {**os.environ, **environment}
        self.outcomes: list[str] = []
        self._end = time.monotonic() + budget

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self._end - time.monotonic()

    def start(self, name: str, *command: object) -> Process:
        """Starts a command beside others."""
        return Process([*map(str, command)], self.logs / f'{name}.log', self.environment, self.root)

    def finish(self, name: str, process: Process, seconds: float) -> Process:
        """Waits for a process, at most so many more seconds and never past the budget, and ends it."""
        until = min(time.monotonic() + seconds, self._end)
        while (code := process.poll()) is None and time.monotonic() < until:
            time.sleep(_PAUSE)
        process.stop()
        last = next((line for line in reversed(process.lines()) if line.strip()), '').strip()
        state = 'ok' if code == 0 else 'out of time' if code is None else f'failed ({code})'
        self.outcomes.append(f'| {name} | {state} | {process.seconds:.0f} | {last[:200].replace("|", "/")} |')
        print(self.outcomes[-1], flush=True)
        return process

    def run(self, name: str, seconds: float, *command: object) -> Process:
        """Starts a command and waits for it."""
        return self.finish(name, self.start(name, *command), seconds)


@dataclass(frozen=True)
class GPURun:
    """What to run on a GPU."""

    packed: Path  # a file of `gavn.data.portable`
    option_file: Path  # of the training
    out: Path  # where results go
    budget: float = 570.0  # seconds in all
    reserve: float = 40.0  # seconds of it for validation and bundling
    step: float = 60.0  # seconds for the tests, for the benchmark and to choose the batch
    workers: int = 16  # processes that unpack
    batches: Sequence[int] = (8, 16, 32, 64)  # sizes to choose from

    def run(self) -> bool:
        """Runs every step; returns whether there are weights. `summary.md` in `out` says how each ended."""
        self.out.mkdir(parents=True, exist_ok=True)
        options, _ = read_options(self.option_file)
        with tempfile.TemporaryDirectory(dir=_roomy_folder()) as folder:
            work = Path(folder)
            steps = Steps(ROOT, work / 'logs', self.budget, {
                'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1',
                'PYTHONPATH': ':'.join([str(ROOT), *filter(None, sys.path)])})
            unpacking = steps.start(
                'unpack', sys.executable, 'scripts/gpu/portable_data.py', 'unpack', self.packed,
                work / 'data', '--workers', self.workers, '--degradations', *_layers(options))
            rate = self._measure(steps, options['datasets']['train']['crop_size'])
            steps.finish('unpack', unpacking, steps.left)
            self._train(steps, placed(options, work, rate.batch if rate else None), work / 'train.yml', rate)
            self._collect(steps, work)
        return (self.out / 'weights.safetensors').is_file()

    def _measure(self, steps: Steps, crop: int) -> Rate | None:
        """Tests and benchmark; then batch and operator of the training, if there was time to time any."""
        steps.run('tests', self.step, *_MODULE, 'pytest', 'tests/gpu', '-q', '-p', 'no:cacheprovider')
        steps.run('bench', self.step, *_MODULE, 'gavn.cli', 'bench', '--quick', '--networks', *_GOALS,
                  '-o', steps.logs / 'bench')
        timing = steps.run('batches', self.step, *_MODULE, batches.__name__, self.option_file, crop,
                           *self.batches)
        chosen = batches.choose(timing.lines())
        print(f'training takes {chosen or "the batch of its option file"}')
        return chosen

    def _train(self, steps: Steps, options: Options, file: Path, rate: Rate | None) -> None:
        """Two parts of one training; the second one's length follows from the first one's log."""
        def train(name: str, options: Options, seconds: float) -> Process:
            file.write_text(write_options(options), encoding='utf-8')
            return steps.run(name, seconds, sys.executable, 'gavn/train.py', '-opt', file, '--auto_resume')

        if rate and rate.backend:
            steps.environment['GAVN_DCN_BACKEND'] = rate.backend
        done = part_length(rate.windows / rate.batch if rate else None, _FIRST_PART)
        first = train('train_start', training_part(options, done), steps.left)
        speed = measured_rate(first.lines())
        starting = first.seconds - (done / speed if speed else 0)  # seconds before its first step
        rest = part_length(speed, steps.left - self.reserve - starting)
        train('train', training_part(options, done, rest), steps.left - _BUNDLING)

    def _collect(self, steps: Steps, work: Path) -> None:
        """Few files: weights in 16 bits, the options, the summary, and an archive of logs and tables."""
        if newest := newest_checkpoint(work / 'experiments'):  # also of a training that did not reach its end
            steps.run('bundle', steps.left, *_MODULE, 'gavn.cli', 'bundle', '-opt', work / 'train.yml',
                      '--weights', newest, '--half', '--force', '-o', self.out / 'weights.safetensors')
        for table in work.glob('experiments/*/metrics'):
            shutil.copytree(table, steps.logs / 'metrics', dirs_exist_ok=True)
        shutil.copy(work / 'train.yml', self.out)
        shutil.make_archive(str(self.out / 'logs'), 'zip', steps.logs)
        summary = ['| step | ended | seconds | last line |', '|---|---|---|---|', *steps.outcomes, '']
        (self.out / 'summary.md').write_text('\n'.join(summary), encoding='utf-8')


def _roomy_folder() -> str | None:
    """Memory, where it has room for raw frames; else the usual place of temporary files."""
    memory = Path('/dev/shm')
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 40 * 2**30 else None


def _layers(options: Options) -> list[str]:
    named = [section['degradation'] for section in options['datasets'].values()]
    return sorted({layer for names in named for layer in ([names] if isinstance(names, str) else names)})


def placed(options: Options, work: Path, batch: int | None) -> Options:
    """Options with the folders, the landmark detector and the batch size of this run."""
    options, detector = copy.deepcopy(options), work / 'net_l.pth'
    torch.save({'params': load_state(pretrained.weights_of('mixed'), 'network_l')}, detector)
    for section in options['datasets'].values():
        section['root'] = str(work / 'data')
    if batch:
        options['datasets']['train']['batch_size_per_gpu'] = batch
    options.setdefault('path', {}).update(experiments_root=str(work / 'experiments'),
                                          pretrain_network_l=str(detector))
    return options


def training_part(options: Options, done: int, rest: int = 0) -> Options:
    """A training of `done` iterations at the full learning rate, then of `rest` along a cosine.

    It ends with the validation, but without one if there is no rest.
    """
    options = copy.deepcopy(options)
    first, last = options['train']['phases'][0], options['train']['phases'][-1]
    options['train']['phases'] = [{'name': 'start', 'iters': done, 'lr': first['lr']}]
    if rest:
        options['train']['phases'].append({**last, 'iters': rest})
        options['val']['val_freq'] = done + rest + 1  # BasicSR saves, then validates at the end
    else:
        options['datasets'] = {'train': options['datasets']['train']}
        options.pop('val', None)
    every = max(1, (rest or done) // _REPORTS)
    options['logger'] |= {'print_freq': every, 'save_checkpoint_freq': every, 'use_tb_logger': False}
    return options


def part_length(rate: float | None, seconds: float) -> int:
    """Iterations that fit into so many seconds, with some to spare."""
    return max(_LEAST, int(SAFETY * (rate or 0) * seconds))


def measured_rate(lines: Sequence[str]) -> float | None:
    """Iterations a second between the first and the last line of a training's log; None for fewer."""
    ends = sorted(iteration_ends(lines).items())
    seconds = ends[-1][1] - ends[0][1] if ends else 0
    return (ends[-1][0] - ends[0][0]) / seconds if seconds > 0 else None


def newest_checkpoint(experiments: Path) -> Path | None:
    """The network that was written last."""
    return max(experiments.glob('*/models/net_g_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
