"""Commands under one deadline: each has a log, and none of them ends the run."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gavn.experiments.compare.jobs import Process

_PAUSE = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a step ended: `ok` or the reason, after how many seconds, and the last line of its log."""

    name: str
    state: str
    seconds: float
    last_line: str

    def __str__(self) -> str:
        return f'| {self.name} | {self.state} | {self.seconds:.0f} | {self.last_line} |'


@dataclass
class Steps:
    """Runs commands, and remembers how they ended.

    Attributes:
        root: the folder they run in.
        logs: the folder of their logs.
        budget: seconds for all of them, from now.
        environment: variables beside our own.
        outcomes: of the steps that have ended.
    """

    root: Path
    logs: Path
    budget: float
    environment: Mapping[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    report: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget - (time.monotonic() - self._began)

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Starts a command beside others."""
        return Process(command, self.logs / f'{name}.log', {**os.environ, **self.environment}, self.root)

    def finish(self, name: str, process: Process, seconds: float) -> Outcome:
        """Waits for a process, at most so many more seconds and never past the budget, and ends it."""
        until = time.monotonic() + min(seconds, self.left)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(_PAUSE)
        code = process.poll()
        process.stop()
        lines = [line.strip() for line in process.lines() if line.strip()] or ['']
        state = 'ok' if code == 0 else 'out of time' if code is None else f'failed ({code})'
        outcome = Outcome(name, state, process.seconds, lines[-1][:200].replace('|', '/'))
        self.outcomes.append(outcome)
        self.report(f'[{self.budget - self.left:.0f} s] {name}: {state}, {outcome.last_line}')
        return outcome

    def run(self, name: str, command: Sequence[str], seconds: float) -> Process:
        """Starts a command and waits for it."""
        process = self.start(name, command)
        self.finish(name, process, seconds)
        return process
