"""Picture files, whole or not at all."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from gavn.errors import DataError


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture of a file, uint8 BGR (h, w, 3).

    Raises DataError for one that is none or breaks off: of a cut JPEG `cv2.imread` would paint the rest grey.
    """
    content = Path(path).read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        raise DataError(f'{path} is not a readable picture, or not a whole one ({len(content)} bytes); make '
                        'it again or remove it')
    return image


def write_image(path: str | os.PathLike[str], image: np.ndarray, settings: tuple[int, ...] = ()) -> None:
    """Writes a picture in the form of its ending. Raises OSError, with the file, where the disk is full."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(path.suffix, image, settings)[1]
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
