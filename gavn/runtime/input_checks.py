"""Checks of input and weight files. They import nothing slow, so that a command checks its files first."""
from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from gavn.errors import CheckpointError, MissingInput


def check_inputs(paths: Iterable[str | PathLike[str] | None]) -> None:
    """Raises MissingInput for the first missing file."""
    for path in paths:
        if path is not None and not Path(path).exists():
            address = re.match(r'[A-Za-z][\w+.-]+:/', str(path))
            advice = 'download it first, because addresses are not opened' if address else 'check the path'
            raise MissingInput(f'{path}: no such file; {advice}')


def weight_file(path: str | PathLike[str]) -> Path:
    """Returns the path of a file. Raises CheckpointError if it is missing, a folder or a device."""
    path = Path(path)
    try:
        there, folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:  # the name is too long, or has a zero byte
        raise CheckpointError(f'weights {str(path)[:80]!a}: not the name of a file ({error})') from error
    if not there:
        what = 'is a folder, not a file of weights' if folder else 'does not exist'
        raise CheckpointError(f'weights {path}: {what}\ngive the path of a .safetensors or .pth file')
    return path


def check_weight_file(path: str | PathLike[str] | None) -> None:
    """Checks a file of weights if one is given; see `weight_file`."""
    if path is not None:
        weight_file(path)
