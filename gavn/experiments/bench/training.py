"""Time of the loader with LMDBs, and of training steps of stage 2: plain, fast, and with the loader."""
from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gavn.audio.mfcc import MFCC_PER_FRAME, N_MFCC
from gavn.basicsr_patches.data_prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
from gavn.basicsr_patches.utils_logger import DataWaitTimer
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.clip_store import ClipEntry, ClipWriter, pack
from gavn.experiments.bench.networks import (
    GAVN_64,
    SPECS,
    TRITON,
    BenchCase,
    BenchNetwork,
    operators,
    prepare,
)
from gavn.experiments.bench.rows import BenchRow, no_figure
from gavn.experiments.bench.timing import Laps, Timing, measure, peak_mib, wait
from gavn.faces.landmarks import N_POINTS
from gavn.models.cost import parameters
from gavn.restoration.model_spec import ModelSpec
from gavn.runtime.devices import has_bfloat16

CLIPS, CLIP_FRAMES, WINDOW = 4, 28, 7  # of the data set
PLAIN = BenchCase('stock', 'fp32', 'one batch')
_EPS = 1e-6  # of the Charbonnier loss
_ENDLESS = 10**6  # samples: indices of gavn's data sets continue in the next epoch
_WARM_UP, _LEAST = 3, 10  # steps with a loader
Step = Callable[[dict[str, Tensor]], None]


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


def time_loading(size: int, workers: tuple[int, ...], seconds: float) -> Iterator[BenchRow]:
    """Windows of seven degraded frames with ground truth per second, by the number of workers."""
    with tempfile.TemporaryDirectory() as folder:
        make_set(Path(folder), size)
        for count in workers:
            data = windows_of(Path(folder))
            loader = DataLoader(data, batch_size=4, num_workers=count, persistent_workers=count > 0)
            timing = measure(partial(deque, loader, 0), torch.device('cpu'), seconds)
            yield BenchRow('loader', f'LMDB, {count} workers', 'cpu', '', '', 'pass over the set', timing.ms,
                           timing.spread, timing.calls, 1000 * len(data) / timing.ms)


def steps(device: torch.device, batch: int, size: int, seconds: float, name: str = GAVN_64,
          spec: ModelSpec | None = None) -> Iterator[BenchRow]:
    """A step (forward, loss, backward, Adam) of the whole network: plain, then channels-last.

    The second also has fused Adam, bf16 where the device has it and, on a GPU, triton's kernels. Landmarks
    are given; faces are noise.
    """
    fast = _fast_case(device)
    fused = (replace(fast, form=TRITON),) if device.type == 'cuda' else ()
    for case in (PLAIN, fast, *fused):
        try:
            yield _time_step(case, name, spec or SPECS[name], device, batch, size, seconds)
        except RuntimeError as error:
            print(no_figure(f'training step, {case.form}', error), flush=True)


def _time_step(case: BenchCase, name: str, spec: ModelSpec, device: torch.device, batch: int, size: int,
               seconds: float) -> BenchRow:
    subject, step = _training_step(case, name, spec, device, size)
    once = partial(step, _noise(subject, batch))
    with operators(case):
        memory = peak_mib(once, device)
        timing = measure(once, device, seconds)
    return _row(subject, case, case.schedule, batch, timing, memory)


def time_steps_with_loader(device: torch.device, batch: int, size: int, seconds: float, workers: int,
                           name: str = GAVN_64, spec: ModelSpec | None = None) -> BenchRow:
    """The fast step with the loader: workers, prefetcher and wait timer of training.

    Batches come from LMDBs of noise. On a GPU they are prefetched (`prefetch_mode: cuda`), and waiting only
    counts while the GPU is idle.
    """
    case = _fast_case(device)
    subject, step = _training_step(case, name, spec or SPECS[name], device, size)
    with tempfile.TemporaryDirectory() as folder, operators(case):
        make_set(Path(folder), size)
        loader = DataLoader(windows_of(Path(folder), subject.layout.inputs), batch, sampler=range(_ENDLESS),
                            num_workers=workers, pin_memory=device.type == 'cuda')
        timing, waited = _train(step, loader, device, seconds)
    return _row(subject, case, f'LMDB, {workers} workers', batch, timing, waited=waited)


def _fast_case(device: torch.device) -> BenchCase:
    return BenchCase('gavn', 'bf16' if has_bfloat16(device) else 'fp32', 'one batch')


def _training_step(
    case: BenchCase, name: str, spec: ModelSpec, device: torch.device, size: int
) -> tuple[BenchNetwork, Step]:
    """A network in training mode, and a step on a batch."""
    subject = prepare(name, spec, device, size, case.form)
    network = subject.network.train().requires_grad_()
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=case.form != 'stock')

    def step(batch: dict[str, Tensor]) -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == 'bf16'):
            restored = subject.restore({**batch})
        ((restored.float() - batch['gt']).square() + _EPS).sqrt().mean().backward()
        adam.step()

    return subject, step


def _noise(subject: BenchNetwork, batch: int) -> dict[str, Tensor]:
    layout = subject.layout
    windows = subject.noise(layout, batch)
    truth = windows['lq'][:, layout.context:layout.context + layout.outputs]
    return {**windows, 'gt': torch.rand_like(truth)}


def _train(step: Step, loader: DataLoader, device: torch.device, seconds: float) -> tuple[Timing, float]:
    """Times steps for about `seconds` after a warm-up; also returns the percentage of waiting."""
    wait_timer, kind = DataWaitTimer(), CUDAPrefetcher if device.type == 'cuda' else CPUPrefetcher
    prefetcher = kind(loader, _nothing, _nothing, wait_timer)
    prefetcher.reset()

    def one() -> None:
        batch = prefetcher.next()
        assert batch is not None, 'the sampler never ends'
        step(batch)

    for _ in range(_WARM_UP):
        one()
    wait(device)
    wait_timer.percent()  # resets the timer
    laps, end = Laps(device), time.perf_counter() + seconds
    while len(laps) < _LEAST or time.perf_counter() < end:
        one()
        laps.mark()
    return laps.timing(), float(wait_timer.percent())


def _nothing() -> None:
    """Callback without effect."""


def _row(subject: BenchNetwork, case: BenchCase, batches: str, batch: int, timing: Timing,
         memory: float | None = None, waited: float | None = None) -> BenchRow:
    name = f'{subject.name}, {batch} x {subject.layout.inputs} x {subject.size}'
    return BenchRow('training', name, subject.device.type, case.form, case.precision, batches, timing.ms,
                    timing.spread, timing.calls, 1000 / timing.ms, memory, parameters(subject.network),
                    waited=waited)
