"""Folders on a disk or in object storage (datatrove's DataFolder): listing, and files as local paths."""
from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from gavn.runtime.files import fingerprint

Folder: TypeAlias = Any  # datatrove.io.DataFolder, which has no types

Entries: TypeAlias = Callable[[Folder, str, Callable[[str], bool]], Iterator[tuple[str, bool]]]

_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


def list_files(folder: Folder, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yields the names of files, relative to the folder, without holding them.

    Hidden files and folders and links to folders are left out. Object storage lists a whole folder at once.
    A folder inside that cannot be listed is left out with a notice.

    Args:
        folder: the folder.
        wanted: whether a file name, without its folder, is wanted.
    """
    yield from _list(folder, _scan if folder.is_local() else _listing, '', wanted)


def _list(folder: Folder, entries: Entries, inside: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    try:
        for name, is_folder in entries(folder, inside, wanted):
            if is_folder:
                yield from _list(folder, entries, f'{inside}{name}/', wanted)
            else:
                yield inside + name
    except OSError as error:
        if not inside:
            raise
        _log.warning('%s is left out, because it cannot be listed: %s', folder.resolve_paths(inside), error)


def _scan(folder: Folder, inside: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bool]]:
    """Yields the names in a folder on a disk: wanted files, and folders; and whether it is a folder."""
    with os.scandir(os.path.join(folder.resolve_paths(''), inside)) as entries:
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder or (wanted(entry.name) and _is_file(entry)):
                yield entry.name, is_folder


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to a folder without read permission: opening it raises the error
        return True


def _listing(folder: Folder, inside: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bool]]:
    """Yields the names in a folder of object storage, as `_scan`."""
    found = [(os.path.basename(entry['name'].rstrip('/')), entry['type'] == 'directory')
             for entry in folder.ls(inside, detail=True) if entry['name'].strip('/') != inside.rstrip('/')]
    folder.fs.invalidate_cache()  # fsspec keeps all listings
    for name, is_folder in found:
        if not name.startswith('.') and (is_folder or wanted(name)):
            yield name, is_folder


def version(folder: Folder, name: str) -> str:
    """Returns a hash that changes with the content of a file; object storage is asked, not read."""
    if folder.is_local():
        return fingerprint(folder.resolve_paths(name))
    folder.fs.invalidate_cache()  # cached facts differ from those of a single file
    return hashlib.sha256(str(folder.ukey(name)).encode()).hexdigest()


def check_readable(folder: Folder, name: str) -> None:
    """Reads a file; raises an OSError if that fails."""
    with folder.open(name, 'rb') as file:
        while file.read(_CHUNK):
            pass


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
        os.utime(path, (0, int(version(folder, name)[:8], 16)))
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
