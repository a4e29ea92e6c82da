"""Patch of basicsr.utils.img_util."""
import numpy as np
from basicsr.utils import img_util

from gavn.basicsr_patches.replace import importers_of, replaces
from gavn.errors import DataError

_original = img_util.imfrombytes


class UnreadableImageError(DataError):
    """A file or an LMDB value is not an image. The message names it."""


@replaces(*importers_of(img_util.imfrombytes))
def imfrombytes(content: bytes, flag: str = 'color', float32: bool = False) -> np.ndarray:
    """Defect: bytes that OpenCV cannot decode raise AttributeError without the name of the file.

    The patch raises UnreadableImageError with the file name that `FileClient.get` attached.
    """
    image = _original(content, flag, False) if len(content) else None
    if image is None:
        raise UnreadableImageError(f'{getattr(content, "origin", "data")} is not a readable image '
                                   f'({len(content)} bytes)')
    return image.astype(np.float32) / 255. if float32 else image
