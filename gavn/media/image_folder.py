"""Folders of pictures that are the frames of a film: which they are, in which order, and what they show."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from av import VideoFrame

from gavn.media.container import MediaError, UnreadableMedia
from gavn.media.frame import Frame
from gavn.media.reader import VideoInfo
from gavn.media.rgb import bgr_of, plain_picture, samples_of
from gavn.runtime.files import atomic_path

_JPEG = ('.jpg', '.jpeg')
_SCAN, _END = b'\xff\xda', b'\xff\xd9'  # markers of a JPEG file


def missing_numbers(paths: Sequence[Path]) -> int:
    """How many numbers are left out from the first name to the last; 0 where names are not so numbered."""
    found = [re.fullmatch(r'(.*?)([0-9]+)', path.stem) for path in paths]
    if not paths or not all(found) or len({name[1] for name in found}) > 1:
        return 0
    numbers = [int(name[2]) for name in found]
    return max(0, max(numbers) - min(numbers) + 1 - len(numbers))


def read_picture(path: Path) -> VideoFrame:
    """The picture of a file, bit by bit (see `plain_picture`); what a JPEG says of its turning is heeded.

    Raises UnreadableMedia for a file that is none, that breaks off, or whose samples are not of 8 or 16 bits.
    """
    content = path.read_bytes()
    jpeg = path.suffix.lower() in _JPEG
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if jpeg else cv2.IMREAD_UNCHANGED
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    # of a JPEG that breaks off OpenCV paints the rest grey
    if samples is None or (jpeg and content.rfind(_END) < content.rfind(_SCAN)):
        raise UnreadableMedia(f'{path} is not a readable picture, or not a whole one\nmake it again, or '
                              'remove it')
    try:
        return plain_picture(samples)
    except ValueError as error:
        raise UnreadableMedia(f'{path}: {error}\nconvert it to PNG') from error


def read_images(paths: Sequence[Path], rate: Fraction, start: int = 0) -> Iterator[Frame]:
    """Pictures as the frames of a film, from index `start` on; time stamps count them.

    Raises MediaError for a picture that cannot be read or differs in size from the first.
    """
    size = _size(read_picture(paths[0]))
    for index in range(start, len(paths)):
        picture = read_picture(paths[index])
        if _size(picture) != size:
            raise MediaError('{} is {} x {} pixels, but {} is {} x {}\nframes are of one size: remove what '
                             'is none'.format(paths[index], *_size(picture), paths[0], *size))
        yield Frame(picture, index, float(index / rate), index, to_bgr=bgr_of)


def _size(picture: VideoFrame) -> tuple[int, int]:
    return picture.width, picture.height


def probe_images(paths: Sequence[Path], rate: Fraction) -> VideoInfo:
    """What a folder's pictures, at least one, are as a film of `rate` frames a second; reads the first."""
    first = read_picture(paths[0])
    samples = samples_of(first)
    return VideoInfo(
        paths[0].parent, first.width, first.height, rate, 1 / rate, len(paths), float(len(paths) / rate),
        Fraction(0), 0, Fraction(1), first.format.name, 8 * samples.itemsize, False, False,
        paths[0].suffix.lower().removeprefix('.'), 0, 0)


class ImageWriter:
    """Writes pictures as PNGs into a folder, under the names of others; a context like PieceWriter.

    Args:
        folder: where to; made if it is missing.
        names: of the files, without ending, by time stamp.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self.frames = 0

    def __enter__(self) -> ImageWriter:
        self._folder.mkdir(exist_ok=True)
        for part in self._folder.glob('.*'):  # of a file that a killed run was at
            part.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do: each file is whole."""

    def write(self, picture: VideoFrame, pts: int) -> None:
        """Writes a picture as `read_images` gives it."""
        with atomic_path(self._folder / f'{self._names[pts]}.png') as part:
            part.write_bytes(cv2.imencode('.png', samples_of(picture))[1].tobytes())
        self.frames += 1
