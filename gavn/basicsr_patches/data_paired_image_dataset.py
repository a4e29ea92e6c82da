"""Patch of basicsr.data.paired_image_dataset."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from gavn.basicsr_patches.replace import wrap
from gavn.errors import DataError


def init_with_checked_files(original: Callable[..., None]) -> Callable[..., None]:
    """Defect: a missing image fails in a worker, when its turn comes.

    The patch checks all files of folders at the start and raises DataError.
    """
    @wraps(original)
    def init(self: PairedImageDataset, opt: dict[str, Any]) -> None:
        original(self, opt)
        if opt['io_backend']['type'] != 'disk':
            return
        for pair in self.paths:
            for path in (pair['lq_path'], pair['gt_path']):
                if not Path(path).is_file():
                    raise DataError(f'{path} does not exist, but {opt.get("meta_info_file") or opt["name"]} '
                                    'names it')
    return init


def apply() -> None:
    """Patches PairedImageDataset."""
    wrap(PairedImageDataset, '__init__', init_with_checked_files)
