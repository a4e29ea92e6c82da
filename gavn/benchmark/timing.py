"""Medians of many calls, the memory at their peak, and the bytes that their operators move."""
from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_MIB = 2**20
_LEAST, _MOST = 3, 200  # calls


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: the median, half the distance of the quartiles in percent of it, how many."""

    ms: float
    spread: float
    calls: int


def measure(call: Callable[[], Any], device: torch.device, seconds: float) -> Timing:
    """Times calls for about so many seconds, three at least, after one to warm up; on a GPU by events."""
    call()
    wait(device)
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < 1000 * seconds and len(times) < _MOST):
        times.append(_once(call, device))
    low, median, high = statistics.quantiles(times, n=4)
    return Timing(median, 100 * (high - low) / (2 * median), len(times))


def _once(call: Callable[[], Any], device: torch.device) -> float:
    if device.type != 'cuda':
        start = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    call()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def peak_mib(call: Callable[[], Any], device: torch.device) -> float | None:
    """MiB that a call takes at its peak: of a GPU's tensors all, of a CPU what the process grew by.

    None where a system does not tell: only Linux forgets earlier peaks (/proc/self/clear_refs).
    """
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / _MIB
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')
        before = _status('VmRSS')
        call()
        return max(0., _status('VmHWM') - before)
    return None


def _status(name: str) -> float:
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:')) / 1024


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(_distinct(tree_leaves((args, kwargs, result))))
        return result


def _distinct(leaves: Iterable[Any]) -> Iterable[int]:
    """Bytes of tensors; what is broadcast along an axis is read once."""
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            sides = [side for side, stride in zip(leaf.shape, leaf.stride(), strict=True) if stride]
            yield leaf.element_size() * int(torch.Size(sides).numel())


def traffic(call: Callable[[], Any]) -> float:
    """Bytes in 10^9 that the operators of a call read and write if each goes to memory and none is fused."""
    with _Traffic() as counted, torch.no_grad():
        call()
    return counted.bytes / 1e9
