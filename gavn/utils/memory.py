"""Memory that was freed, given back to the system."""
import ctypes
import functools
import sys
from collections.abc import Callable


def give_back() -> None:
    """Has the allocator give back what it keeps of freed memory; glibc keeps some for every thread."""
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    """glibc's malloc_trim; elsewhere nothing."""
    libc = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return getattr(libc, 'malloc_trim', lambda _: None)
