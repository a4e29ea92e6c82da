"""`gavn compare`: trains and tests several methods at an equal budget and writes tables.

Every method is trained with `gavn/train.py` and tested with `gavn/test.py`, each in a process of its own.
The option files are generated from those of a folder. Rerun the same command to resume.
"""
from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from gavn.errors import ExitCode
from gavn.runtime.arguments import OldName, whole
from gavn.runtime.executors import Executor, add_executor_arguments, check_datatrove
from gavn.runtime.project import PACKAGE

TRAINER = sys.executable, str(PACKAGE / 'train.py')
TESTER = sys.executable, str(PACKAGE / 'test.py')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.description = ('Trains and tests several methods at an equal budget and writes tables. '
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
    parser.add_argument('-o', '--out', type=Path, metavar='DIR',
                        help='(default experiments/compare_TASK, or with several tasks or with seeds '
                             'experiments/compare, with a folder for each)')
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
    _add_resource_arguments(parser)
    parser.set_defaults(run=run)


def _add_resource_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--jobs', type=whole(1), default=1, metavar='N',
                        help='parallel processes, also on one GPU (default 1)')
    parser.add_argument('--threads', type=whole(1), metavar='N', help='per process (default: cores / jobs)')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1')
    parser.add_argument('--amp', choices=['bf16', 'none'], help='precision of training')
    parser.add_argument('--workers', type=whole(0), metavar='N',
                        help='data loader processes per training')
    add_executor_arguments(parser, default=None)


def run(args: argparse.Namespace) -> int:
    """Makes the comparisons; returns 1 if a method failed. Raises MissingPackageError (`--executor`)."""
    if args.executor:
        check_datatrove()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return ExitCode.OK if _compare(args) else ExitCode.FAILED
    except KeyboardInterrupt:
        raise KeyboardInterrupt('interrupted: rerun the same command to resume') from None


def _compare(args: argparse.Namespace) -> bool:
    import logging

    from basicsr.utils import get_root_logger

    from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
    from gavn.cli.compare_settings import comparisons_of
    from gavn.experiments.compare.run import compare
    from gavn.experiments.compare.seeds import write_table
    get_root_logger(log_level=logging.WARNING)  # the logs of jobs have the details
    executor = Executor.from_arguments(args, args.jobs) if args.executor else None
    comparisons = comparisons_of(args)
    left = [settings.out for settings in comparisons
            if not compare(settings, TRAINER, TESTER, args.fresh, executor, args.report)]
    if args.seeds and (table := write_table(comparisons)):
        print(table.read_text(encoding='utf-8'))
    if left and len(comparisons) > 1:
        print(f'{len(left)} of {len(comparisons)} comparisons are not complete: {", ".join(map(str, left))}')
    return not left
