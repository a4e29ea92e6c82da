"""Videos of the same scene in one: side by side with their names, or before and after with all else kept."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np

from gavn.media import (
    SegmentWriter,
    VideoWriter,
    frame_from_image,
    probe,
    read_audio,
    read_frames,
)
from gavn.restoration.progress import Progress, SilentProgress, counted
from gavn.restoration.video_source import VideoSource
from gavn.runtime.files import atomic_path

Form = Literal['side', 'split']

_BAND = 24  # pixels, for the names above the pictures
_ROWS = 3  # moments that the picture shows


def compare(videos: Mapping[str, str | os.PathLike[str]], picture: str | os.PathLike[str],
            video: str | os.PathLike[str]) -> None:
    """Lays videos side by side under their names; both files are whole or absent.

    Args:
        videos: name -> file, left to right, of one size; the result has the length of the shortest and the
            sound of the first.
        picture: a PNG of three moments, one below the other.
        video: an mp4 at the first one's frame rate.

    Raises ValueError for videos of different size, MediaError for one that cannot be read.
    """
    infos = [probe(path) for path in videos.values()]
    if len({(info.width, info.height) for info in infos}) > 1:
        raise ValueError(f'videos to compare must have one size, not '
                         f'{", ".join(f"{info.width}x{info.height}" for info in infos)}')
    first = infos[0]
    kept: list[np.ndarray] = []
    total = min(info.frames or 0 for info in infos)
    moments = {round(total * (row + 0.5) / _ROWS) for row in range(_ROWS)}
    with VideoWriter(video, first.width * len(infos), first.height + _BAND, first.frame_rate,
                     audio=read_audio(next(iter(videos.values())))) as writer:
        for index, sheet in enumerate(_sheets(videos)):
            writer.write(sheet)
            if index in moments:
                kept.append(sheet)
    _write_png(Path(picture), np.vstack(kept or [sheet]))


def before_and_after(before: VideoSource, after: VideoSource, target: str | os.PathLike[str], form: Form,
                     progress: Progress | None = None) -> None:
    """A video of another two, frame by frame at the times of the first, with its sound.

    Args:
        before: as it was.
        after: what was made of it: the same frames, or the first of them.
        target: the file to write; it is whole or absent.
        form: `side` lays one beside the other; `split` shows the left half of the one and the right half of
            the other, with a line between them.
        progress: is told of every frame; what it raises ends the work.

    Raises MediaError for a video that cannot be read, or a container that cannot hold its sound.
    """
    info, target = before.info, Path(target)
    lay = {'side': _side, 'split': _split}[form]
    last = None
    with TemporaryDirectory(dir=target.parent, prefix=f'.{target.stem}.') as folder:
        piece = Path(folder, 'piece.nut')
        with SegmentWriter(piece, info) as writer:
            frames = counted(
                after.read(), 'laying side by side', after.info.frames, progress or SilentProgress()
            )
            for old, new in zip(before.read(), frames, strict=False):
                writer.write(frame_from_image(lay(old.image, new.image)), old.pts)
                last = old.time
        end = info.start + Fraction(last).limit_denominator(10 ** 6) + 1 / info.frame_rate
        whole = last + 2 / info.frame_rate > info.duration
        before.join(target, [piece], until=None if whole else end)


def _side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.hstack([before, after])


def _split(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    middle = before.shape[1] // 2
    result = np.hstack([before[:, :middle], after[:, middle:]])
    result[:, middle - 1:middle + 1] = 255
    return result


def _sheets(videos: Mapping[str, str | os.PathLike[str]]) -> Iterator[np.ndarray]:
    for frames in zip(*(read_frames(path) for path in videos.values()), strict=False):
        named = [_named(frame.image, name) for name, frame in zip(videos, frames, strict=True)]
        yield np.hstack(named)


def _named(image: np.ndarray, name: str) -> np.ndarray:
    band = np.zeros((_BAND, image.shape[1], 3), np.uint8)
    cv2.putText(band, name, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([band, image])


def _write_png(path: Path, image: np.ndarray) -> None:
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode('.png', image)[1].tobytes())
