"""The run itself: tests, benchmark and unpacking side by side, then a training with the time that is left.

The training has two legs, so that its cosine ends on time: the first one tells the rate, the second one is as
long as time allows.
"""
from __future__ import annotations

import copy
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gavn.checkpoints import pretrained
from gavn.checkpoints.checkpoint import load_state
from gavn.config.option_file import read_options, write_options
from gavn.experiments.compare.calibration import iteration_ends
from gavn.experiments.gpu_run import batches
from gavn.experiments.gpu_run.steps import Steps

ROOT = Path(__file__).resolve().parents[3]
_FIRST_LEG = 20.0  # seconds
_BUNDLING = 15.0  # seconds to bundle and collect
_GOALS = ('EDVR-M', 'BasicVSR++', 'GAVN-64')  # networks that the benchmark's goals compare
_PYTHON = sys.executable
SAFETY = 0.95  # of the iterations that would fit
_LEAST = 10  # iterations of a leg
_REPORTS = 10  # lines of the log a leg
Options = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        packed: a file of `gavn.data.portable`.
        options: the option file of the training.
        out: where results go.
        budget: seconds in all.
        reserve: seconds of it that are kept for validation and bundling.
        step: seconds for the tests, and for the benchmark.
        workers: processes that unpack.
        batches: sizes to choose from.
    """

    packed: Path
    options: Path
    out: Path
    budget: float = 570.0
    reserve: float = 40.0
    step: float = 60.0
    workers: int = 16
    batches: tuple[int, ...] = (8, 16, 32, 64)


def run(settings: Settings) -> bool:
    """Runs every step; returns whether there are weights. `summary.md` in `out` says how each ended."""
    settings.out.mkdir(parents=True, exist_ok=True)
    options, _ = read_options(settings.options)
    with tempfile.TemporaryDirectory(dir=_roomy_folder()) as folder:
        work = Path(folder)
        steps = Steps(ROOT, work / 'logs', settings.budget, {
            'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1',
            'PYTHONPATH': ':'.join([str(ROOT), *filter(None, sys.path)])})
        named = [section['degradation'] for section in options['datasets'].values()]
        layers = sorted({layer for one in named for layer in ([one] if isinstance(one, str) else one)})
        unpacking = steps.start('unpack', (_PYTHON, 'scripts/gpu/pack.py', 'unpack', str(settings.packed),
                                           str(work / 'data'), '--workers', str(settings.workers),
                                           '--degradations', *layers))
        _measure(steps, settings)
        rate = _choose_batch(steps, settings, options)
        steps.finish('unpack', unpacking, steps.left)
        _train(steps, settings, options, work, rate)
        weights = _bundle(steps, settings, work)
        _collect(steps, settings.out, work)
    return weights


def _roomy_folder() -> str | None:
    """Memory, where it has room for raw frames; else the usual place of temporary files."""
    memory = Path('/dev/shm')
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 40 * 2**30 else None


def _measure(steps: Steps, settings: Settings) -> None:
    steps.run('tests', (_PYTHON, '-m', 'pytest', 'tests/gpu', '-q', '-p', 'no:cacheprovider'), settings.step)
    steps.run('bench', (_PYTHON, '-m', 'gavn.cli', 'bench', '--quick', '--networks', *_GOALS, '-o',
                        str(steps.logs / 'bench')), settings.step)


def _choose_batch(steps: Steps, settings: Settings, options: dict[str, Any]) -> batches.Rate | None:
    """The batch size and the operator of the training, if there was time to time any."""
    crop = str(options['datasets']['train']['crop_size'])
    timing = steps.run('batches', (_PYTHON, '-m', batches.__name__, str(settings.options), crop,
                                   *map(str, settings.batches)), settings.step)
    chosen = batches.choose(batches.read_rates(timing.lines()))
    steps.report(f'training takes {chosen or "the batch of its option file"}')
    return chosen


def _train(steps: Steps, settings: Settings, options: dict[str, Any], work: Path, rate: batches.Rate | None
           ) -> None:
    """Two legs of one training; the second one's length follows from the first one's log."""
    detector = work / 'net_l.pth'
    torch.save({'params': load_state(pretrained.weights_of('mixed'), 'network_l')}, detector)
    options = placed(options, work / 'data', work / 'experiments', detector,
                     None if rate is None else rate.batch)
    if rate and rate.backend:
        steps.environment = {**steps.environment, 'GAVN_DCN_BACKEND': rate.backend}
    done = leg_length(None if rate is None else rate.windows / rate.batch, _FIRST_LEG)
    first = _leg(steps, work, first_leg(options, done), 'train_start', steps.left)
    speed = measured_rate(first.lines())
    starting = first.seconds - (done / speed if speed else 0)  # seconds before its first step
    rest = leg_length(speed, steps.left - settings.reserve - starting)
    _leg(steps, work, second_leg(options, done, rest), 'train', steps.left - _BUNDLING)


def _leg(steps: Steps, work: Path, options: dict[str, Any], name: str, seconds: float) -> Any:
    file = work / 'train.yml'
    file.write_text(write_options(options), encoding='utf-8')
    return steps.run(name, (_PYTHON, 'gavn/train.py', '-opt', str(file), '--auto_resume'), seconds)


def _bundle(steps: Steps, settings: Settings, work: Path) -> bool:
    """Bundles the newest weights in 16 bits, also of a training that did not reach its end."""
    found = max(work.glob('experiments/*/models'), default=None)
    newest = found and newest_checkpoint(found)
    if not newest:
        return False
    target = settings.out / 'weights.safetensors'
    steps.run('bundle', (_PYTHON, '-m', 'gavn.cli', 'bundle', '-opt', str(work / 'train.yml'), '--weights',
                         str(newest), '--half', '--force', '-o', str(target)), steps.left)
    return target.is_file()


def _collect(steps: Steps, out: Path, work: Path) -> None:
    """Few files: the summary, the options, and an archive of logs, benchmark and validation tables."""
    for table in work.glob('experiments/*/metrics'):
        shutil.copytree(table, steps.logs / 'metrics', dirs_exist_ok=True)
    if (work / 'train.yml').is_file():
        shutil.copy(work / 'train.yml', out)
    shutil.make_archive(str(out / 'logs'), 'zip', steps.logs)
    lines = ['| step | ended | seconds | last line |', '|---|---|---|---|', *map(str, steps.outcomes)]
    (out / 'summary.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')


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
