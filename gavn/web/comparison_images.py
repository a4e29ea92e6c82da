"""Images of a face before and after restoration."""
from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from gavn.faces.detector import RetinaFace
from gavn.faces.geometry import Box
from gavn.media import VideoReader
from gavn.restoration.report import Report

_CONTEXT = 2.4  # height of the region, in face heights
_ASPECT = 4 / 3  # width / height of the region
_MAX_SIDE = 960  # pixels; smaller regions are enlarged up to 2 times


def write_comparison_images(source: VideoReader, restored: VideoReader, report: Report, folder: Path
                              ) -> tuple[Path, Path]:
    """Writes the region around a face in the same frame of both videos as PNG.

    The frame is in the middle of the longest face, or of the video if there is none.

    Args:
        source, restored: the input and the result, of equal size.
        report: the report of the restoration.
        folder: where to write.

    Returns:
        The paths of both images.
    """
    index = _frame_index(report)
    before, after = (_frame(video, index) for video in (source, restored))
    found = RetinaFace(threads=1)(after)
    region = _region(max(found, key=lambda one: one[0].height)[0], after.shape) if found else None
    files = []
    for name, image in (('before', before), ('after', after)):
        path = folder / f'{name}.png'
        path.write_bytes(cv2.imencode('.png', _resized(image, region))[1].tobytes())
        files.append(path)
    return files[0], files[1]


def _frame_index(report: Report) -> int:
    longest = max(report.faces, key=lambda face: face['last_frame'] - face['first_frame'], default=None)
    if longest is None:
        return report.frames_out // 2
    return (longest['first_frame'] + longest['last_frame']) // 2


def _frame(video: VideoReader, index: int) -> np.ndarray:
    with closing(video.read(index)) as frames:
        return next(frame.image for frame in frames if frame.index >= index)


def _region(face: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Returns the rows and columns around a face, inside the image."""
    height = min(_CONTEXT * face.height, shape[0])
    width = min(_ASPECT * height, shape[1])
    x, y = (face.x0 + face.x1) / 2, (face.y0 + face.y1) / 2
    left = round(min(max(x - width / 2, 0), shape[1] - width))
    top = round(min(max(y - height / 2, 0), shape[0] - height))
    return slice(top, top + round(height)), slice(left, left + round(width))


def _resized(image: np.ndarray, region: tuple[slice, slice] | None) -> np.ndarray:
    if region is not None:
        image = image[region]
    scale = min(_MAX_SIDE / max(image.shape[:2]), 2)
    return cv2.resize(image, None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
