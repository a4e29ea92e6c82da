"""Returns freed memory to the operating system."""
import ctypes
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec('_P')
_R = TypeVar('_R')


def trim_memory() -> None:
    """Returns freed memory that glibc keeps for each thread."""
    _trim()(0)


def release_freed_memory(step: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator: returns freed memory to the system after a step."""
    @functools.wraps(step)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        result = step(*args, **kwargs)
        trim_memory()
        return result

    return call


@functools.cache
def _trim() -> Callable[[int], object]:
    """Returns glibc's malloc_trim; a no-op on other systems."""
    libc = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return getattr(libc, 'malloc_trim', lambda _: None)
