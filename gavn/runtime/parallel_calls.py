"""Parallel calls on a CPU, each with a part of the threads.

Layers of a small network cannot use many threads; several calls with a few threads each can.
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

_MAX_CALLS = 8  # each call needs its own memory
_Part = TypeVar('_Part')
_Result = TypeVar('_Result')


def parallel_call_count(networks: Iterable[nn.Module], device: torch.device) -> int:
    """Returns the number of parallel calls for networks; several only on a CPU if `thread_safe`.

    A network is thread-safe if its methods keep no state between calls; compiled networks are not. Threads
    are created here, because other threads should not start while PyTorch's thread count is set.
    """
    threads = torch.get_num_threads()
    safe = all(getattr(network, 'thread_safe', False) and not is_compiled(network) for network in networks)
    if device.type != 'cpu' or threads == 1 or not safe:
        return 1
    calls = max(range(2, _MAX_CALLS + 1), key=lambda some: (some <= threads, threads // some * some, some))
    _pool(calls, threads // calls)
    return calls


def parallel_calls(call: Callable[[_Part], _Result], parts: Sequence[_Part], calls: int) -> list[_Result]:
    """Calls a function for each part, up to `calls` at the same time.

    Inference mode, gradient mode and CPU autocast are those of the caller. Each call has the same number of
    threads, so that results do not depend on the number of parts. After an exception, running calls finish
    and the others are cancelled. Nested calls are sequential.
    """
    threads = torch.get_num_threads()
    calls = min(calls, threads)
    if calls == 1 or getattr(_here, 'is_worker', False):
        return [call(part) for part in parts]
    pool, wrapped = _pool(calls, threads // calls), _with_modes(call)
    futures = [pool.submit(wrapped, part) for part in parts]
    try:
        return [future.result() for future in futures]
    finally:
        wait([future for future in futures if not future.cancel()])


def _with_modes(call: Callable[[_Part], _Result]) -> Callable[[_Part], _Result]:
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled('cpu'), torch.get_autocast_dtype('cpu')

    def wrapped(part: _Part) -> _Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients), \
                torch.autocast('cpu', dtype, enabled=autocast):
            return call(part)

    return wrapped


_here = local()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_pools_lock = Lock()


def _pool(calls: int, threads: int) -> ThreadPoolExecutor:
    """Returns a pool of `calls` workers, for each of which PyTorch uses `threads` threads; created once."""
    with _pools_lock:
        if (calls, threads) not in _pools:
            _pools[calls, threads] = _create_pool(calls, threads)
        return _pools[calls, threads]


def _create_pool(calls: int, threads: int) -> ThreadPoolExecutor:
    number, all_started = torch.get_num_threads(), Barrier(calls + 1)

    def begin() -> None:
        _here.is_worker = True
        torch.get_num_threads()  # from now on the thread has its own number
        torch.set_num_threads(threads)
        all_started.wait()

    pool = ThreadPoolExecutor(calls, 'parallel_calls', begin)
    try:
        for _ in range(calls):
            pool.submit(int)  # starts a thread
        all_started.wait()
    except BaseException:
        all_started.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(number)  # for other new threads
    return pool


def _forget() -> None:
    global _pools_lock
    _pools_lock = Lock()
    _pools.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)  # threads do not survive a fork
