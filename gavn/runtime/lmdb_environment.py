"""LMDB environments: one per process and path."""
import os
from pathlib import Path
from typing import Any

import lmdb

from gavn.errors import DataError

_ENVIRONMENTS: dict[str, lmdb.Environment] = {}
_owner = os.getpid()


def open_lmdb(path: str | os.PathLike[str], **settings: Any) -> lmdb.Environment:
    """Returns the environment of a path; opens it for reading without locks by default.

    The system reads ahead, because frames of a window lie one after the other. Without it, a frame that is
    not in memory takes a request for every 4 KiB.

    LMDB allows one environment per process and path. A forked process closes inherited environments and opens
    its own: call this function for every access, and do not keep the result.

    Raises:
        DataError: the file is not an LMDB, or is truncated; reading past its end would kill the process.
    """
    global _owner
    if _owner != os.getpid():
        for inherited in _ENVIRONMENTS.values():
            inherited.close()
        _ENVIRONMENTS.clear()
        _owner = os.getpid()
    real = os.path.realpath(path)
    if real not in _ENVIRONMENTS:
        settings = {'readonly': True, 'lock': False, 'readahead': True, 'meminit': False, **settings}
        _ENVIRONMENTS[real] = _opened(real, settings)
    return _ENVIRONMENTS[real]


def _opened(path: str, settings: dict[str, Any]) -> lmdb.Environment:
    file = Path(path, 'data.mdb')
    remedy = 'copy it again, or pack the data set again'
    if not file.is_file():
        raise DataError(f'{path} is not an LMDB (data.mdb is missing); {remedy}')
    size = file.stat().st_size
    try:
        environment = lmdb.open(path, **settings)
    except lmdb.Error as error:
        raise DataError(f'{file} is not a readable LMDB ({size} bytes: {error}); {remedy}') from error
    needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    if size < needed:
        environment.close()
        raise DataError(f'{file} is truncated: it has {size} bytes of {needed}; {remedy}')
    return environment


def close_lmdb(path: str | os.PathLike[str]) -> None:
    """Closes the environment of a path, if it is open; there must be no active transaction."""
    if _owner == os.getpid() and (opened := _ENVIRONMENTS.pop(os.path.realpath(path), None)) is not None:
        opened.close()
