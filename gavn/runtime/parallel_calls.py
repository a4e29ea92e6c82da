"""Calls side by side on a CPU, each with a share of its threads.

Layers of a small network leave some of many threads waiting; several calls with a few threads each do not.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier, Lock, local
from typing import TypeVar

import torch
from torch import nn

from gavn.runtime.compilation import is_compiled

_MOST = 8  # calls: each takes the memory of one
_Part, _Result = TypeVar('_Part'), TypeVar('_Result')


def parallel_call_count(networks: Iterable[nn.Module], device: torch.device) -> int:
    """How many calls of networks suit a device: on a CPU several of those that say they are `thread_safe`.

    A network is if its methods keep nothing from call to call; what is compiled is not. The threads are made
    now: while PyTorch is told how many each may use, others had better not be at their first work.
    """
    threads = torch.get_num_threads()
    if device.type != 'cpu' or threads == 1 or not all(map(_may_run_twice, networks)):
        return 1
    calls = max(range(2, _MOST + 1), key=lambda some: (some <= threads, threads // some * some, some))
    _pool(calls, threads // calls)
    return calls


def _may_run_twice(network: nn.Module) -> bool:
    return getattr(network, 'thread_safe', False) and not is_compiled(network)


def side_by_side(call: Callable[[_Part], _Result], parts: Sequence[_Part], calls: int) -> list[_Result]:
    """What `call` returns for each part, in order, up to `calls` of them at the same time.

    Calls see inference mode, gradients and autocast of a CPU as the caller does. Each has the same number of
    threads whatever the number of parts, and so the same result. What a call raises is raised when those that
    had begun are done; the others are not begun. Within a call, calls come one after the other.
    """
    threads = torch.get_num_threads()
    calls = min(calls, threads)
    if calls == 1 or getattr(_here, 'is_one_of_many', False):
        return [call(part) for part in parts]
    pool, seen = _pool(calls, threads // calls), _in_the_same_modes(call)
    begun = [pool.submit(seen, part) for part in parts]
    try:
        return [one.result() for one in begun]
    finally:
        wait([one for one in begun if not one.cancel()])


def _in_the_same_modes(call: Callable[[_Part], _Result]) -> Callable[[_Part], _Result]:
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled('cpu'), torch.get_autocast_dtype('cpu')

    def seen(part: _Part) -> _Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients), \
                torch.autocast('cpu', dtype, enabled=autocast):
            return call(part)

    return seen


_here = local()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_making = Lock()


def _pool(calls: int, threads: int) -> ThreadPoolExecutor:
    """A pool of `calls` threads, each of which has PyTorch work with `threads`; made once."""
    with _making:
        if (calls, threads) not in _pools:
            _pools[calls, threads] = _made(calls, threads)
        return _pools[calls, threads]


def _made(calls: int, threads: int) -> ThreadPoolExecutor:
    number, all_begun = torch.get_num_threads(), Barrier(calls + 1)

    def begin() -> None:
        _here.is_one_of_many = True
        torch.get_num_threads()  # once a thread has asked, it keeps its own number
        torch.set_num_threads(threads)
        all_begun.wait()

    pool = ThreadPoolExecutor(calls, 'side_by_side', begin)
    try:
        for _ in range(calls):
            pool.submit(int)  # a thread begins when it is needed
        all_begun.wait()
    except BaseException:
        all_begun.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(number)  # or threads yet to come would have those of these
    return pool


def _forget() -> None:
    global _making
    _making = Lock()
    _pools.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)  # threads stay behind
