"""`train.scheduler`: BasicSR's learning rate schedules as functions of the iteration."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any


@dataclass(frozen=True)
class MultiStepRestart:
    """BasicSR's MultiStepRestartLR: the rate is multiplied by `gamma` after each of the `milestones`.

    After each of `restarts` it starts again from the initial rate times its entry of `restart_weights`.
    """

    milestones: Sequence[int]  # iterations
    gamma: float = 0.1  # factor at a milestone
    restarts: Sequence[int] = (0,)  # iterations
    restart_weights: Sequence[float] = (1,)  # factors of the initial rate, one for each restart

    def __post_init__(self) -> None:
        _check_lengths('restarts', self.restarts, self.restart_weights)

    def rate(self, initial: float, iteration: int) -> float:
        """Returns the learning rate of iteration 1, 2 ..."""
        done = iteration - 1
        restarts = zip(self.restarts, self.restart_weights, strict=True)
        start, weight = max(((at, weight) for at, weight in restarts if at <= done), default=(0, 1))
        steps = sum(start < milestone <= done for milestone in self.milestones)
        return initial * weight * self.gamma ** steps

    def scaled(self, factor: float) -> dict[str, Any]:
        """Returns the options of the same schedule for a training `factor` times as long."""
        return {'milestones': _scaled(self.milestones, factor), 'restarts': _scaled(self.restarts, factor)}


@dataclass(frozen=True)
class CosineAnnealingRestart:
    """BasicSR's CosineAnnealingRestartLR: in each of the `periods` the rate falls to `eta_min`.

    A period starts from the initial rate times its entry of `restart_weights`. After the last period the rate
    is constant (BasicSR raises TypeError).
    """

    periods: Sequence[int]  # lengths in iterations
    restart_weights: Sequence[float] = (1,)  # factors of the initial rate, one for each period
    eta_min: float = 0  # learning rate at the end of a period

    def __post_init__(self) -> None:
        _check_lengths('periods', self.periods, self.restart_weights)
        if not self.periods or min(self.periods) < 1:
            raise ValueError(f'periods are {list(self.periods)}; each needs at least one iteration')

    def rate(self, initial: float, iteration: int) -> float:
        """The learning rate of iteration 1, 2 ..."""
        ends = list(accumulate(self.periods))
        done = min(iteration - 1, ends[-1])
        index = next(i for i, end in enumerate(ends) if done <= end)
        share = 1 - (ends[index] - done) / self.periods[index]
        fall = self.restart_weights[index] * (initial - self.eta_min) * (1 + math.cos(math.pi * share)) / 2
        return self.eta_min + fall

    def scaled(self, factor: float) -> dict[str, Any]:
        """The options of the same schedule in a training `factor` times as long."""
        ends = _scaled(list(accumulate(self.periods)), factor)
        return {'periods': [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]}


Scheduler = MultiStepRestart | CosineAnnealingRestart
SCHEDULERS: dict[str, type[Scheduler]] = {
    'MultiStepLR': MultiStepRestart, 'MultiStepRestartLR': MultiStepRestart,
    'CosineAnnealingRestartLR': CosineAnnealingRestart}
"""Schedules by `type`."""


def build_scheduler(options: Mapping[str, Any] | None) -> Scheduler:
    """Returns the schedule of `train.scheduler`; a constant rate without one.

    Raises:
        ValueError: the options do not fit the schedule.
    """
    arguments = dict(options or {'type': 'MultiStepLR', 'milestones': ()})
    kind = arguments.pop('type', None)
    if kind not in SCHEDULERS:
        raise ValueError(f'the type {kind!r} is not one of {", ".join(SCHEDULERS)}')
    try:
        return SCHEDULERS[kind](**arguments)
    except TypeError as error:
        raise ValueError(f'{kind}: {error}') from error


def _check_lengths(name: str, places: Sequence[int], weights: Sequence[float]) -> None:
    if len(places) != len(weights):
        raise ValueError(f'{name} has {len(places)} entries, restart_weights {len(weights)}')


def _scaled(iterations: Sequence[int], factor: float) -> list[int]:
    return [round(iteration * factor) for iteration in iterations]
