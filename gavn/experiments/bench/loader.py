"""Speed of the loader with LMDBs."""
from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from gavn.audio.mfcc import MFCC_PER_FRAME, N_MFCC
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.clip_store import ClipEntry, ClipWriter, pack
from gavn.experiments.bench.rows import Row
from gavn.experiments.bench.timing import measure
from gavn.faces.landmarks import N_POINTS

CLIPS, CLIP_FRAMES, WINDOW = 4, 28, 7  # of the data set


def make_set(root: Path, size: int) -> None:
    """Writes a data set of moving soft shapes with grain, which compress like photographs, as LMDBs."""
    rng, writer, length = np.random.default_rng(0), ClipWriter(root), MFCC_PER_FRAME * CLIP_FRAMES
    entries = [ClipEntry(f'speaker/{i}', CLIP_FRAMES, (size, size, 3)) for i in range(CLIPS)]
    for entry in entries:
        small = rng.integers(0, 256, (size // 8, size // 8 + CLIP_FRAMES, 3), dtype=np.uint8)
        wide = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        frames = [cv2.add(wide[:, i:i + size], rng.integers(0, 6, (size, size, 3), dtype=np.uint8))
                  for i in range(CLIP_FRAMES)]
        writer.frames('gt', entry.clip, frames)
        writer.frames('blur', entry.clip, [cv2.GaussianBlur(frame, (15, 15), 0) for frame in frames])
        writer.array('mfcc', entry.clip, rng.random((length, N_MFCC), dtype=np.float32))
        writer.array('landmarks', entry.clip, size * rng.random((CLIP_FRAMES, N_POINTS, 2), dtype=np.float32))
    writer.meta('train', entries)
    pack(root, ['gt', 'blur', 'mfcc', 'landmarks'])


def windows_of(root: Path, frames: int = WINDOW) -> AVClipDataset:
    """The data set, in windows of a number of frames."""
    return AVClipDataset({'root': str(root), 'degradation': 'blur', 'num_frame': frames,
                          'io_backend': {'type': 'lmdb'}})


def loading(size: int, workers: tuple[int, ...], seconds: float) -> Iterator[Row]:
    """Windows of seven degraded frames with ground truth per second, by the number of workers."""
    with tempfile.TemporaryDirectory() as folder:
        make_set(Path(folder), size)
        for count in workers:
            data = windows_of(Path(folder))
            loader = DataLoader(data, batch_size=4, num_workers=count, persistent_workers=count > 0)
            timing = measure(partial(deque, loader, 0), torch.device('cpu'), seconds)
            yield Row('loader', f'LMDB, {count} workers', 'cpu', '', '', 'pass over the set', timing.ms,
                      timing.spread, timing.calls, 1000 * len(data) / timing.ms)
