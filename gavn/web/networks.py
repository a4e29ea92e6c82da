"""Restorers by task; each is loaded on first use."""
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.checkpoints import pretrained
from gavn.checkpoints.hub import ModelError

if TYPE_CHECKING:
    from gavn.restoration.protocols import VideoRestorer

FAST = 'fast'  # as in gavn.restoration.weight_selection, which is slow to import
TASKS = {
    'auto': 'detect the degradation',
    'compression': 'compression artifacts',
    'deblur': 'blur',
    'sr': 'low resolution',
    'mixed': 'several of these',
    FAST: 'any of these, by the fastest network',
}


@dataclass
class Networks:
    """The restorers of a server.

    Attributes:
        weights: a bundle of the user for every task; None = pretrained weights.
        device, dtype, batch: see `Restorer`. Of several GPUs each worker has its own.
        workers: how many jobs restore at a time, each with its own restorers; 0 = one a GPU, one on a CPU.
    """

    weights: Path | None = None
    device: str = 'auto'
    dtype: str = 'auto'
    batch: int | None = None
    workers: int = 0
    _loaded: dict[tuple[str, int], VideoRestorer] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        devices = _gpus() if self.device in ('auto', 'cuda') else []
        self._devices = devices or [self.device]
        self.workers = self.workers or len(self._devices)

    @property
    def tasks(self) -> dict[str, str]:
        """Task -> description; empty if the user gave weights."""
        if self.weights:
            return {}
        installed = pretrained.list_pretrained()
        available = ('auto', *installed, *([FAST] if 'mixed' in installed else []))
        return {name: text for name, text in TASKS.items() if name in available}

    def check(self) -> None:
        """Loads the default restorer, so that unusable or missing weights are reported at the start."""
        if not self.weights and not pretrained.list_pretrained():
            raise ModelError('no pretrained weights are installed\nuse --weights FILE')
        self.restorer()

    def restorer(self, task: str = 'auto', worker: int = 0) -> VideoRestorer:
        """Returns a worker's restorer of a task; raises as `Restorer.load` and `Restorer.from_pretrained`."""
        key = 'own' if self.weights else task, worker
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(key[0], self._devices[worker % len(self._devices)])
            return self._loaded[key]

    def _load(self, key: str, device: str) -> VideoRestorer:
        from gavn.restoration.restorer_spec import RestorerSpec, build_restorer
        task, quality = ('auto', FAST) if key == FAST else (key, 'best')
        weights = None if self.weights is None else str(self.weights)
        return build_restorer(RestorerSpec(task, quality, weights, device=device, dtype=self.dtype,
                                           batch=self.batch))


def _gpus() -> list[str]:
    import torch
    return [f'cuda:{number}' for number in range(torch.cuda.device_count())]
