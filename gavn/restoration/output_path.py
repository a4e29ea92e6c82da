"""Whether a place can be written to, told before the work."""
from __future__ import annotations

import os
from pathlib import Path

from gavn.errors import GavnError

PathLike = str | os.PathLike[str]


class OutputPathError(GavnError):
    """The place to write to cannot be used; nothing was written."""


def check_target(source: PathLike, target: PathLike, overwrite: bool = False, pictures: bool = False) -> None:
    """Raises TargetError, saying what to do, if writing `target` would fail or would lose something.

    A folder of `pictures` may replace an empty one and, with `overwrite`, one of nothing but PNGs.
    """
    source, target = Path(source), Path(target)
    folder = target.parent
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputPathError(f'{target} is the input, which is never overwritten\nchoose another output')
    if target.is_dir() and pictures:
        _check_pictures(target, overwrite)
    elif target.is_dir():
        raise OutputPathError(f'{target} is a folder\ngive the name of a file in it')
    elif target.exists() and pictures:
        raise OutputPathError(f'{target} is a file\ngive the name of a folder for the pictures')
    elif target.exists() and not overwrite:
        raise OutputPathError(
            f'{target} exists already\ngive --force to replace it, or choose another output'
        )
    if not folder.is_dir():
        raise OutputPathError(f'the folder {folder} does not exist\nmake it, or choose another output')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputPathError(f'the folder {folder} is read-only\nchange its permissions, or choose another')


def _check_pictures(folder: Path, overwrite: bool) -> None:
    entries = sorted(folder.iterdir())
    if entries and not overwrite:
        raise OutputPathError(f'{folder} is not empty\n'
                          'give --force to replace its pictures, or choose another output')
    if other := next((path for path in entries if path.suffix != '.png' or not path.is_file()), None):
        raise OutputPathError(f'{folder} holds more than PNGs, such as {other.name}: it is not replaced\n'
                          'choose another output')
