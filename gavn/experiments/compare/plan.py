"""The plan of a comparison, stored in its folder, so that the same command resumes with the same shares."""
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

from gavn.experiments.compare.experiments import Method
from gavn.experiments.compare.settings import (
    CompareError,
    CompareSettings,
    divided,
    iterations_for_minutes,
)
from gavn.runtime.files import write_text

FORMAT = 1
FILE = 'plan.json'


@dataclass(frozen=True)
class BudgetShare:
    """Share of one method."""

    iterations: int  # of its training
    batch: int  # clips per iteration
    phases: list[int]  # iterations of each phase
    # per iteration in each phase, for a budget in minutes; else empty
    seconds: list[float] = field(default_factory=list)
    beside: int = 1  # number of parallel processes during timing

    @property
    def clips(self) -> int:
        """Number of training clips."""
        return self.iterations * self.batch

    @property
    def minutes(self) -> float | None:
        """Planned minutes of training; None without timing."""
        if not self.seconds:
            return None
        return sum(n * time for n, time in zip(self.phases, self.seconds, strict=True)) / 60


@dataclass
class ComparePlan:
    """The share of every method."""

    # task, data, budget: as given
    task: str
    data: str
    budget: str
    clips: int  # of every method, for a budget in iterations; 0 for one in minutes
    shares: dict[str, BudgetShare] = field(default_factory=dict)  # by token
    machine: dict[str, str] = field(default_factory=dict)  # on which the methods were timed

    @classmethod
    def load_or_create(cls, settings: CompareSettings, methods: Sequence[Method]) -> ComparePlan:
        """Loads the plan in the folder of a comparison, or creates one.

        A budget in iterations is a number of clips: that of the first method in these iterations.

        Raises:
            CompareError: the folder has another comparison.
        """
        clips = int(settings.budget.amount) * methods[0].batch if settings.budget.unit == 'it' else 0
        data = settings.relative_path(settings.data)
        new = cls(settings.task, data, str(settings.budget), clips, {}, machine())
        kept = read_plan(settings.out)
        if kept is None:
            return new
        for key in ('task', 'data', 'budget'):
            if getattr(kept, key) != getattr(new, key):
                raise CompareError(f'{settings.out} holds a comparison with {key} {getattr(kept, key)}, not '
                                   f'{getattr(new, key)}: give another --out, or --fresh to begin it anew')
        return kept

    def give(self, method: Method, settings: CompareSettings, seconds: Sequence[float] = ()) -> None:
        """Sets the share of a method, from the budget's clips or from its seconds per iteration."""
        lengths = [phase['iters'] for phase in method.train['train']['phases']]
        if self.clips:
            iterations = max(1, round(self.clips / method.batch))
        else:
            iterations = iterations_for_minutes(settings.budget.amount, lengths, seconds)
        self.shares[method.token] = BudgetShare(iterations, method.batch, divided(iterations, lengths),
                                                [round(value, 5) for value in seconds], settings.jobs)

    def write(self, out: Path) -> None:
        """Writes the plan into the folder of the comparison."""
        content = {'format': FORMAT, **dataclasses.asdict(self)}
        write_text(out / FILE, json.dumps(content, indent=2) + '\n')


def read_plan(out: Path) -> ComparePlan | None:
    """Reads the plan of a folder; None if there is none. Raises CompareError for another format."""
    path = out / FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        if content.pop('format') != FORMAT:
            raise ValueError('another format')
        shares = {token: BudgetShare(**share) for token, share in content.pop('shares').items()}
        return ComparePlan(**content, shares=shares)
    except (ValueError, KeyError, TypeError) as error:
        raise CompareError(f'{path} is no plan of this version ({error}): give another --out') from error


def machine() -> dict[str, str]:
    """Describes the machine."""
    cpuinfo = Path('/proc/cpuinfo')  # on Linux
    lines = cpuinfo.read_text(encoding='utf-8').splitlines() if cpuinfo.is_file() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    processor = next(names, platform.processor() or platform.machine())
    found = {'processor': processor, 'cores': str(os.cpu_count()), 'system': platform.system(),
             'python': platform.python_version(), 'torch': torch.__version__}
    if torch.cuda.is_available():
        found['gpu'] = torch.cuda.get_device_name()
    return found
