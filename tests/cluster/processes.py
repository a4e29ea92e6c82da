"""Processes of this machine, which a test kills."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE = 900  # seconds, on a machine with other work


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Returns when something holds."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, f'waited in vain for {what}'
        time.sleep(0.1)


def kill_one(is_worker: Callable[[list[str]], bool], has_begun: Callable[[], bool]) -> int:
    """Kills a worker with SIGKILL while it works; returns its process id."""
    killed: list[int] = []

    def kill() -> bool:
        if has_begun():
            pids = [pid for pid, words in _command_lines() if is_worker(words)]
            for pid in pids[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return bool(killed)

    wait_until(kill, 'a worker')
    return killed[0]


def kill_all(mark: str) -> None:
    """Kills all processes, apart from this one, that were started with this text in their environment."""
    for path in Path('/proc').glob('[0-9]*/environ'):
        with suppress(OSError):  # has just ended
            if int(path.parent.name) != os.getpid() and mark.encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):
            yield int(path.parent.name), path.read_bytes().decode(errors='replace').split('\0')
