"""Bundles the pretrained weights of the package."""
from __future__ import annotations

from pathlib import Path

import yaml

from gavn.checkpoints import pretrained
from gavn.config.option_file import read_options
from gavn.restoration.restorer import Restorer
from gavn.runtime.files import atomic_path, sha256


def make(name: str, opt_path: str | Path) -> Path:
    """Bundles what a training made, in 16 bits, with its options; returns the bundle.

    Args:
        name: of `shipped.WHAT`.
        opt_path: the option file of the training, whose experiment stands under the current folder.

    Raises what `Restorer.from_options` does, and ValueError for another name.
    """
    if name not in pretrained.WHAT:
        raise ValueError(f'{name} is not one of {", ".join(pretrained.WHAT)}')
    target = pretrained.FOLDER / f'{name}.safetensors'
    Restorer.from_options(opt_path, device='cpu').save(target, half=True)
    options, _ = read_options(opt_path)
    header = f'# The options that made {target.name}, merged from {Path(opt_path).as_posix()}.\n'
    _write(target.with_suffix('.yml'), header + yaml.safe_dump(options, sort_keys=False))
    sums = [f'{sha256(path)}  {path.name}\n' for path in sorted(pretrained.FOLDER.glob('*.safetensors'))]
    _write(pretrained.FOLDER / pretrained.SUMS, ''.join(sums))
    return target


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')
