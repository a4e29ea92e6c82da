"""Several methods at an equal budget, from a prepared data set to tables: `python scripts/compare.py --help`.

Every method is trained through `gavn/train.py` and tested through `gavn/test.py`, each in a process of its
own, by option files made from those of a folder. The same command goes on where an interrupted one was.
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
from gavn.experiments.compare.budget import Budget, CompareError
from gavn.experiments.compare.run import compare
from gavn.experiments.compare.settings import Settings
from gavn.runtime.arguments import Parser

PACKAGE = Path(__file__).resolve().parents[1]
TRAINER = sys.executable, str(PACKAGE / 'train.py')
TESTER = sys.executable, str(PACKAGE / 'test.py')
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # as gavn.cli
OPTIONS = Path('options')
PRESETS = OPTIONS / 'presets'
TIMED_ON_GPU = 40  # iterations of a phase: they are short there


def main(argv: Sequence[str] | None = None, trainer: Sequence[str] = TRAINER, tester: Sequence[str] = TESTER
         ) -> int:
    """Runs the command line; returns the exit code, 1 if a method failed."""
    args = _parser().parse_args(argv)
    get_root_logger(log_level=logging.WARNING)  # what data sets and networks tell stands in the logs of jobs
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return OK if compare(_settings(args), trainer, tester, args.fresh) else FAILED
    except (CheckpointError, CompareError, OptionError) as error:
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print('\ninterrupted: the same command goes on where this one was', file=sys.stderr)
        return INTERRUPTED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _settings(args: argparse.Namespace) -> Settings:
    """Raises CompareError for a device or a budget that there is not."""
    root = PACKAGE.parent if (PACKAGE.parent / 'setup.py').is_file() else Path.cwd()
    out = args.out or root / 'experiments' / f'compare_{args.task}'
    gpus = _gpus(args.device)
    overlays, detector_overlays = _overlays(args)
    return Settings(
        data=args.data.absolute(), task=args.task, methods=tuple(dict.fromkeys(args.methods)),
        options=args.options or OPTIONS, overlays=overlays, detector_overlays=detector_overlays,
        budget=Budget.parse(args.budget), out=out.absolute(), root=root, jobs=args.jobs,
        threads=args.threads or max(1, (os.cpu_count() or 1) // args.jobs), gpus=gpus,
        amp=args.amp, workers=args.workers, detectors=args.detectors, audio_controls=args.audio_controls,
        pictures=args.pictures, frames=args.frames, timed=TIMED_ON_GPU if gpus else Settings.timed)


def _overlays(args: argparse.Namespace) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is laid over option files of methods, and over that of the landmark detector."""
    if args.overlays is not None or args.options is not None:
        given = tuple(args.overlays or ())
        return given, given
    of_task = PRESETS / f'small_{args.task}.yml'
    return (of_task if of_task.is_file() else PRESETS / 'small.yml',), (PRESETS / 'small_pfld.yml',)


def _gpus(device: str) -> tuple[str, ...]:
    """The GPUs to use, as CUDA_VISIBLE_DEVICES names them; none for the CPU."""
    kind, _, index = device.partition(':')
    if kind not in ('auto', 'cpu', 'cuda') or (index and not (kind == 'cuda' and index.isdigit())):
        raise CompareError(f'the device {device!r} is none of auto, cpu, cuda, cuda:1 ...')
    if kind == 'cpu':
        return ()
    count = torch.cuda.device_count()
    names = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    there = tuple(names or map(str, range(count)))[:count]
    if kind == 'cuda' and int(index or 0) >= count:
        raise CompareError(f'there is no device {device}: this machine has {count} GPUs')
    return (there[int(index)],) if index else there


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog='compare', description='Trains several methods at an equal budget, tests them and makes tables. '
                                    'The same command goes on where an interrupted one was.')
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='a prepared data set')
    parser.add_argument('--task', required=True, help='car, deblur, sr: ends the names of option files')
    parser.add_argument('--methods', nargs='+', required=True, metavar='NAME',
                        help='train_NAME_TASK.yml and test_NAME_TASK.yml are in the folder of options; '
                             'gavn_wo_if: with its overlay ablations/wo_if.yml')
    parser.add_argument('--options', type=Path, metavar='DIR',
                        help='folder of option files (default options)')
    parser.add_argument('--with', dest='overlays', type=Path, nargs='*', metavar='FILE.yml',
                        help='lay option files over them (default: those of small runs, '
                             'options/presets/small*.yml, unless --options is given; none: full size)')
    parser.add_argument('--budget', required=True, metavar='N',
                        help='15min: minutes of training; 4000it: the clips that the first method sees in so '
                             'many iterations')
    parser.add_argument('--out', type=Path, metavar='DIR', help='(default experiments/compare_TASK)')
    parser.add_argument('--jobs', type=_count, default=1, metavar='N',
                        help='processes side by side, also on one GPU (default 1)')
    parser.add_argument('--threads', type=_count, metavar='N', help='of a process (default: cores / jobs)')
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1')
    parser.add_argument('--amp', choices=['bf16', 'none'], help='precision of training')
    parser.add_argument('--workers', type=_count_from_0, metavar='N',
                        help='processes that load data, of each training')
    parser.add_argument('--detectors', action='store_true', help='train the landmark detector first')
    parser.add_argument('--audio-controls', action='store_true',
                        help='test with silence and with other voices as well')
    parser.add_argument('--pictures', action='store_true', help='keep the frames of the tests, for figures')
    parser.add_argument('--frames', type=_count, metavar='N',
                        help='test with so many frames of each clip (default: all of them)')
    parser.add_argument('--fresh', nargs='*', metavar='NAME',
                        help='begin these methods anew; without a name, everything')
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no whole number above 0')
    return int(text)


def _count_from_0(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is no whole number from 0 on')
    return int(text)


if __name__ == '__main__':
    sys.exit(main())
