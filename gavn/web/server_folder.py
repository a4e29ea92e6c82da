"""Temporary folder of a server. If the server is killed, the next one removes it."""
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
_LOCK = 'lock'  # held while the server runs; the system releases it
_YOUNG = 60  # seconds; a younger folder without a lock may belong to a starting server


@contextmanager
def server_folder() -> Iterator[Path]:
    """Creates a folder and removes it at the end; first removes the folders of killed servers."""
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
    """Removes and returns the folders of killed servers."""
    gone = [folder for folder in sorted(parent.glob(f'{PREFIX}*')) if _own(folder) and _abandoned(folder)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _own(folder: Path) -> bool:
    """Returns whether it is a folder of this user and not a link."""
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
