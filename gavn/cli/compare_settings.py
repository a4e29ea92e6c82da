"""What the arguments of `gavn compare` mean."""
from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from gavn.experiments.compare.settings import CompareBudget, CompareError, CompareSettings
from gavn.runtime.executors import CLUSTERS
from gavn.runtime.project import PACKAGE, project_root

OPTIONS = (project_root() if (project_root() / 'options').is_dir() else PACKAGE) / 'options'
PRESETS = OPTIONS / 'presets'
_EXPERIMENTS = project_root() / 'experiments'
TIMED_ON_GPU = 40  # iterations that are timed on a GPU


def comparisons_of(args: argparse.Namespace) -> list[CompareSettings]:
    """Returns the settings of each task and seed, each with a folder of its own.

    Raises:
        CompareError: the device or the budget is invalid.
    """
    tasks, seeds = dict.fromkeys(args.task), dict.fromkeys(args.seeds or [None])
    if len(tasks) == 1 and not args.seeds:
        return [_settings(args, args.task[0], None, args.out or _EXPERIMENTS / f'compare_{args.task[0]}')]
    folder = args.out or _EXPERIMENTS / 'compare'
    return [_settings(args, task, seed, folder / (task if seed is None else f'{task}_seed{seed}'))
            for task in tasks for seed in seeds]


def _settings(args: argparse.Namespace, task: str, seed: int | None, out: Path) -> CompareSettings:
    root = project_root()
    gpus = _gpus(args)
    overlays, detector_overlays = _overlays(args, task)
    return CompareSettings(
        data=args.data.absolute(), task=task, methods=tuple(dict.fromkeys(args.methods)),
        options=args.options or OPTIONS, overlays=overlays, detector_overlays=detector_overlays,
        budget=CompareBudget.parse(args.budget), out=out.absolute(), root=root, jobs=args.jobs,
        threads=args.threads or _threads(args), gpus=gpus,
        amp=args.amp, workers=args.workers, detectors=args.detectors, audio_controls=args.audio_controls,
        images=args.images, frames=args.frames, seed=seed,
        timed=TIMED_ON_GPU if gpus else CompareSettings.timed)


def _threads(args: argparse.Namespace) -> int:
    if args.executor in CLUSTERS:
        return args.cpus_per_task
    return max(1, (os.cpu_count() or 1) // args.jobs)


def _overlays(args: argparse.Namespace, task: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What is laid over option files of methods, and over that of the landmark detector."""
    if args.overlays is not None or args.options is not None:
        given = tuple(args.overlays or ())
        return given, given
    of_task = PRESETS / f'small_{task}.yml'
    return (of_task if of_task.is_file() else PRESETS / 'small.yml',), (PRESETS / 'small_pfld.yml',)


def _gpus(args: argparse.Namespace) -> tuple[str, ...] | None:
    """Returns the GPUs to use, as in `CompareSettings`."""
    device = args.device
    kind, _, index = device.partition(':')
    if kind not in ('auto', 'cpu', 'cuda') or (index and not (kind == 'cuda' and index.isdigit())):
        raise CompareError(f'device {device!r} is not one of auto, cpu, cuda, cuda:1 ...')
    if kind == 'cpu':
        return ()
    if args.executor in CLUSTERS:
        return _gpus_of_task(device, args.gpus_per_task)
    count = torch.cuda.device_count()
    names = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    available = tuple(names or map(str, range(count)))[:count]
    if kind == 'cuda' and int(index or 0) >= count:
        raise CompareError(f'device {device} does not exist: this machine has {count} GPUs')
    return (available[int(index)],) if index else available


def _gpus_of_task(device: str, count: int) -> tuple[str, ...] | None:
    """Returns the GPUs of a cluster's task; this machine's do not matter."""
    if ':' in device:
        raise CompareError(f'device {device}: the cluster chooses the GPUs of a task\ngive --device cuda')
    if device == 'cuda' and not count:
        raise CompareError('device cuda: the tasks of the cluster have no GPU\ngive --gpus-per-task 1')
    return None if count else ()
