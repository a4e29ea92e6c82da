"""Patches of basicsr.utils.file_client."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from basicsr.utils.file_client import FileClient, LmdbBackend

from gavn.basicsr_patches.replace import wrap
from gavn.errors import DataError
from gavn.runtime.lmdb_environment import open_lmdb


class MissingKeyError(DataError):
    """An LMDB does not contain a key. The message names the LMDB and the key."""


class _NamedBytes(bytes):
    """Bytes with the name of the file or key that they were read from."""

    origin: str = ''


def lmdb_init(self: LmdbBackend, db_paths: str | list[str], client_keys: str | list[str] = 'default',
              readonly: bool = True, lock: bool = False, readahead: bool = False, **settings: Any) -> None:
    """Defect: an LMDB shared by `lq` and `gt` is opened twice, which lmdb refuses.

    The patch opens each environment once for a process, and again after a fork.
    """
    keys, paths = ([item] if isinstance(item, str) else item for item in (client_keys, db_paths))
    self.db_paths = [str(path) for path in paths]
    settings = {'readonly': readonly, 'lock': lock, 'readahead': readahead, **settings}
    self._client = {key: partial(open_lmdb, path, **settings)
                    for key, path in zip(keys, self.db_paths, strict=True)}
    for open_environment in self._client.values():
        open_environment()  # a wrong path fails here, not in a worker


def lmdb_get(self: LmdbBackend, filepath: str, client_key: str) -> bytes:
    """Defect: a missing key yields None, and decoding fails later without the name of the key.

    The patch raises MissingKeyError.
    """
    environment = self._client[client_key]()
    with environment.begin() as transaction:
        value = transaction.get(str(filepath).encode('ascii'))
    if value is None:
        raise MissingKeyError(f'{environment.path()} has no key {filepath!r}; pack the data set again, or '
                              'correct its meta info')
    return value


def named_get(original: Callable[..., bytes]) -> Callable[..., bytes]:
    """Defect: `imfrombytes` does not know which file its bytes come from.

    The patch attaches the file name to the bytes as `origin`.
    """
    @wraps(original)
    def get(self: FileClient, filepath: str, client_key: str = 'default') -> bytes:
        content = _NamedBytes(original(self, filepath, client_key))
        content.origin = f'{filepath} ({self.backend})'
        return content
    return get


def apply() -> None:
    """Patches LmdbBackend and `FileClient.get`."""
    LmdbBackend.__init__ = lmdb_init
    LmdbBackend.get = lmdb_get
    wrap(FileClient, 'get', named_get)
