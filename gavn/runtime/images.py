"""Reads and writes image files."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from gavn.errors import DataError


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an image, uint8 BGR (h, w, 3).

    Raises:
        DataError: the file is not an image, or is truncated.
    """
    content = Path(path).read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        raise DataError(f'{path} is not a readable image, or truncated ({len(content)} bytes); create '
                        'it again or remove it')
    return image


def write_image(path: str | os.PathLike[str], image: np.ndarray, settings: tuple[int, ...] = ()) -> None:
    """Writes an image in the format of its extension. Raises OSError with the file name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(path.suffix, image, settings)[1]
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
