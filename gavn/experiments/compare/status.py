"""One line per job: redrawn on a terminal, printed at changes elsewhere."""
from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from gavn.experiments.compare.jobs import Outcome, log_of

_ITERATION = re.compile(r'iter:\s*([\d,]+),.*\[eta: ([^,\]]+)')
_LOSS = re.compile(r'(l_\w+: \S+)')
_TAIL = 4096  # bytes at the end of a log to search for its last report
_WIDTH = 100
_INTERVAL = 1.0  # seconds between updates


class Board:
    """Shows the state of jobs.

    Args:
        folder: of the comparison, whose logs have the progress of trainings.
        stream: standard output by default. A terminal is redrawn; other streams get a line per change.
    """

    def __init__(self, folder: Path, stream: TextIO | None = None) -> None:
        self.folder, self.stream = folder, stream or sys.stdout
        self._states: dict[str, str] = {}
        self._drawn, self._looked = 0, 0.0

    def show(self, outcomes: Mapping[str, Outcome]) -> None:
        """Draws the present state; the `show` of `Runner`."""
        states: dict[str, str] = {name: outcome.state for name, outcome in outcomes.items()}
        if self.stream.isatty():
            if states == self._states and time.monotonic() - self._looked < _INTERVAL:
                return
            self._looked = time.monotonic()
            lines = [self._line(name, outcome) for name, outcome in outcomes.items()]
            self.stream.write(f'\x1b[{self._drawn}A\x1b[J' * bool(self._drawn) + '\n'.join(lines) + '\n')
            self._drawn = len(lines)
        else:
            for name, outcome in outcomes.items():
                if self._states.get(name, 'waiting') != outcome.state:
                    self.stream.write(self._line(name, outcome) + '\n')
        self._states = states
        self.stream.flush()

    def _line(self, name: str, outcome: Outcome) -> str:
        detail = outcome.reason
        if outcome.state == 'running':
            detail = progress(log_of(self.folder, name)) if self.stream.isatty() else ''
        elif outcome.state == 'done':
            detail = f'{outcome.seconds / 60:.1f} min'
        return f'{name:28} {outcome.state:9} {detail}'[:_WIDTH if self.stream.isatty() else None].rstrip()


def progress(log: Path) -> str:
    """Progress of a training: 'iteration 1,200, 0:12:33 left, l_pix: 1.2e-02'; '' before its first report."""
    if not log.is_file():
        return ''
    with log.open('rb') as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().decode(errors='replace').splitlines()
    for line in reversed(lines):
        if match := _ITERATION.search(line):
            return ', '.join([f'iteration {match[1]}', f'{match[2]} left', *_LOSS.findall(line)[:1]])
    return ''
