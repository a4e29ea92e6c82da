"""Batches on their way from the loader to the training loop."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from basicsr.data import prefetch_dataloader
from torch.utils.data import DataLoader

from gavn.basicsr_patches.utils_logger import Waiting
from gavn.runtime.prefetch import PrefetchIterator

Batch = dict[str, Any]


class Prefetcher:
    """Hands the training loop one batch after the other, None after the last of an epoch.

    The stock prefetchers start workers and load in their constructor, before the sampler knows its epoch.

    Args:
        on_batch: called before each batch is handed out.
        on_end: called after the last batch of an epoch is done.
        waiting: told of the time that the loader is waited for.
    """

    def __init__(self, loader: DataLoader, on_batch: Callable[[], None], on_end: Callable[[], None],
                 waiting: Waiting) -> None:
        self.loader, self.waiting = loader, waiting
        self.on_batch, self.on_end = on_batch, on_end
        self.batches: Iterator[Batch] = iter(())

    def reset(self) -> None:
        """Starts an epoch."""
        self.batches = iter(self.loader) if len(self.loader.sampler) else iter(())

    def next(self) -> Batch | None:
        """The next batch."""
        with self.waiting.counted():
            batch = next(self.batches, None)
        (self.on_end if batch is None else self.on_batch)()
        return batch


class CUDAPrefetcher(Prefetcher):
    """Copies each batch to the GPU, on a stream of its own, while the one before it is computed with.

    Time counts as waited for only if the GPU has run out of work by its end.
    """

    def __init__(self, loader: DataLoader, on_batch: Callable[[], None], on_end: Callable[[], None],
                 waiting: Waiting) -> None:
        super().__init__(loader, on_batch, on_end, waiting)
        self.stream = torch.cuda.Stream()
        self.ahead: Batch | None = None

    def reset(self) -> None:
        """Starts an epoch."""
        super().reset()
        self._load()

    def _load(self) -> None:
        done = torch.cuda.current_stream().record_event()
        with self.waiting.counted(busy=lambda: not done.query()):
            self.ahead = next(self.batches, None)
        with torch.cuda.stream(self.stream):
            for key, value in (self.ahead or {}).items():
                if torch.is_tensor(value):
                    self.ahead[key] = value.cuda(non_blocking=True)

    def next(self) -> Batch | None:
        """The next batch, its tensors on the GPU."""
        current = torch.cuda.current_stream()
        current.wait_stream(self.stream)
        batch = self.ahead
        for value in (batch or {}).values():
            if torch.is_tensor(value):
                value.record_stream(current)  # or its memory were used again too early
        self._load()
        (self.on_end if batch is None else self.on_batch)()
        return batch


def install() -> None:
    """Has loaders read ahead with `Ahead`.

    The stock thread dies of a bad sample without a word, and the training loop waits for ever. It also reads
    on when the next epoch begins with the same iterator (persistent workers), and takes a batch of it away.
    """
    prefetch_dataloader.PrefetchGenerator = PrefetchIterator
