"""Patches of basicsr.utils.file_client."""
from __future__ import annotations

from functools import partial
from typing import Any

from basicsr.utils.file_client import BaseStorageBackend, FileClient, HardDiskBackend

from gavn.errors import DataError
from gavn.runtime.lmdb_environment import open_lmdb


class MissingKeyError(DataError):
    """An LMDB does not contain a key. The message names the LMDB and the key."""


class _NamedBytes(bytes):
    """Bytes with the name of the file or key that they were read from."""

    origin: str

    def __new__(cls, content: bytes, origin: str) -> _NamedBytes:
        named = super().__new__(cls, content)
        named.origin = origin
        return named


class NamingDiskBackend(HardDiskBackend):
    """Defect: `imfrombytes` does not know which file its bytes come from, so its errors do not name it.

    The patch attaches the file name to the bytes as `origin`.
    """

    def get(self, filepath: str) -> bytes:
        """Content of a file."""
        return _NamedBytes(super().get(filepath), f'{filepath} (disk)')


class SharedLmdbBackend(BaseStorageBackend):
    """Defects: lmdb refuses the second opening of an LMDB shared by `lq` and `gt`. A missing key yields None.

    The patch opens each environment once for a process, and again after a fork. It raises MissingKeyError.
    """

    def __init__(self, db_paths: str | list[str], client_keys: str | list[str] = 'default',
                 readonly: bool = True, lock: bool = False, readahead: bool = False, **settings: Any) -> None:
        keys, paths = ([item] if isinstance(item, str) else item for item in (client_keys, db_paths))
        self.db_paths = [str(path) for path in paths]
        settings = {'readonly': readonly, 'lock': lock, 'readahead': readahead, **settings}
        self._client = {key: partial(open_lmdb, path, **settings)
                        for key, path in zip(keys, self.db_paths, strict=True)}
        for open_environment in self._client.values():
            open_environment()  # a wrong path fails here, not in a worker

    def get(self, filepath: str, client_key: str) -> bytes:
        """Value of the key `filepath`."""
        environment = self._client[client_key]()
        with environment.begin() as transaction:
            value = transaction.get(str(filepath).encode('ascii'))
        if value is None:
            raise MissingKeyError(f'{environment.path()} has no key {filepath!r}; pack the data set again, '
                                  'or correct its meta info')
        return _NamedBytes(value, f'{filepath} (lmdb)')

    def get_text(self, filepath: str) -> str:
        """An LMDB of images holds no text."""
        raise NotImplementedError


FileClient._backends.update(disk=NamingDiskBackend, lmdb=SharedLmdbBackend)
