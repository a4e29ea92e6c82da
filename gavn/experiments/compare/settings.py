"""Settings of a comparison: its budget, and the places of its files."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from gavn.config.schedulers import build_scheduler
from gavn.errors import ExitCode, GavnError

FREQUENCIES = (('val', 'val_freq'), ('logger', 'save_checkpoint_freq'))  # scaled with the length of training


class CompareError(GavnError, RuntimeError):
    """A comparison cannot be made. The message says why, and what to do."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class CompareBudget:
    """Amount of training of each method: minutes, or clips counted as iterations."""

    amount: float
    unit: Literal['min', 'it']

    @classmethod
    def parse(cls, text: str) -> CompareBudget:
        """Parses '15min' or '4000it'. Raises CompareError for anything else."""
        match = re.fullmatch(r'(\d+(?:\.\d+)?)(min|it)', text)
        if not match or float(match[1]) <= 0 or (match[2] == 'it' and '.' in match[1]):
            raise CompareError(f'the budget {text!r} is neither minutes (15min) nor iterations (4000it)')
        return cls(float(match[1]), 'it' if match[2] == 'it' else 'min')

    def __str__(self) -> str:
        return f'{self.amount:g}{self.unit}'


def iterations_for_minutes(minutes: float, lengths: Sequence[int], seconds: Sequence[float]) -> int:
    """Iterations that fit into `minutes` with unchanged proportions of phases.

    Args:
        minutes: of training, all phases together.
        lengths: iterations of each phase; only their proportions count.
        seconds: per iteration in each phase.
    """
    of_one = sum(length * time for length, time in zip(lengths, seconds, strict=True)) / sum(lengths)
    return max(1, math.floor(minutes * 60 / of_one))


def divided(total: int, shares: Sequence[int]) -> list[int]:
    """Divides `total` into whole numbers with the proportions of `shares`, each at least 1.

    Raises:
        CompareError: `total` is less than the number of shares.
    """
    if total < len(shares):
        raise CompareError(f'a budget of {total} iterations is less than the {len(shares)} phases of '
                           'training: give a larger one')
    spare = total - len(shares)  # each share has at least 1
    wanted = [max(Fraction(0), Fraction(total * share, sum(shares)) - 1) for share in shares]
    exact = [spare * value / sum(wanted) if spare else Fraction(0) for value in wanted]
    parts = [math.floor(value) for value in exact]
    by_rest = sorted(range(len(shares)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_rest[:spare - sum(parts)]:
        parts[i] += 1
    return [part + 1 for part in parts]


def rescaled(options: Mapping[str, Any], total: int) -> dict[str, Any]:
    """Scales training options to `total` iterations.

    Phases, learning rates, warm-up, validations, checkpoints and the length of the weight average keep their
    proportions.

    Args:
        options: of an option file, with phases in iterations; not changed.
        total: iterations of all phases.
    """
    train = options['train']
    old = [phase['iters'] for phase in train['phases']]
    factor = total / sum(old)
    phases = [{**phase, 'iters': length}
              for phase, length in zip(train['phases'], divided(total, old), strict=True)]
    train = {**train, 'total_iter': total, 'phases': phases}
    if train.get('scheduler'):
        train['scheduler'] = {**train['scheduler'], **build_scheduler(train['scheduler']).scaled(factor)}
    if train.get('warmup_iter', -1) > 0:
        train['warmup_iter'] = max(1, round(train['warmup_iter'] * factor))
    if train.get('ema_decay', 0) > 0:  # an average over 1 / (1 - decay) iterations
        train['ema_decay'] = max(0.0, 1 - (1 - train['ema_decay']) / factor)
    result = {**options, 'train': train}
    for section, key in FREQUENCIES:
        if (result.get(section) or {}).get(key):
            frequency = max(1, min(total, round(result[section][key] * factor)))
            result[section] = {**result[section], key: frequency}
    frequency = result['logger']['print_freq']
    result['logger'] = {**result['logger'], 'print_freq': max(1, min(frequency, total // 10))}
    return result


@dataclass(frozen=True)
class CompareSettings:
    """What to compare.

    Attributes:
        data: a prepared data set.
        task: car, deblur, sr ...: suffix of option file names.
        methods: tokens in option file names.
        options: folder of option files, with overlays of variants in `ablations`.
        overlays, detector_overlays: of methods, and of the landmark detector.
        budget: of each method's training.
        out: folder of all outputs.
        root: of the project, to which paths are relative.
        jobs, threads: parallel processes, and threads of each.
        gpus: as in CUDA_VISIBLE_DEVICES; empty for the CPU. None: those that a cluster gives to the task.
        amp: 'bf16' to train in that precision. None: as in the option files.
        workers: loader processes of each training. None: as in the option files.
        detectors: train the landmark detector first.
        audio_controls: also test with silent and with shuffled audio.
        images: whether tests write their frames.
        frames: of each clip in tests. None: whole clips.
        seed: of all trainings. None: as in the option files.
        timed: timed iterations of each kind of phase.
    """

    data: Path
    task: str
    methods: tuple[str, ...]
    options: Path
    budget: CompareBudget
    out: Path
    root: Path
    overlays: tuple[Path, ...] = ()
    detector_overlays: tuple[Path, ...] = ()
    jobs: int = 1
    threads: int = 1
    gpus: tuple[str, ...] | None = ()
    amp: str | None = None
    workers: int | None = None
    detectors: bool = False
    audio_controls: bool = False
    images: bool = False
    frames: int | None = None
    seed: int | None = None
    timed: int = 12

    def relative_path(self, path: Path) -> str:
        """A path as option files have it: relative to the project's root if it is inside."""
        path = path.absolute()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def name(self, token: str) -> str:
        """Name of a method's runs."""
        return f'{self.out.name}_{token}'

    def weights(self, token: str, network: str = 'g') -> Path:
        """The last weights of a training."""
        return self.out / 'experiments' / self.name(token) / 'models' / f'net_{network}_latest.pth'

    def file(self, kind: str, token: str, control: str = '') -> Path:
        """The generated option file of a method, for kind train or test, or a test of `CONTROLS`."""
        return self.out / 'options' / control / f'{kind}_{token}_{self.task}.yml'
