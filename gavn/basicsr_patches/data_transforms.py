"""Patch of basicsr.data.transforms."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from basicsr.data import transforms

from gavn.basicsr_patches.replace import wrap_everywhere
from gavn.errors import DataError


def paired_random_crop(original: Callable[..., Any]) -> Callable[..., Any]:
    """Defect: images of wrong size raise ValueError with a tuple of texts and mostly without the file name.

    The patch raises DataError with the file name first.
    """
    @wraps(original)
    def paired_random_crop(img_gts: Any, img_lqs: Any, gt_patch_size: int, scale: int,
                           gt_path: str | None = None) -> Any:
        try:
            return original(img_gts, img_lqs, gt_patch_size, scale, gt_path)
        except ValueError as error:
            raise DataError(f'{gt_path}: {"".join(map(str, error.args))}') from error
    return paired_random_crop


def apply() -> None:
    """Patches `paired_random_crop` wherever basicsr imported it."""
    wrap_everywhere(transforms.paired_random_crop, paired_random_crop)
