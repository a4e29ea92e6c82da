"""LMDB environments, one per process and path."""
import os
from typing import Any

import lmdb

_ENVIRONMENTS: dict[str, lmdb.Environment] = {}
_owner = os.getpid()


def open_lmdb(path: str | os.PathLike[str], **settings: Any) -> lmdb.Environment:
    """The process's one environment of a path, opened to read without locks unless `settings` say otherwise.

    LMDB refuses a second one, which two layers in one file would need. A forked process closes what it
    inherited, which it must not read, and opens its own: ask again for every reading instead of keeping one.
    """
    global _owner
    if _owner != os.getpid():
        for inherited in _ENVIRONMENTS.values():
            inherited.close()
        _ENVIRONMENTS.clear()
        _owner = os.getpid()
    real = os.path.realpath(path)
    if real not in _ENVIRONMENTS:
        settings = {'readonly': True, 'lock': False, 'readahead': False, 'meminit': False, **settings}
        _ENVIRONMENTS[real] = lmdb.open(real, **settings)
    return _ENVIRONMENTS[real]


def close_lmdb(path: str | os.PathLike[str]) -> None:
    """Closes the process's environment of a path, if it has one; no transaction may be under way."""
    if _owner == os.getpid() and (opened := _ENVIRONMENTS.pop(os.path.realpath(path), None)) is not None:
        opened.close()
