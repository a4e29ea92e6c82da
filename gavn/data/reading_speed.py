"""How fast a core reads training frames back, and how large they lie, in each form that `pack` can write."""
from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gavn.data.clip_store import ClipEntry, ClipStore, ClipWriter, pack
from gavn.data.storage import STORES
from gavn.runtime.lmdb_environment import close_lmdb

WINDOW = 7  # frames that a training sample reads in a row


@dataclass(frozen=True)
class Speed:
    """Of one form: frames read a second of processor time, kilobytes (1024) a frame, ms to pack a PNG."""

    store: str
    frames_per_second: float
    kilobytes: float
    pack_ms: float


def measure_stores(frames: Sequence[np.ndarray], stores: Iterable[str] = tuple(STORES), repeats: int = 9
                   ) -> list[Speed]:
    """Packs frames (uint8 BGR, one size, at least 7) into an LMDB in each form and reads its windows again.

    In processor time, so that other work on the machine changes little; medians of `repeats` passes over all
    windows, the forms taking turns, after one that does not count. What is read lies in memory: a disk may be
    slower.
    """
    stores = tuple(stores)
    with tempfile.TemporaryDirectory() as folder:
        roots = {store: _unpacked(Path(folder, store), frames) for store in stores}
        packing = {store: _seconds(lambda store=store: pack(roots[store], ['gt'], store)) for store in stores}
        readers = {store: ClipStore(roots[store], 'gt', 'lmdb') for store in stores}
        passes = [{store: _seconds(lambda reader=reader: _read(reader, len(frames)))
                   for store, reader in readers.items()} for _ in range(repeats + 1)][1:]
        sizes = {store: sum(len(readers[store].value(f'clip/{i:08d}', '')) for i in range(len(frames)))
                 for store in stores}
        for reader in readers.values():
            close_lmdb(reader.path)
    read = WINDOW * (len(frames) - WINDOW + 1)
    return [Speed(store, read / median(each[store] for each in passes), sizes[store] / len(frames) / 1024,
                  1000 * packing[store] / len(frames)) for store in stores]


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _unpacked(root: Path, frames: Sequence[np.ndarray]) -> Path:
    writer = ClipWriter(root)
    writer.frames('gt', 'clip', frames)
    writer.meta('train', [ClipEntry('clip', len(frames), frames[0].shape)])
    return root


def _read(store: ClipStore, count: int) -> None:
    for start in range(count - WINDOW + 1):
        store.frames('clip', range(start, start + WINDOW))
