"""How frames are written into an LMDB: three lossless forms, which their first bytes tell apart.

OpenCV reads all of them, and so does BasicSR's `FileClient` with `imfrombytes`.
"""
from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

PNG_LEVEL = 1  # the fastest; decoding speed, which training feels, hardly depends on it
_WEBP = {'lossless': True, 'quality': 50, 'method': 0}  # more effort: 14 % smaller in 14 times the time
DEFAULT = 'webp'


@dataclass(frozen=True)
class Store:
    """One form of storage.

    Attributes:
        ending: of a file of this form.
        mark: its first bytes.
        level: of compression, as the lines of BasicSR's meta_info.txt end; 0 where there is no such thing.
        encode: a picture, uint8 BGR (h, w, 3), to bytes that `decode` gives back exactly.
    """

    ending: str
    mark: bytes
    level: int
    encode: Callable[[np.ndarray], bytes]


def _opencv(ending: str, *settings: int) -> Callable[[np.ndarray], bytes]:
    return lambda image: cv2.imencode(ending, image, settings)[1].tobytes()


def _webp(image: np.ndarray) -> bytes:
    """Pillow's, as OpenCV's encoder takes ten times as long and cannot be told to hurry."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(buffer, 'WEBP', **_WEBP)
    return buffer.getvalue()


STORES: Mapping[str, Store] = {
    'webp': Store('.webp', b'RIFF', 0, _webp),
    'png': Store('.png', b'\x89PNG', PNG_LEVEL, _opencv('.png', cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL)),
    'raw': Store('.bmp', b'BM', 0, _opencv('.bmp')),  # 54 bytes before the pixels make them a picture
}
"""By the name that `pack` takes."""

STORE_HELP = ('how LMDBs hold frames: webp (lossless), png (larger and slower) or raw (fastest, 3 times as '
              f'large); by default {DEFAULT}, and what is packed already stays as it is')


def decode(data: bytes | memoryview) -> np.ndarray | None:
    """A picture of any of STORES, uint8 BGR (h, w, 3), or None for other bytes."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None


def converted(data: bytes, store: Store) -> bytes:
    """The bytes of a picture in the form `store`; as they are if they have it. Raises ValueError."""
    if data.startswith(store.mark):
        return data
    image = decode(data)
    if image is None:
        raise ValueError('no readable image')
    return store.encode(image)
