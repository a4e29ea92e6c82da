"""Patch of basicsr.utils.img_util."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
from basicsr.utils import img_util

from gavn.basicsr_patches.replace import wrap_everywhere
from gavn.errors import DataError


class UnreadableImageError(DataError):
    """A file or an LMDB value is not an image. The message names it."""


def imfrombytes(original: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Defect: bytes that OpenCV cannot decode raise AttributeError without the name of the file.

    The patch raises UnreadableImageError with the file name that `FileClient.get` attached.
    """
    @wraps(original)
    def imfrombytes(content: bytes, flag: str = 'color', float32: bool = False) -> np.ndarray:
        image = original(content, flag, False) if len(content) else None
        if image is None:
            raise UnreadableImageError(f'{getattr(content, "origin", "data")} is not a readable image '
                                       f'({len(content)} bytes)')
        return image.astype(np.float32) / 255. if float32 else image
    return imfrombytes


def apply() -> None:
    """Patches `imfrombytes` wherever basicsr imported it."""
    wrap_everywhere(img_util.imfrombytes, imfrombytes)
