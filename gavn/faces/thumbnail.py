"""Small pictures of faces, for reports and pages."""
from __future__ import annotations

from base64 import b64encode

import cv2
import numpy as np

from gavn.faces.geometry import Box, crop, inside

SIZE = 96  # pixels a side
_ROOM = 1.3  # of the face's longer side
_QUALITY = 80
_PREFIX = 'data:image/jpeg;base64,'  # as an address of a picture in HTML


def thumbnail(image: np.ndarray, box: Box) -> str:
    """A face of a picture uint8 BGR (h, w, 3), as a data URI of a JPEG of SIZE x SIZE pixels, some 4 kB."""
    reach = max(box.width, box.height) * _ROOM / 2
    x, y = box.centre
    square = inside(Box(x - reach, y - reach, x + reach, y + reach), image.shape[1], image.shape[0])
    stored = cv2.imencode('.jpg', crop(image, square, SIZE), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return _PREFIX + b64encode(stored.tobytes()).decode()
