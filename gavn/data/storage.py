"""Lossless image formats of frames in an LMDB, recognised by their first bytes.

OpenCV reads all of them, and so does BasicSR's `FileClient` with `imfrombytes`.
"""
from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

PNG_LEVEL = 1  # the fastest to write; decoding speed hardly depends on it
_WEBP = {'lossless': True, 'quality': 50, 'method': 0}  # a higher method saves 14 % in 14 times the time
DEFAULT = 'webp'


@dataclass(frozen=True)
class Store:
    """One image format."""

    ending: str  # file name suffix
    mark: bytes  # first bytes
    level: int  # of compression, for BasicSR's meta_info.txt; 0 if there is none
    encode: Callable[[np.ndarray], bytes]  # converts an image, uint8 BGR (h, w, 3), to bytes, without loss


def _opencv(ending: str, *settings: int) -> Callable[[np.ndarray], bytes]:
    return lambda image: cv2.imencode(ending, image, settings)[1].tobytes()


def _webp(image: np.ndarray) -> bytes:
    """Encodes with Pillow. OpenCV's encoder takes ten times as long and has no speed setting."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(buffer, 'WEBP', **_WEBP)
    return buffer.getvalue()


STORES: Mapping[str, Store] = {
    'webp': Store('.webp', b'RIFF', 0, _webp),
    'png': Store('.png', b'\x89PNG', PNG_LEVEL, _opencv('.png', cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL)),
    'raw': Store('.bmp', b'BM', 0, _opencv('.bmp')),  # a header of 54 bytes and the pixels
}
"""Formats by the name that `pack` takes."""


def decode(data: bytes | memoryview) -> np.ndarray | None:
    """Decodes an image of any of STORES to uint8 BGR (h, w, 3); None for other bytes."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None


def converted(data: bytes, store: Store) -> bytes:
    """Converts the bytes of an image to a format. Raises ValueError if they are not an image."""
    if data.startswith(store.mark):
        return data
    image = decode(data)
    if image is None:
        raise ValueError('not a readable image')
    return store.encode(image)
