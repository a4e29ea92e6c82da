"""Which phase of training an iteration belongs to, and its learning rate: functions of the iteration alone.

Nothing is remembered between iterations, so a run that was stopped and resumed does what an unbroken one
does, and a changed option file takes effect at once.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gavn.config.schedulers import Scheduler, build_scheduler


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of trained modules.

    Attributes:
        name: what the log calls it.
        lr: learning rate; of the first iteration, where `lr_end` is given; None: the scheduler's.
        iters: iterations it lasts.
        start: iterations before it.
        train: prefixes of the parameters that are trained, e.g. `temporal`; empty for all.
        temporal_only: run the network without its identity module (the first stage).
        freeze: prefixes of parameters that are not trained, though `train` may include them.
        lr_end: what the learning rate falls to along half a cosine; None: it stays.
    """

    name: str
    lr: float | None
    iters: int
    start: int = 0
    train: tuple[str, ...] = ()
    temporal_only: bool = False
    freeze: tuple[str, ...] = ()
    lr_end: float | None = None

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
        """Whether a parameter of this name lies under a trained prefix and under no frozen one."""
        trained = not self.train or lies_under(parameter, self.train)
        return trained and not lies_under(parameter, self.freeze)


def lies_under(parameter: str, prefixes: Iterable[str]) -> bool:
    """Whether one of the prefixes names a parameter or a part that it belongs to."""
    return any(f'{parameter}.'.startswith(f'{prefix}.') for prefix in prefixes)


class Schedule:
    """Consecutive phases; iterations count from 1 as in BasicSR.

    Args:
        phases: mappings {name, iters, train, freeze, temporal_only, lr, lr_end}: `train.phases` of an option
            file, epochs turned into iterations (`basicsr_patches.data_data_sampler.divide` knows the data).
        warmup_iter: the learning rate rises linearly over so many iterations from the start of training.
        lr, scheduler: the learning rate of phases that have none of their own.

    Raises ValueError for no phases, for one without a length, and for one without a learning rate.
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
        """Iterations of all phases together."""
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
