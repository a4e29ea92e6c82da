"""Calls side by side on a CPU, each with a share of its threads.

Layers of a small network leave some of many threads waiting; several calls with a few threads each do not.
"""
from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch
from torch import nn

from gavn.utils.compiling import is_compiled

_MOST = 8  # calls: each takes the memory of one
_Part, _Result = TypeVar('_Part'), TypeVar('_Result')


def calls_at_once(networks: Iterable[nn.Module], device: torch.device) -> int:
    """How many calls of networks suit a device: on a CPU several of those that say they are `reentrant`.

    A network is if its methods keep nothing from call to call; what is compiled is not.
    """
    threads = torch.get_num_threads()
    if device.type != 'cpu' or threads == 1 or not all(map(_may_run_twice, networks)):
        return 1
    return max(range(2, _MOST + 1), key=lambda calls: (calls <= threads, threads // calls * calls, calls))


def _may_run_twice(network: nn.Module) -> bool:
    return getattr(network, 'reentrant', False) and not is_compiled(network)


def side_by_side(call: Callable[[_Part], _Result], parts: Sequence[_Part], calls: int) -> list[_Result]:
    """What `call` returns for each part, in order, `calls` of them at the same time.

    Calls see inference mode, gradients and autocast of a CPU as the caller does. Each has the same number of
    threads whatever the number of parts, and so the same result. What a call raises is raised when those that
    had begun are done; the others are not begun.
    """
    threads = torch.get_num_threads() // calls
    modes = (torch.is_inference_mode_enabled(), torch.is_grad_enabled(),
             torch.is_autocast_enabled('cpu'), torch.get_autocast_dtype('cpu'))

    def in_these_modes(part: _Part) -> _Result:
        inference, gradients, autocast, dtype = modes
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients), \
                torch.autocast('cpu', dtype, enabled=autocast):
            return call(part)

    return list(_pool(calls, threads).map(in_these_modes, parts))


@functools.cache
def _pool(calls: int, threads: int) -> ThreadPoolExecutor:
    """A pool of `calls` threads, each of which has PyTorch work with `threads`."""
    here, begun = torch.get_num_threads(), Barrier(calls + 1)

    def begin() -> None:
        torch.get_num_threads()  # once a thread has asked, it keeps its own number
        torch.set_num_threads(threads)
        begun.wait()

    pool = ThreadPoolExecutor(calls, 'side_by_side', begin)
    for _ in range(calls):
        pool.submit(int)  # a thread begins when it is needed
    begun.wait()
    torch.set_num_threads(here)  # which threads yet to come would have from these
    return pool


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind
