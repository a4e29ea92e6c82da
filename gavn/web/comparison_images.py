"""Images of a face before and after restoration."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from gavn.media import VideoReader
from gavn.restoration.report import Report

_CONTEXT = 2.4  # height of the region, in face heights
_ASPECT = 4 / 3  # width / height of the region
_MAX_SIDE = 960  # pixels; smaller regions are enlarged up to 2 times


def write_comparison_images(source: VideoReader, restored: VideoReader, report: Report, folder: Path
                              ) -> tuple[Path, Path]:
    """Writes the region around the face that is restored longest, in the same frame of both videos, as PNG.

    Without a face, it writes the whole frame in the middle of the video.

    Args:
        source, restored: the input and the result, of equal size.
        report: the report of the restoration.
        folder: where to write.

    Returns:
        The paths of both images.
    """
    face = max(report.faces, key=lambda face: face['last_frame'] - face['first_frame'], default=None)
    index = report.frames_out // 2 if face is None else face['box_frame']
    files = []
    for name, video in (('before', source), ('after', restored)):
        image, path = _frame(video, index), folder / f'{name}.png'
        if face is not None:
            enlarged = image.shape[1] / report.input['width']
            image = image[_region([enlarged * value for value in face['box']], image.shape)]
        path.write_bytes(cv2.imencode('.png', _resized(image))[1].tobytes())
        files.append(path)
    return files[0], files[1]


def _frame(video: VideoReader, index: int) -> np.ndarray:
    with closing(video.read(index)) as frames:
        return next(frame.image for frame in frames if frame.index >= index)


def _region(box: Sequence[float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Returns the rows and columns around a face (x, y, width, height), inside the image."""
    x, y, width, height = box
    rows = min(_CONTEXT * height, shape[0])
    columns = min(_ASPECT * rows, shape[1])
    left = round(min(max(x + width / 2 - columns / 2, 0), shape[1] - columns))
    top = round(min(max(y + height / 2 - rows / 2, 0), shape[0] - rows))
    return slice(top, top + round(rows)), slice(left, left + round(columns))


def _resized(image: np.ndarray) -> np.ndarray:
    scale = min(_MAX_SIDE / max(image.shape[:2]), 2)
    return cv2.resize(image, None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
