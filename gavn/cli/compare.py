"""`python scripts/compare.py`: trains and tests several methods at an equal budget and writes tables.

Every method is trained with `gavn/train.py` and tested with `gavn/test.py`, each in a process of its own.
The option files are generated from those of a folder. Rerun the same command to resume.
"""
from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from basicsr.utils import get_root_logger

from gavn import archs, data, metrics, models  # noqa: F401  (importing registers)
from gavn.checkpoints.checkpoint import CheckpointError
from gavn.config.option_file import OptionError
from gavn.errors import RunError
from gavn.experiments.compare.run import compare
from gavn.experiments.compare.seeds import write_table
from gavn.experiments.compare.settings import Budget, CompareError, Settings
from gavn.runtime.arguments import OldName, Parser, whole
from gavn.runtime.executors import Executor, add_executor_arguments
from gavn.runtime.project import PACKAGE, project_root

TRAINER = sys.executable, str(PACKAGE / 'train.py')
TESTER = sys.executable, str(PACKAGE / 'test.py')
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # as gavn.cli
OPTIONS = Path('options') if (project_root() / 'options').is_dir() else PACKAGE / 'options'
PRESETS = OPTIONS / 'presets'
_EXPERIMENTS = project_root() / 'experiments'
TIMED_ON_GPU = 40  # iterations that are timed on a GPU


def main(argv: Sequence[str] | None = None, trainer: Sequence[str] = TRAINER, tester: Sequence[str] = TESTER
         ) -> int:
    """Runs the command line; returns the exit code, 1 if a method failed."""
    args = _parser().parse_args(argv)
    get_root_logger(log_level=logging.WARNING)  # the logs of jobs have the details
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        executor = Executor.from_arguments(args, args.jobs) if args.executor else None
        comparisons = _comparisons(args)
        done = [compare(settings, trainer, tester, args.fresh, executor, args.report)
                for settings in comparisons]
        if args.seeds and (table := write_table(comparisons)):
            print(table.read_text(encoding='utf-8'))
        return OK if all(done) else FAILED
    except (CheckpointError, CompareError, OptionError, RunError) as error:
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print('\ninterrupted: rerun the same command to resume', file=sys.stderr)
        return INTERRUPTED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _comparisons(args: argparse.Namespace) -> list[Settings]:
    """Returns the settings of each task and seed, each with a folder of its own."""
    tasks, seeds = dict.fromkeys(args.task), dict.fromkeys(args.seeds or [None])
    if len(tasks) == 1 and not args.seeds:
        return [_settings(args, args.task[0], None, args.out or _EXPERIMENTS / f'compare_{args.task[0]}')]
    folder = args.out or _EXPERIMENTS / 'compare'
    return [_settings(args, task, seed, folder / (task if seed is None else f'{task}_seed{seed}'))
            for task in tasks for seed in seeds]


def _settings(args: argparse.Namespace, task: str, seed: int | None, out: Path) -> Settings:
    """Returns the settings. Raises CompareError if the device or the budget is invalid."""
    root = project_root()
    gpus = _gpus(args.device)
    overlays, detector_overlays = _overlays(args, task)
    return Settings(
        data=args.data.absolute(), task=task, methods=tuple(dict.fromkeys(args.methods)),
        options=args.options or OPTIONS, overlays=overlays, detector_overlays=detector_overlays,
        budget=Budget.parse(args.budget), out=out.absolute(), root=root, jobs=args.jobs,
        threads=args.threads or _threads(args), gpus=gpus,
        amp=args.amp, workers=args.workers, detectors=args.detectors, audio_controls=args.audio_controls,
        images=args.images, frames=args.frames, seed=seed, timed=TIMED_ON_GPU if gpus else Settings.timed)


def _threads(args: argparse.Namespace) -> int:
    if args.executor in ('slurm', 'ray'):
        return args.cpus_per_task
    return max(1, (os.cpu_count() or 1) // args.jobs)


def _overlays(args: argparse.Namespace, task: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is laid over option files of methods, and over that of the landmark detector."""
    if args.overlays is not None or args.options is not None:
        given = tuple(args.overlays or ())
        return given, given
    of_task = PRESETS / f'small_{task}.yml'
    return (of_task if of_task.is_file() else PRESETS / 'small.yml',), (PRESETS / 'small_pfld.yml',)


def _gpus(device: str) -> tuple[str, ...]:
    """Returns the GPUs to use, as in CUDA_VISIBLE_DEVICES; none for the CPU."""
    kind, _, index = device.partition(':')
    if kind not in ('auto', 'cpu', 'cuda') or (index and not (kind == 'cuda' and index.isdigit())):
        raise CompareError(f'device {device!r} is not one of auto, cpu, cuda, cuda:1 ...')
    if kind == 'cpu':
        return ()
    count = torch.cuda.device_count()
    names = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    available = tuple(names or map(str, range(count)))[:count]
    if kind == 'cuda' and int(index or 0) >= count:
        raise CompareError(f'device {device} does not exist: this machine has {count} GPUs')
    return (available[int(index)],) if index else available


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog='compare', description='Trains and tests several methods at an equal budget and writes tables. '
                                    'Rerun the same command to resume.')
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='a prepared data set')
    parser.add_argument('--task', required=True, nargs='+', metavar='TASK',
                        help='car, deblur or sr: suffix of the option file names; several make a comparison '
                             'each')
    parser.add_argument('--methods', nargs='+', required=True, metavar='NAME',
                        help='train_NAME_TASK.yml and test_NAME_TASK.yml are in the folder of options; '
                             'gavn_wo_if: with its overlay ablations/wo_if.yml')
    parser.add_argument('--options', type=Path, metavar='DIR',
                        help='folder of option files (default options)')
    parser.add_argument('--with', dest='overlays', type=Path, nargs='*', metavar='FILE.yml',
                        help='lay option files over them (default: those of small runs, '
                             'options/presets/small*.yml, unless --options is given; none: full size)')
    parser.add_argument('--budget', required=True, metavar='N',
                        help='15min: minutes of training; 4000it: the clips that the first method sees in '
                             '4000 iterations')
    parser.add_argument('--seeds', type=whole(0), nargs='+', metavar='N',
                        help='a comparison with each seed, and a table of their means and deviations')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='(default experiments/compare_TASK, or with several tasks or with seeds '
                             'experiments/compare, with a folder for each)')
    parser.add_argument('--jobs', type=whole(1), default=1, metavar='N',
                        help='parallel processes, also on one GPU (default 1)')
    parser.add_argument('--threads', type=whole(1), metavar='N', help='per process (default: cores / jobs)')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1')
    parser.add_argument('--amp', choices=['bf16', 'none'], help='precision of training')
    parser.add_argument('--workers', type=whole(0), metavar='N',
                        help='data loader processes per training')
    parser.add_argument('--detectors', action='store_true', help='train the landmark detector first')
    parser.add_argument('--audio-controls', action='store_true',
                        help='also test with silence and with other voices')
    parser.add_argument('--images', action='store_true', help='keep the restored frames, for figures')
    parser.add_argument('--pictures', dest='images', action=OldName, nargs=0, default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)
    parser.add_argument('--frames', type=whole(1), metavar='N',
                        help='frames per clip to test (default: all)')
    parser.add_argument('--fresh', nargs='*', metavar='NAME',
                        help='restart these methods; without a name, all')
    parser.add_argument('--report', action='store_true', help='run nothing: tables from what is finished')
    add_executor_arguments(parser, default=None)
    return parser


if __name__ == '__main__':
    sys.exit(main())
