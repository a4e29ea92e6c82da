"""What a comparison has decided: kept in its folder, so that the same command goes on with the same."""
from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gavn.experiments.compare.budget import (
    CompareError,
    divided,
    iterations_for_clips,
    iterations_for_minutes,
)
from gavn.experiments.compare.experiments import Method
from gavn.experiments.compare.settings import Settings
from gavn.runtime.files import atomic_path

FORMAT = 1
FILE = 'plan.json'


@dataclass(frozen=True)
class BudgetShare:
    """What one method gets.

    Attributes:
        iterations: of its training.
        batch: clips of an iteration.
        phases: iterations of each phase.
        seconds: of an iteration in each phase, as timed for a budget in minutes; else empty.
        beside: as many processes side by side while it was timed.
    """

    iterations: int
    batch: int
    phases: list[int]
    seconds: list[float] = field(default_factory=list)
    beside: int = 1

    @property
    def clips(self) -> int:
        """Clips that it sees."""
        return self.iterations * self.batch

    @property
    def minutes(self) -> float | None:
        """Minutes of training that were planned; None where nothing was timed."""
        if not self.seconds:
            return None
        return sum(n * time for n, time in zip(self.phases, self.seconds, strict=True)) / 60


@dataclass
class Plan:
    """The budget of every method, by token.

    Attributes:
        task, data, budget: as they were asked for.
        clips: that every method sees, for a budget in iterations; 0 for one in minutes.
        shares: by method.
        machine: that the methods were timed on.
    """

    task: str
    data: str
    budget: str
    clips: int
    shares: dict[str, BudgetShare] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, methods: Sequence[Method]) -> Plan:
        """The plan kept in the folder of a comparison, or a new one.

        A budget in iterations is one in clips, of which iterations of the first method hold so many.
        Raises CompareError where the folder holds something else than this comparison.
        """
        clips = int(settings.budget.amount) * methods[0].batch if settings.budget.unit == 'it' else 0
        new = cls(settings.task, settings.told(settings.data), str(settings.budget), clips, {}, machine())
        kept = read_plan(settings.out)
        if kept is None:
            return new
        for key in ('task', 'data', 'budget'):
            if getattr(kept, key) != getattr(new, key):
                raise CompareError(f'{settings.out} holds a comparison with {key} {getattr(kept, key)}, not '
                                   f'{getattr(new, key)}: give another --out, or --fresh to begin it anew')
        return kept

    def lacking(self, methods: Sequence[Method]) -> list[Method]:
        """Methods that have no share yet."""
        return [method for method in methods if method.token not in self.shares]

    def give(self, method: Method, settings: Settings, seconds: Sequence[float] = ()) -> None:
        """Sets a method's share: from the clips of the budget, or from the seconds that it was timed at."""
        lengths = [phase['iters'] for phase in method.train['train']['phases']]
        if self.clips:
            iterations = iterations_for_clips(self.clips, method.batch)
        else:
            iterations = iterations_for_minutes(settings.budget.amount, lengths, seconds)
        self.shares[method.token] = BudgetShare(iterations, method.batch, divided(iterations, lengths),
                                          [round(value, 5) for value in seconds], settings.jobs)

    def write(self, out: Path) -> None:
        """Keeps the plan in the folder of the comparison."""
        content = {'format': FORMAT, **dataclasses.asdict(self)}
        with atomic_path(out / FILE) as part:
            part.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def read_plan(out: Path) -> Plan | None:
    """The plan in a folder; None where there is none. Raises CompareError for one of another format."""
    path = out / FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        if content.pop('format') != FORMAT:
            raise ValueError('another format')
        shares = {token: BudgetShare(**share) for token, share in content.pop('shares').items()}
        return Plan(**content, shares=shares)
    except (ValueError, KeyError, TypeError) as error:
        raise CompareError(f'{path} is no plan of this version ({error}): give another --out') from error


def machine() -> dict[str, str]:
    """What this computes on, in words."""
    found = {'processor': _processor(), 'cores': str(os.cpu_count()), 'system': platform.system(),
             'python': platform.python_version(), 'torch': torch.__version__}
    if torch.cuda.is_available():
        found['gpu'] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding='utf-8').splitlines():
            name, _, value = line.partition(':')
            if name.strip() == 'model name':
                return value.strip()
    return platform.processor() or platform.machine()
