"""Benchmark of the formats of `gavn.data.storage`: reading speed, size and packing time."""
from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gavn.data.clip_store import ClipEntry, ClipStore, ClipWriter, pack
from gavn.data.storage import STORES
from gavn.runtime.lmdb_environment import close_lmdb

WINDOW = 7  # consecutive frames of a training sample


@dataclass(frozen=True)
class Speed:
    """Result for one format: frames per second of CPU time, KiB per frame, ms to pack a frame."""

    store: str
    frames_per_second: float
    kilobytes: float
    pack_ms: float


def measure_stores(frames: Sequence[np.ndarray], stores: Iterable[str] = tuple(STORES), repeats: int = 9
                   ) -> list[Speed]:
    """Packs frames into an LMDB in each format and reads all windows.

    Times are CPU time, medians of `repeats` passes after a warm-up. The files are in the page cache; a disk
    may be slower.

    Args:
        frames: uint8 BGR (h, w, 3), one size, at least 7.
        stores: names of formats.
        repeats: number of passes.
    """
    stores = tuple(stores)
    with tempfile.TemporaryDirectory() as folder:
        roots = {store: _write_clip(Path(folder, store), frames) for store in stores}
        packing = {store: _cpu_seconds(partial(pack, roots[store], ['gt'], store))
                   for store in stores}
        readers = {store: ClipStore(roots[store], 'gt', 'lmdb') for store in stores}
        passes = [{store: _cpu_seconds(partial(_read, reader, len(frames)))
                   for store, reader in readers.items()} for _ in range(repeats + 1)][1:]
        sizes = {store: sum(len(readers[store].value(f'clip/{i:08d}', '')) for i in range(len(frames)))
                 for store in stores}
        for reader in readers.values():
            close_lmdb(reader.path)
    read = WINDOW * (len(frames) - WINDOW + 1)
    return [Speed(store, read / median(each[store] for each in passes), sizes[store] / len(frames) / 1024,
                  1000 * packing[store] / len(frames)) for store in stores]


def _cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _write_clip(root: Path, frames: Sequence[np.ndarray]) -> Path:
    writer = ClipWriter(root)
    writer.frames('gt', 'clip', frames)
    writer.meta('train', [ClipEntry('clip', len(frames), frames[0].shape)])
    return root


def _read(store: ClipStore, count: int) -> None:
    for start in range(count - WINDOW + 1):
        store.frames('clip', range(start, start + WINDOW))
