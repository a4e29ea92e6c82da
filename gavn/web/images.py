"""Two pictures for the page: a face as it was, and as it is."""
from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from gavn.faces.detector import RetinaFace
from gavn.faces.geometry import Box
from gavn.restoration.report import Report
from gavn.restoration.video_source import VideoSource

_ROOM = 2.4  # the shown part of the picture, in heights of the face
_SHAPE = 4 / 3  # its width by its height
_SIDE = 960  # pixels of its longer side, at most; smaller ones are enlarged for the page


def before_and_after_pictures(source: VideoSource, restored: VideoSource, report: Report, folder: Path
                              ) -> tuple[Path, Path]:
    """Writes the same part of the same frame of both videos as PNG: around the face, where there is one.

    The frame is the middle one of the face that is there longest, or of the video.
    """
    index = _moment(report)
    before, after = (_frame(film, index) for film in (source, restored))
    found = RetinaFace(threads=1)(after)
    part = _around(max(found, key=lambda one: one[0].height)[0], after.shape) if found else None
    files = []
    for name, image in (('before', before), ('after', after)):
        path = folder / f'{name}.png'
        path.write_bytes(cv2.imencode('.png', _shown(image, part))[1].tobytes())
        files.append(path)
    return files[0], files[1]


def _moment(report: Report) -> int:
    longest = max(report.faces, key=lambda face: face['last_frame'] - face['first_frame'], default=None)
    if longest is None:
        return report.frames_out // 2
    return (longest['first_frame'] + longest['last_frame']) // 2


def _frame(film: VideoSource, index: int) -> np.ndarray:
    with closing(film.read(index)) as frames:
        return next(frame.image for frame in frames if frame.index >= index)


def _around(face: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns around a face, within the picture."""
    height = min(_ROOM * face.height, shape[0])
    width = min(_SHAPE * height, shape[1])
    x, y = (face.x0 + face.x1) / 2, (face.y0 + face.y1) / 2
    left = round(min(max(x - width / 2, 0), shape[1] - width))
    top = round(min(max(y - height / 2, 0), shape[0] - height))
    return slice(top, top + round(height)), slice(left, left + round(width))


def _shown(image: np.ndarray, part: tuple[slice, slice] | None) -> np.ndarray:
    if part is not None:
        image = image[part]
    scale = min(_SIDE / max(image.shape[:2]), 2)
    return cv2.resize(image, None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
