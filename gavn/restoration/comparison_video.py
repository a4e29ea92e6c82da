"""Comparison videos: labelled videos side by side, or before and after a restoration."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np

from gavn.errors import ArgumentError
from gavn.faces.geometry import Box
from gavn.media import (
    SegmentWriter,
    VideoReader,
    VideoWriter,
    frame_from_image,
    probe,
    read_audio,
    read_frames,
)
from gavn.restoration.progress import Progress, SilentProgress, counted
from gavn.runtime.files import atomic_path

Form = Literal['side', 'split']

_BAND = 24  # pixels; height of the labels above the images
_ROWS = 3  # frames in the comparison image


def compare(videos: Mapping[str, str | os.PathLike[str]], image: str | os.PathLike[str],
            video: str | os.PathLike[str], box: Box | None = None) -> None:
    """Writes labelled videos side by side, as a video and as an image. Both files are complete or absent.

    Args:
        videos: label -> file, left to right, of equal size. The result has the length of the shortest, and
            the audio and frame rate of the first.
        image: the PNG to write, with three frames one below the other.
        video: the .mp4 to write.
        box: the part of the frames that the PNG shows, enlarged twofold; None = whole frames, not enlarged.

    Raises:
        ArgumentError: the videos differ in size.
        MediaError: a video cannot be read.
    """
    infos = [probe(path) for path in videos.values()]
    if len({(info.width, info.height) for info in infos}) > 1:
        raise ArgumentError(f'videos to compare must have the same size, not '
                         f'{", ".join(f"{info.width}x{info.height}" for info in infos)}')
    first = infos[0]
    rows: list[np.ndarray] = []
    total = min(info.frames or 0 for info in infos)
    selected = {round(total * (row + 0.5) / _ROWS) for row in range(_ROWS)}
    with VideoWriter(video, first.width * len(infos), first.height + _BAND, first.frame_rate,
                     audio=read_audio(next(iter(videos.values())))) as writer:
        for index, images in enumerate(_image_rows(videos)):
            writer.write(_sheet(videos, images))
            if index in selected:
                rows.append(_sheet(videos, [_enlarged(image, box) for image in images] if box else images))
    _write_png(Path(image), np.vstack(rows))


def before_and_after(before: VideoReader, after: VideoReader, target: str | os.PathLike[str], form: Form,
                     progress: Progress | None = None) -> None:
    """Writes a video of the input and the result, at the time stamps of the input and with its audio.

    Args:
        after: the result, with the same frames or the first of them.
        target: the file to write; it is complete or absent.
        form: `side` shows both videos side by side; `split` shows the left half of the input and the right
            half of the result, separated by a line.
        progress: is called for every frame; an exception from it stops the work.

    Raises:
        MediaError: a video cannot be read, or the container cannot hold the audio.
    """
    info, target = before.info, Path(target)
    combine = {'side': _side, 'split': _split}[form]
    last = 0.
    with TemporaryDirectory(dir=target.parent, prefix='.compare.') as folder:
        segment = Path(folder, 'segment.nut')
        with SegmentWriter(segment, info) as writer:
            frames = counted(
                after.read(), 'comparing', after.info.frames, progress or SilentProgress()
            )
            for old, new in zip(before.read(), frames, strict=False):
                writer.write(frame_from_image(combine(old.image, new.image)), old.pts)
                last = old.time
        end = info.start + Fraction(last).limit_denominator(10 ** 6) + 1 / info.frame_rate
        whole = last + 2 / info.frame_rate > info.duration
        before.join(target, [segment], until=None if whole else end)


def _side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.hstack([before, after])


def _split(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    middle = before.shape[1] // 2
    result = np.hstack([before[:, :middle], after[:, middle:]])
    result[:, middle - 1:middle + 1] = 255
    return result


def _image_rows(videos: Mapping[str, str | os.PathLike[str]]) -> Iterator[list[np.ndarray]]:
    for frames in zip(*(read_frames(path) for path in videos.values()), strict=False):
        yield [frame.image for frame in frames]


def _sheet(labels: Iterable[str], images: Iterable[np.ndarray]) -> np.ndarray:
    return np.hstack([_labelled(image, label) for label, image in zip(labels, images, strict=True)])


def _enlarged(image: np.ndarray, box: Box) -> np.ndarray:
    part = image[int(box.y0):int(box.y1), int(box.x0):int(box.x1)]
    return cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def _labelled(image: np.ndarray, name: str) -> np.ndarray:
    band = np.zeros((_BAND, image.shape[1], 3), np.uint8)
    cv2.putText(band, name, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([band, image])


def _write_png(path: Path, image: np.ndarray) -> None:
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode('.png', image)[1].tobytes())
