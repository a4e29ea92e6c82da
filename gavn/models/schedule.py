"""Which phase of training an iteration belongs to, and its learning rate: functions of the iteration alone.

Nothing is remembered between iterations, so a run that was stopped and resumed does what an unbroken one
does, and a changed option file takes effect at once.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one learning rate and one set of trained modules.

    Attributes:
        name: what the log calls it.
        lr: learning rate; of the first iteration, where `lr_end` is given.
        iters: iterations it lasts.
        start: iterations before it.
        train: prefixes of the parameters that are trained, e.g. `temporal`; empty for all.
        temporal_only: run the network without its identity module (the first stage).
        freeze: prefixes of parameters that are not trained, though `train` may include them.
        lr_end: what the learning rate falls to along half a cosine; None: it stays.
    """

    name: str
    lr: float
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
        """The learning rate of an iteration."""
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
        phases: mappings {name, lr, iters, train, freeze, temporal_only, lr_end}: `train.phases` of an option
            file, epochs turned into iterations (`basicsr_patches.data_data_sampler.divide` knows the data).
        warmup_iter: the learning rate rises linearly over so many iterations from the start of training.

    Raises ValueError for no phases, and for one without a length.
    """

    def __init__(self, phases: Sequence[Mapping[str, Any]], warmup_iter: int = 0) -> None:
        if not phases:
            raise ValueError('train.phases is empty: name at least one phase')
        self.warmup_iter = warmup_iter
        self.phases: list[Phase] = []
        for entry in phases:
            self.phases.append(Phase(
                name=entry['name'], lr=float(entry['lr']), iters=_length(entry),
                start=self.total, train=tuple(entry.get('train') or ()),
                temporal_only=entry.get('temporal_only', False), freeze=tuple(entry.get('freeze') or ()),
                lr_end=entry.get('lr_end')))

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
        return self.phase(iteration).lr_at(iteration) * rise


def _length(entry: Mapping[str, Any]) -> int:
    name, iters = entry['name'], entry.get('iters')
    if iters is None:
        raise ValueError(f'phase {name}: its length is unknown; give `iters`, or `epochs` with training data')
    if int(iters) < 1:
        raise ValueError(f'phase {name} lasts {iters} iterations; it needs at least one')
    return int(iters)
