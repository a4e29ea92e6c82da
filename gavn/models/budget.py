"""Training budget: iterations, clips and minutes over all resumes of a run."""
from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gavn.checkpoints.checkpoint import BUDGET
from gavn.runtime.files import write_text

FILE = 'budget.json'


class Budget:
    """Counts training clips and wall-clock minutes, with loading and saving, without validation.

    Args:
        spent: values of the resumed state (see `facts`). {} for a new run; None if the state has none, so
            that minutes and clips stay unknown.
    """

    def __init__(self, spent: Mapping[str, float | None] | None) -> None:
        spent = {'minutes': None, 'clips_seen': None} if spent is None else spent
        self.clips_seen = spent.get('clips_seen', 0)
        self._minutes = spent.get('minutes', 0.0)
        self._since: float | None = None

    @property
    def minutes(self) -> float | None:
        """Wall-clock minutes so far; None if they are unknown for an earlier start."""
        if self._minutes is None or self._since is None:
            return self._minutes
        return self._minutes + (time.monotonic() - self._since) / 60

    def count(self, clips: int) -> None:
        """Counts the clips of a batch. The first batch starts the clock."""
        self._since = time.monotonic() if self._since is None else self._since
        if self.clips_seen is not None:
            self.clips_seen += clips

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock inside the block."""
        self._minutes, running, self._since = self.minutes, self._since is not None, None
        try:
            yield
        finally:
            self._since = time.monotonic() if running else None

    def facts(self, iterations: int) -> dict[str, float | None]:
        """Values that checkpoints contain: iterations, minutes, clips_seen."""
        return {'iterations': iterations, 'minutes': self.minutes, 'clips_seen': self.clips_seen}

    def checkpoint_entry(self, iterations: int) -> dict[str, dict[str, float | None]]:
        """The facts as a checkpoint entry, read by `gavn.checkpoints.checkpoint.training_budget`."""
        return {BUDGET: self.facts(iterations)}

    def write(self, folder: str | Path, iterations: int) -> None:
        """Writes the facts to `budget.json` in a run's folder."""
        write_text(Path(folder, FILE), json.dumps(self.facts(iterations), indent=2) + '\n')
