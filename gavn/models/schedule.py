"""Phase and learning rate as functions of the iteration.

The schedule has no state. A resumed run therefore equals an uninterrupted one, and changes of the option file
take effect at once.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gavn.config.schedulers import Scheduler, build_scheduler


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of trained modules."""

    name: str  # for the log
    lr: float | None  # learning rate; that of the first iteration if `lr_end` is given; None: the scheduler's
    iters: int  # number of iterations
    start: int = 0  # iterations before the phase
    train: tuple[str, ...] = ()  # prefixes of the trained parameters, e.g. `temporal`; empty for all.
    temporal_only: bool = False  # run the network without its identity module (the first stage)
    freeze: tuple[str, ...] = ()  # prefixes of parameters that are not trained. It overrides `train`.
    lr_end: float | None = None  # learning rate at the end of a half cosine; None: constant

    @property
    def end(self) -> int:
        """The last iteration of the phase."""
        return self.start + self.iters

    def lr_at(self, iteration: int) -> float:
        """The learning rate of an iteration, where the phase sets it."""
        if self.lr is None:
            raise ValueError(f'phase {self.name} has no learning rate of its own')
        if self.lr_end is None:
            return self.lr
        done = min(max((iteration - self.start - 1) / self.iters, 0), 1)
        return self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * done)) / 2

    def trains(self, parameter: str) -> bool:
        """Whether a parameter has a trained prefix and no frozen one."""
        trained = not self.train or has_prefix(parameter, self.train)
        return trained and not has_prefix(parameter, self.freeze)


def has_prefix(parameter: str, prefixes: Iterable[str]) -> bool:
    """Whether one of the prefixes is the name of a parameter or of a module that contains it."""
    return any(f'{parameter}.'.startswith(f'{prefix}.') for prefix in prefixes)


class Schedule:
    """Consecutive phases; iterations count from 1 as in BasicSR.

    Args:
        phases: mappings {name, iters, train, freeze, temporal_only, lr, lr_end}: `train.phases` of an option
            file, with epochs converted to iterations (see `basicsr_patches.data_data_sampler.plan_epochs`).
        warmup_iter: number of iterations over which the learning rate rises linearly from 0.
        lr, scheduler: learning rate of phases without their own.

    Raises:
        ValueError: there is no phase, or a phase has no length or no learning rate.
    """

    def __init__(self, phases: Sequence[Mapping[str, Any]], warmup_iter: int = 0, lr: float | None = None,
                 scheduler: Scheduler | None = None) -> None:
        if not phases:
            raise ValueError('train.phases is empty: name at least one phase')
        self.warmup_iter, self.initial_lr = warmup_iter, lr
        self.scheduler = scheduler or build_scheduler(None)
        self.phases: list[Phase] = []
        for entry in phases:
            if lr is None and entry.get('lr') is None:
                raise ValueError(f'phase {entry["name"]} has no learning rate: give train.optim_g.lr')
            self.phases.append(Phase(
                name=entry['name'], lr=entry.get('lr'), iters=_length(entry),
                start=self.total, train=tuple(entry.get('train') or ()),
                temporal_only=entry.get('temporal_only', False), freeze=tuple(entry.get('freeze') or ()),
                lr_end=entry.get('lr_end')))

    @classmethod
    def from_options(cls, train: Mapping[str, Any]) -> 'Schedule':
        """Of the section `train`: without `phases`, everything is trained for `total_iter` iterations."""
        phases = train.get('phases')
        if phases is None:
            phases = [{'name': 'all', 'iters': train.get('total_iter')}]
        lr = (train.get('optim_g') or {}).get('lr')
        return cls(phases, train.get('warmup_iter', -1), lr, build_scheduler(train.get('scheduler')))

    @property
    def total(self) -> int:
        """Iterations of all phases."""
        return self.phases[-1].end if self.phases else 0

    def phase(self, iteration: int) -> Phase:
        """The phase of iteration 1, 2 ...; the first one before that, the last one after the end."""
        return next((phase for phase in self.phases if iteration <= phase.end), self.phases[-1])

    def lr(self, iteration: int) -> float:
        """The learning rate of an iteration."""
        rise = min(1.0, iteration / self.warmup_iter) if self.warmup_iter > 0 else 1.0
        return self.full_lr(iteration) * rise

    def full_lr(self, iteration: int) -> float:
        """The learning rate of an iteration without the warm-up."""
        phase = self.phase(iteration)
        if phase.lr is not None or self.initial_lr is None:
            return phase.lr_at(iteration)
        return self.scheduler.rate(self.initial_lr, iteration)


def _length(entry: Mapping[str, Any]) -> int:
    name, iters = entry['name'], entry.get('iters')
    if iters is None:
        raise ValueError(f'phase {name}: its length is unknown; give `iters`, or `epochs` with training data')
    if int(iters) < 1:
        raise ValueError(f'phase {name} lasts {iters} iterations; it needs at least one')
    return int(iters)
