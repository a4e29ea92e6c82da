"""Reads and writes image folders whose images are the frames of a video."""
from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from av import VideoFrame

from gavn.media.container import MediaError, UnreadableMedia
from gavn.media.frame import Frame
from gavn.media.reader import VideoInfo
from gavn.media.rgb import bgr_of, frame_from_samples, samples_of
from gavn.runtime.files import atomic_path

_JPEG = ('.jpg', '.jpeg')
_SCAN, _END = b'\xff\xda', b'\xff\xd9'  # markers of a JPEG file


def missing_numbers(paths: Sequence[Path]) -> int:
    """Returns how many numbers are missing in the file names; 0 if the names are not numbered."""
    found = [name for path in paths if (name := re.fullmatch(r'(.*?)([0-9]+)', path.stem))]
    if not found or len(found) < len(paths) or len({name[1] for name in found}) > 1:
        return 0
    numbers = [int(name[2]) for name in found]
    return max(0, max(numbers) - min(numbers) + 1 - len(numbers))


def read_image(path: Path) -> VideoFrame:
    """Reads an image with its exact samples (see `frame_from_samples`); applies the rotation tag of JPEG.

    Raises:
        UnreadableMedia: the file is not an image, is truncated, or does not have 8 or 16 bits per sample.
    """
    content = path.read_bytes()
    jpeg = path.suffix.lower() in _JPEG
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if jpeg else cv2.IMREAD_UNCHANGED
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    # OpenCV fills the rest of a truncated JPEG with grey
    if samples is None or (jpeg and content.rfind(_END) < content.rfind(_SCAN)):
        raise UnreadableMedia(f'{path} is not a readable image, or truncated\ncreate it again, or remove it')
    try:
        return frame_from_samples(samples)
    except ValueError as error:
        raise UnreadableMedia(f'{path}: {error}\nconvert it to PNG') from error


def read_images(paths: Sequence[Path], rate: Fraction, start: int = 0) -> Generator[Frame, None, None]:
    """Yields images as frames, from index `start` on; the time stamp of a frame is its index.

    Raises:
        MediaError: an image cannot be read, or differs in size from the first.
    """
    size = _size(read_image(paths[0]))
    for index in range(start, len(paths)):
        av_frame = read_image(paths[index])
        if _size(av_frame) != size:
            raise MediaError('{} is {} x {} pixels, but {} is {} x {}\nframes must have one size: remove '
                             'other images'.format(paths[index], *_size(av_frame), paths[0], *size))
        yield Frame(av_frame, index, float(index / rate), index, to_bgr=bgr_of)


def _size(av_frame: VideoFrame) -> tuple[int, int]:
    return av_frame.width, av_frame.height


def probe_images(paths: Sequence[Path], rate: Fraction) -> VideoInfo:
    """Returns the properties of images as a video of `rate` frames per second; reads the first image."""
    first = read_image(paths[0])
    samples = samples_of(first)
    return VideoInfo(
        paths[0].parent, first.width, first.height, rate, 1 / rate, len(paths), float(len(paths) / rate),
        Fraction(0), 0, Fraction(1), first.format.name, 8 * samples.itemsize, False, False,
        paths[0].suffix.lower().removeprefix('.'), 0, 0)


class ImageWriter:
    """Writes frames as PNGs into a folder; a context manager like SegmentWriter.

    Args:
        folder: the folder; created if it does not exist.
        names: file names without extension, by time stamp.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self.frames = 0

    def __enter__(self) -> ImageWriter:
        self._folder.mkdir(exist_ok=True)
        for part in self._folder.glob('.*'):  # left by a killed run
            part.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: each file is complete."""

    def write(self, av_frame: VideoFrame, pts: int) -> None:
        """Writes a frame from `read_images`."""
        with atomic_path(self._folder / f'{self._names[pts]}.png') as part:
            part.write_bytes(cv2.imencode('.png', samples_of(av_frame))[1].tobytes())
        self.frames += 1
