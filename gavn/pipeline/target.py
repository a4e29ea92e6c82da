"""Whether a place can be written to, told before the work."""
from __future__ import annotations

import os
from pathlib import Path

PathLike = str | os.PathLike[str]


class TargetError(Exception):
    """The place to write to cannot be used; nothing was written."""


def check_target(source: PathLike, target: PathLike, overwrite: bool = False) -> None:
    """Raises TargetError, saying what to do, if writing `target` would fail or would lose something."""
    source, target = Path(source), Path(target)
    folder = target.parent
    if target.exists() and source.exists() and target.samefile(source):
        raise TargetError(f'{target} is the input, which is never overwritten\nchoose another output')
    if target.is_dir():
        raise TargetError(f'{target} is a folder\ngive the name of a file in it')
    if target.exists() and not overwrite:
        raise TargetError(f'{target} exists already\ngive --force to replace it, or choose another output')
    if not folder.is_dir():
        raise TargetError(f'the folder {folder} does not exist\nmake it, or choose another output')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TargetError(f'the folder {folder} is read-only\nchange its permissions, or choose another')
