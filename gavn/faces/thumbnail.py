"""Thumbnails of faces for reports and the web page."""
from __future__ import annotations

from base64 import b64encode

import cv2
import numpy as np

from gavn.faces.geometry import Box, crop, inside

SIZE = 96  # pixels a side
_SCALE = 1.3  # side of the thumbnail region, relative to the longer side of the face
_QUALITY = 80
_PREFIX = 'data:image/jpeg;base64,'  # data URI


def thumbnail(image: np.ndarray, box: Box) -> str:
    """Returns a face of an image uint8 BGR (h, w, 3) as a JPEG data URI of SIZE x SIZE pixels, about 4 kB."""
    reach = max(box.width, box.height) * _SCALE / 2
    x, y = box.centre
    square = inside(Box(x - reach, y - reach, x + reach, y + reach), image.shape[1], image.shape[0])
    stored = cv2.imencode('.jpg', crop(image, square, SIZE), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return _PREFIX + b64encode(stored.tobytes()).decode()
