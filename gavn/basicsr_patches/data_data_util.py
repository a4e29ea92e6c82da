"""Patch of basicsr.data.data_util."""
from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import cv2
from basicsr.data import data_util

from gavn.basicsr_patches.replace import wrap_everywhere
from gavn.basicsr_patches.utils_img_util import UnreadableImageError


def read_img_seq(original: Callable[..., Any]) -> Callable[..., Any]:
    """Defect: an unreadable image raises AttributeError of None, without its name.

    The patch finds the file and raises UnreadableImageError.
    """
    @wraps(original)
    def read_img_seq(path: str | list[str], *args: Any, **kwargs: Any) -> Any:
        try:
            return original(path, *args, **kwargs)
        except AttributeError as error:
            files = path if isinstance(path, list) else sorted(entry.path for entry in os.scandir(path))
            unreadable = next((file for file in files if cv2.imread(file) is None), None)
            if unreadable is None:
                raise
            raise UnreadableImageError(f'{unreadable} is not a readable image') from error
    return read_img_seq


def apply() -> None:
    """Patches `read_img_seq` wherever basicsr imported it."""
    wrap_everywhere(data_util.read_img_seq, read_img_seq)
