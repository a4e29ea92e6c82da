"""The networks of each task, read when they are first needed, and kept."""
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.checkpoints import pretrained
from gavn.checkpoints.hub import ModelError

if TYPE_CHECKING:
    from gavn.restoration.auto_restorer import AutoRestorer
    from gavn.restoration.restorer import Restorer

TASKS = {
    'auto': 'find out what is wrong',
    'compression': 'compressed: blocks and smear',
    'deblur': 'blurred',
    'sr': 'small: too few pixels',
    'mixed': 'several of these at once',
}


@dataclass
class Networks:
    """What restores.

    Attributes:
        weights: a bundle of one's own that does every task; None = those that come with gavn.
        device, dtype, batch: see `Restorer`.
    """

    weights: Path | None = None
    device: str = 'auto'
    dtype: str = 'auto'
    batch: int | None = None
    _loaded: dict[str, Restorer | AutoRestorer] = field(default_factory=dict, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def tasks(self) -> dict[str, str]:
        """What can be chosen, with words for it; nothing where the weights are given."""
        if self.weights:
            return {}
        there = ('auto', *pretrained.names())
        return {name: text for name, text in TASKS.items() if name in there}

    def check(self) -> None:
        """Raises at once what the first job would: weights of one's own that are unusable, or none at all."""
        if not self.weights and not pretrained.names():
            raise ModelError('no weights come with this gavn\ngive --weights FILE')
        self.restorer()

    def restorer(self, task: str = 'auto') -> Restorer | AutoRestorer:
        """The networks of a task. Raises as `Restorer.load` and `Restorer.from_pretrained` do."""
        key = 'own' if self.weights else task
        with self._reading:
            if key not in self._loaded:
                self._loaded[key] = self._load(key)
            return self._loaded[key]

    def _load(self, key: str) -> Restorer | AutoRestorer:
        from gavn.restoration.auto_restorer import AutoRestorer
        from gavn.restoration.restorer import Restorer
        means = {'device': self.device, 'dtype': self.dtype, 'batch': self.batch}
        if self.weights:
            return Restorer.load(self.weights, **means)
        if key == 'auto':
            return AutoRestorer(**means)
        return Restorer.from_pretrained(key, **means)
