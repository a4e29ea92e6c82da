"""Files that are whole or absent."""
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gavn.runtime.file_names import with_ending

_CHUNK = 1 << 20
_RANDOM = 8  # characters that mkstemp puts into a name


def _permissions() -> int:
    """The mode `open` would give a new file (temporary files are made private)."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path beside `path` to write to: renamed to `path` on success, removed on any failure.

    The ending of the name is kept, since writers choose a format by it. Missing parent folders are made. A
    reader sees the old file or the new one, never a part of one, also when the process is killed.
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
        error.filename = error.filename or str(path)  # writing to a full disk names no file
        raise
    finally:
        part.unlink(missing_ok=True)


def fingerprint(path: str | os.PathLike[str]) -> str:
    """What tells a large file from others, and from itself once it is changed, in hexadecimal: read at once.

    SHA-256 of size, time of the last change (in nanoseconds), first and last MiB. Containers keep lengths and
    indices at their ends, encoders touch all between; only a change in place that sets the time back escapes.
    """
    with open(path, 'rb') as file:
        state = os.fstat(file.fileno())
        digest = hashlib.sha256(f'{state.st_size} {state.st_mtime_ns}'.encode())
        for start in (0, max(_CHUNK, state.st_size - _CHUNK)):
            file.seek(start)
            digest.update(file.read(_CHUNK))
    return digest.hexdigest()


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
