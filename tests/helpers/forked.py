"""Work in a forked process."""
import os
import signal
from collections.abc import Callable

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes do not fork here')


def forked(work: Callable[[], object]) -> int:
    """The exit code of a fork of this process that does some work: 0 if it ends within half a minute."""
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends a child that waits for ever
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
