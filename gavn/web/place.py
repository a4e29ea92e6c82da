"""The folder of a server: made at its start, removed at its end, or by the next server if it was killed."""
from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from filelock import FileLock, Timeout

PREFIX = 'gavn_web_'
_LOCK = 'lock'  # held while the server lives, released by the system when it is killed
_YOUNG = 60  # seconds in which a folder without a lock may belong to a server that is just starting


@contextmanager
def served_folder() -> Iterator[Path]:
    """A new folder that is removed at the end; those that killed servers left are removed first."""
    sweep(Path(gettempdir()))
    folder = Path(mkdtemp(prefix=PREFIX)).resolve()
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> list[Path]:
    """Removes the folders of servers that do not live any more; returns them."""
    gone = [folder for folder in sorted(parent.glob(f'{PREFIX}*')) if _own(folder) and _abandoned(folder)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _own(folder: Path) -> bool:
    """Whether it is a folder of this user, not a link to one."""
    found = folder.lstat()
    return folder.is_dir() and not folder.is_symlink() and found.st_uid == getattr(os, 'getuid', lambda: 0)()


def _abandoned(folder: Path) -> bool:
    lock = folder / _LOCK
    if not lock.exists():
        return time.time() - folder.stat().st_mtime > _YOUNG
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False
