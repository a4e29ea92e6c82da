"""Replacement of basicsr.data.paired_image_dataset.PairedImageDataset."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from basicsr.data import paired_image_dataset
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor

from gavn.errors import DataError
from gavn.registry import replaces_in


@contextmanager
def crop_errors(path: str) -> Iterator[None]:
    """Defect: `paired_random_crop` raises ValueError with a tuple of texts and mostly without the file name.

    The patch raises DataError with the file name first.
    """
    try:
        yield
    except ValueError as error:
        raise DataError(f'{path}: {"".join(map(str, error.args))}') from error


@replaces_in(DATASET_REGISTRY)
class PairedImageDataset(paired_image_dataset.PairedImageDataset):
    """Defect: a missing image fails in a worker, when its turn comes.

    The patch checks all files of folders at the start and raises DataError.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        for pair in self.paths if opt['io_backend']['type'] == 'disk' else ():
            for path in (pair['lq_path'], pair['gt_path']):
                if not Path(path).is_file():
                    raise DataError(f'{path} does not exist, but {opt.get("meta_info_file") or opt["name"]} '
                                    'names it')

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        with crop_errors(self.paths[index]['gt_path']):
            return super().__getitem__(index)
