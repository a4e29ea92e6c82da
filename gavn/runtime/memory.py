"""Memory that was freed, given back to the system."""
import ctypes
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P, _R = ParamSpec('_P'), TypeVar('_R')


def give_back() -> None:
    """Has the allocator give back what it keeps of freed memory; glibc keeps some for every thread."""
    _trim()(0)


def release_freed_memory(step: Callable[_P, _R]) -> Callable[_P, _R]:
    """A step of some length, after which what it freed is given back: the next one begins without it."""
    @functools.wraps(step)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        result = step(*args, **kwargs)
        give_back()
        return result

    return call


@functools.cache
def _trim() -> Callable[[int], object]:
    """glibc's malloc_trim; elsewhere nothing."""
    libc = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return getattr(libc, 'malloc_trim', lambda _: None)
