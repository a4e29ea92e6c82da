"""What a training has cost so far, over all its resumes."""
from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gavn.checkpoints.checkpoint import BUDGET
from gavn.runtime.files import atomic_path

FILE = 'budget.json'


class Budget:
    """Iterations, training clips and clock minutes, those of loading and saving included, not of validation.

    Args:
        spent: what an earlier start has noted (see `facts`); {} for a new run, None where it noted nothing,
            so that minutes and clips stay unknown.
    """

    def __init__(self, spent: Mapping[str, float | None] | None) -> None:
        spent = {'minutes': None, 'clips_seen': None} if spent is None else spent
        self.clips_seen = spent.get('clips_seen', 0)
        self._minutes = spent.get('minutes', 0.0)
        self._since: float | None = None

    @property
    def minutes(self) -> float | None:
        """Clock minutes so far; None where an earlier start did not note its own."""
        if self._minutes is None or self._since is None:
            return self._minutes
        return self._minutes + (time.monotonic() - self._since) / 60

    def count(self, clips: int) -> None:
        """Counts a batch; the first one starts the clock."""
        self._since = time.monotonic() if self._since is None else self._since
        if self.clips_seen is not None:
            self.clips_seen += clips

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock meanwhile."""
        self._minutes, running, self._since = self.minutes, self._since is not None, None
        try:
            yield
        finally:
            self._since = time.monotonic() if running else None

    def facts(self, iterations: int) -> dict[str, float | None]:
        """What is noted in checkpoints: iterations, minutes, clips_seen."""
        return {'iterations': iterations, 'minutes': self.minutes, 'clips_seen': self.clips_seen}

    def notes(self, iterations: int) -> dict[str, dict[str, float | None]]:
        """The facts as the entry that `gavn.checkpoints.checkpoint.training_budget` finds."""
        return {BUDGET: self.facts(iterations)}

    def write(self, folder: str | Path, iterations: int) -> None:
        """Writes the facts to `budget.json` in the folder of a run."""
        with atomic_path(Path(folder, FILE)) as part:
            part.write_text(json.dumps(self.facts(iterations), indent=2) + '\n', encoding='utf-8')
