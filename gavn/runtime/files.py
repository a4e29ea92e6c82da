"""Atomic files, file hashes and full disks."""
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gavn.runtime.file_names import with_ending

_CHUNK = 1 << 20
_RANDOM = 8  # characters that mkstemp puts into a name
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _permissions() -> int:
    """Returns the mode of new files; temporary files are private."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it is renamed to `path` on success and removed on failure.

    The temporary name keeps the extension, because writers select the format by it. Missing parent folders
    are created. Readers see the old or the new file, never a partial one, even if the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = f'.part{path.suffix}'
    prefix = with_ending(f'.{path.stem}.', '', spare=_RANDOM + len(os.fsencode(ending)))
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=ending, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(_permissions())
        with part.open('rb') as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # not set for a full disk
        raise
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Returns a fast hash of a large file that changes with its content.

    It is the SHA-256 of size, modification time (in nanoseconds), first and last MiB. It misses only a change
    in the middle that restores the modification time.
    """
    with open(path, 'rb') as file:
        state = os.fstat(file.fileno())
        digest = hashlib.sha256(f'{state.st_size} {state.st_mtime_ns}'.encode())
        for start in (0, max(_CHUNK, state.st_size - _CHUNK)):
            file.seek(start)
            digest.update(file.read(_CHUNK))
    return digest.hexdigest()


def sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's quota is full, or the file system takes no file of this size."""
    return error.errno in _FULL
