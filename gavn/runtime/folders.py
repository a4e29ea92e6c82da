"""Folders on a disk or in object storage (datatrove's DataFolder): listing, and files as local paths."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

Folder: TypeAlias = Any  # datatrove.io.DataFolder, which has no types


def list_files(folder: Folder, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yields the names of files, relative to the folder, without holding them.

    Hidden files and folders and links to folders are left out. Object storage lists one folder at a time.

    Args:
        folder: the folder.
        wanted: whether a file name, without its folder, is wanted.
    """
    if folder.is_local():
        yield from _scan(folder.resolve_paths(''), '', wanted)
        return
    for place, _, names in folder.walk(''):
        inside = f'{place}/' if place else ''
        if not any(part.startswith('.') for part in place.split('/')):
            yield from (inside + name for name in names if wanted(name) and not name.startswith('.'))


def _scan(root: str, inside: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    with os.scandir(os.path.join(root, inside)) as entries:
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _scan(root, f'{inside}{entry.name}/', wanted)
            elif wanted(entry.name) and entry.is_file():
                yield inside + entry.name


@contextmanager
def local_copy(folder: Folder, name: str) -> Iterator[Path]:
    """Yields a local path of a file: itself, or a copy that is removed afterwards."""
    if folder.is_local():
        yield Path(folder.resolve_paths(name))
        return
    with TemporaryDirectory(prefix='gavn_') as scratch:
        path = Path(scratch, os.path.basename(name))
        folder.get_file(name, str(path))
        # `fingerprint` has the modification time: the same on all machines, another for another content
        version = hashlib.sha256(str(folder.ukey(name)).encode()).digest()
        os.utime(path, (0, int.from_bytes(version[:4], 'big')))
        yield path


@contextmanager
def local_target(folder: Folder, name: str, state: str, needed: Callable[[str], bool] = lambda name: True
                 ) -> Iterator[Path]:
    """Yields the local path where a file and files beside it are written.

    For object storage this is in a temporary folder, with a copy of the folder `state`. At the end, also
    after an error, new and changed files are uploaded and what was removed from the copy is removed.

    Args:
        folder: the folder.
        name: of the file.
        state: name of the folder beside the file that holds unfinished work.
        needed: whether a file of `state` is needed.
    """
    if folder.is_local():
        path = Path(folder.resolve_paths(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    parent = os.path.dirname(name)
    with TemporaryDirectory(prefix='gavn_') as scratch:
        before = _download(folder, f'{parent}/{state}'.lstrip('/'), Path(scratch, state), needed)
        try:
            yield Path(scratch, os.path.basename(name))
        finally:
            _upload(folder, parent, Path(scratch), before)


def _download(folder: Folder, stored: str, copy: Path, needed: Callable[[str], bool]) -> dict[Path, int]:
    """Copies the files of a stored folder; returns the copies and their modification times."""
    folder.fs.invalidate_cache()
    files = folder.find(stored) if folder.isdir(stored) else []
    before = {}
    for file in filter(lambda file: needed(os.path.basename(file)), files):
        path = copy / os.path.basename(file)
        copy.mkdir(exist_ok=True)
        folder.get_file(file, str(path))
        before[path] = path.stat().st_mtime_ns
    return before


def _upload(folder: Folder, parent: str, scratch: Path, before: Mapping[Path, int]) -> None:
    """Uploads new and changed files, notes (.json) after what they are about; removes what is gone."""
    def name_of(path: Path) -> str:
        return f'{parent}/{path.relative_to(scratch).as_posix()}'.lstrip('/')

    now = {path for path in scratch.rglob('*') if path.is_file() and path.name != 'lock'}
    for path in sorted(now, key=lambda path: (path.suffix == '.json', path)):
        if not path.name.startswith('.') and before.get(path) != path.stat().st_mtime_ns:
            folder.makedirs(os.path.dirname(name_of(path)), exist_ok=True)
            folder.put_file(str(path), name_of(path))
    for path in before.keys() - now:
        with suppress(FileNotFoundError):  # a process that did the same was faster
            folder.rm_file(name_of(path))
