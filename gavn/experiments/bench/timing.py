"""Medians of many calls, and their peak memory."""
from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from gavn.runtime.memory import trim_memory

_MIB = 2**20
STATUS = Path('/proc/self/status')  # on Linux only
_LEAST, _MOST = 3, 200  # calls


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: median, half the interquartile range in percent of it, number of calls."""

    ms: float
    spread: float
    calls: int


def measure(call: Callable[[], Any], device: torch.device, seconds: float, warm: bool = False) -> Timing:
    """Times at least three calls for about `seconds`, after one unless `warm`; on a GPU by events."""
    if not warm:
        call()
    wait(device)
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < 1000 * seconds and len(times) < _MOST):
        laps = Laps(device)
        call()
        laps.mark()
        times += laps.times()
    return _timing(times)


def _timing(times: list[float]) -> Timing:
    low, median, high = statistics.quantiles(times, n=4)
    return Timing(median, 100 * (high - low) / (2 * median), len(times))


class Laps:
    """Times from the start to the first `mark`, and between marks; on a GPU without synchronising."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[Any] = []
        self.mark()

    def __len__(self) -> int:
        """Number of finished laps."""
        return len(self.marks) - 1

    def mark(self) -> None:
        """Ends a lap and starts the next."""
        if self.device.type != 'cuda':
            self.marks.append(time.perf_counter())
            return
        self.marks.append(torch.cuda.Event(enable_timing=True))
        self.marks[-1].record()

    def times(self) -> list[float]:
        """Milliseconds of each lap; synchronises with the device."""
        wait(self.device)
        if self.device.type == 'cuda':
            return [first.elapsed_time(last) for first, last in pairwise(self.marks)]
        return [1000 * (last - first) for first, last in pairwise(self.marks)]

    def timing(self) -> Timing:
        """Summary of the laps."""
        return _timing(self.times())


def wait(device: torch.device) -> None:
    """Synchronises with a GPU."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def peak_mib(call: Callable[[], Any], device: torch.device) -> float | None:
    """Peak MiB of a call: all tensors on a GPU; the growth of the process on a CPU.

    None on systems other than Linux, which cannot reset the peak (/proc/self/clear_refs).
    """
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / _MIB
    trim_memory()  # otherwise calls would reuse memory that earlier ones freed
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')
        before = status_mib('VmRSS')
        call()
        return max(0., status_mib('VmHWM') - before)
    return None


def status_mib(name: str) -> float:
    """MiB of this process as reported by Linux: `VmRSS` now, `VmHWM` at its peak."""
    lines = STATUS.read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:')) / 1024
