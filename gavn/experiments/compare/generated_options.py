"""Option files of a comparison: written once, then checked for changes."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gavn.config.option_file import dotted, read_options, write_options
from gavn.experiments.compare.settings import CompareError
from gavn.runtime.files import sha256, write_text

_LOADERS = 'num_worker_per_gpu'


def write(file: Path, options: Mapping[str, Any], origin: Path) -> None:
    """Writes an option file, unless the same exists."""
    if file.is_file() and not differences(read_options(file)[0], options):
        return
    write_text(file, f'# Made of {origin} by gavn compare.\n{write_options(options)}')


def check_unchanged(file: Path, options: Mapping[str, Any], origin: Path) -> None:
    """Raises CompareError with the keys if an existing option file gives other results."""
    old = read_options(file)[0] if file.is_file() else options
    changed = differences(_deciding(old), _deciding(options))
    if changed:
        raise CompareError(f'{origin} now gives other options than {file}, which trains already: '
                           f'{"; ".join(changed[:4])}\ngive --fresh to begin anew, or another --out')


def _deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without the number of loader processes, which changes no result."""
    return {**options, 'datasets': {name: {key: value for key, value in section.items() if key != _LOADERS}
                                    for name, section in options['datasets'].items()}}


def digest(file: Path) -> str:
    """SHA-256 of an input file; of an option file, only of options that change results."""
    if file.suffix != '.yml':
        return sha256(file)
    return hashlib.sha256(write_options(_deciding(read_options(file)[0])).encode()).hexdigest()


def differences(old: Any, new: Any, key: tuple[str | int, ...] = ()) -> list[str]:
    """Describes differences of options: 'train.ema_decay: 0.99 -> 0.9'."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = dict.fromkeys([*old, *new])
        return [words for name in names
                for words in differences(old.get(name), new.get(name), (*key, name))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [words for i, pair in enumerate(zip(old, new, strict=True))
                for words in differences(*pair, (*key, i))]
    return [] if old == new else [f'{dotted(key)}: {old} -> {new}']
