"""Patch of basicsr.data.prefetch_dataloader, and the prefetchers that the training loop uses."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from basicsr.data import prefetch_dataloader
from torch.utils.data import DataLoader

from gavn.basicsr_patches.utils_logger import DataWaitTimer
from gavn.runtime.prefetch import PrefetchIterator

Batch = dict[str, Any]


class CPUPrefetcher:
    """Returns one batch after the other, and None after the last batch of an epoch.

    Defect: basicsr's prefetchers start workers in their constructor, before the sampler knows its epoch.

    Args:
        on_batch: called before each batch is returned.
        on_end: called after the last batch of an epoch.
        wait_timer: measures how long the training loop waits for `loader`.
    """

    def __init__(self, loader: DataLoader, on_batch: Callable[[], None], on_end: Callable[[], None],
                 wait_timer: DataWaitTimer) -> None:
        self.loader, self.wait_timer = loader, wait_timer
        self.on_batch, self.on_end = on_batch, on_end
        self.batches: Iterator[Batch] = iter(())

    def reset(self) -> None:
        """Starts an epoch."""
        sampler: Any = self.loader.sampler
        self.batches = iter(self.loader) if len(sampler) else iter(())

    def next(self) -> Batch | None:
        """The next batch, or None at the end of the epoch."""
        with self.wait_timer.measure():
            batch = next(self.batches, None)
        (self.on_end if batch is None else self.on_batch)()
        return batch


class CUDAPrefetcher(CPUPrefetcher):
    """Copies each batch to the GPU on a separate stream while the previous batch is computed.

    Time counts as waiting only if the GPU is idle when the batch arrives.
    """

    def __init__(self, loader: DataLoader, on_batch: Callable[[], None], on_end: Callable[[], None],
                 wait_timer: DataWaitTimer) -> None:
        super().__init__(loader, on_batch, on_end, wait_timer)
        self.stream = torch.cuda.Stream()
        self.next_batch: Batch | None = None

    def reset(self) -> None:
        """Starts an epoch and loads its first batch."""
        super().reset()
        self._load()

    def _load(self) -> None:
        done = torch.cuda.current_stream().record_event()
        with self.wait_timer.measure(is_busy=lambda: not done.query()):
            batch = next(self.batches, None)
        with torch.cuda.stream(self.stream):
            self.next_batch = None if batch is None else {
                key: value.cuda(non_blocking=True) if torch.is_tensor(value) else value
                for key, value in batch.items()}

    def next(self) -> Batch | None:
        """The next batch with its tensors on the GPU, or None at the end of the epoch."""
        current = torch.cuda.current_stream()
        current.wait_stream(self.stream)
        batch = self.next_batch
        for value in (batch or {}).values():
            if torch.is_tensor(value):
                value.record_stream(current)  # keeps the memory until this stream has used it
        self._load()
        (self.on_end if batch is None else self.on_batch)()
        return batch


# Defect: an exception in basicsr's thread is lost and training waits for ever. With persistent workers the
# thread also takes a batch of the next epoch, which is then lost.
prefetch_dataloader.PrefetchGenerator = PrefetchIterator
