"""What is restored: a video or a folder of pictures, at its own times or at a rate, and its sound."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from gavn.audio.mfcc import FRAME_RATE
from gavn.media import (
    IMAGE_ENDINGS,
    Frame,
    MediaError,
    NoVideo,
    UnreadableMedia,
    VideoInfo,
    at_rate,
    copied,
    enlarged,
    enlarged_size,
    images_in,
    info_at_rate,
    is_image,
    iter_audio,
    join,
    probe,
    probe_images,
    read_frames,
    read_images,
)
from gavn.runtime.files import fingerprint

PathLike = str | os.PathLike[str]
LOSSLESS_CODECS = frozenset({
    'ffv1', 'huffyuv', 'ffvhuff', 'utvideo', 'magicyuv', 'png', 'qtrle', 'rawvideo', 'v210'})


@dataclass(frozen=True)
class VideoSource:
    """Frames, and the sound that goes with them.

    Attributes:
        path: of the video, or of the folder.
        stored: what the file is.
        info: what the frames are as `read` yields them; as stored, but for the rate where one was asked for.
        rate: frames a second that were asked for; None = as stored.
        pictures: files of a folder, in order; empty for a video.
        sound: a file that is heard in place of the video's own sound.
    """

    path: Path
    stored: VideoInfo
    info: VideoInfo
    rate: Fraction | None = None
    pictures: tuple[Path, ...] = ()
    sound: Path | None = None

    @classmethod
    def of(cls, path: PathLike, rate: Fraction | None = None, sound: Path | None = None) -> VideoSource:
        """Looks at a file or a folder.

        Args:
            path: a video, or a folder of pictures.
            rate: frames a second; None = as stored, of pictures FRAME_RATE.
            sound: see the attribute.

        Raises MediaError for what cannot be read, or is a single picture, or a `sound` without any.
        """
        path = Path(path)
        if sound is not None and iter_audio(sound) is None:
            raise MediaError(f'{sound} has no sound track\ngive a file that has one')
        if path.is_dir():
            pictures = images_in(path)
            if not pictures:
                raise UnreadableMedia(f'{path} holds no pictures ({", ".join(IMAGE_ENDINGS)})')
            info = probe_images(pictures, rate or Fraction(FRAME_RATE))
            return cls(path, info, info, rate, pictures, sound)
        if is_image(path):
            raise NoVideo(f'{path} is a picture, not a video\ngive a video, or the '
                          'folder that holds its frames')
        stored = probe(path)
        return cls(path, stored, stored if rate is None else info_at_rate(stored, rate), rate, (), sound)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its frames."""
        return self.info.width, self.info.height

    def enlarged(self, scale: str | None) -> VideoSource:
        """The same with frames that are `scale` times as large; itself for None, and what is large enough.

        Raises MediaError as `enlarged_size`.
        """
        size = self.size if scale is None else enlarged_size(*self.size, scale)
        return self if size == self.size else replace(
            self, info=replace(self.info, width=size[0], height=size[1]))

    def read(self, start: int = 0) -> Iterator[Frame]:
        """The frames from index `start` on; raises as `read_frames` and `read_images` do."""
        frames = self._stored_frames(start)
        stored = self.stored.width, self.stored.height
        return frames if self.size == stored else enlarged(frames, self.size)

    def _stored_frames(self, start: int) -> Iterator[Frame]:
        if self.pictures:
            return read_images(self.pictures, self.info.frame_rate, start)
        if self.rate is None:
            return read_frames(self.path, start)
        frames = at_rate(read_frames(self.path), self.stored, self.rate)
        return (frame for frame in frames if frame.index >= start)

    @property
    def heard(self) -> Path | None:
        """The file whose sound is heard; None for pictures that were given none."""
        return self.sound or (None if self.pictures else self.path)

    @property
    def lossless(self) -> bool:
        """Whether a video is stored as it was, as its codec tells; of folders nobody knows."""
        return not self.pictures and self.stored.codec in LOSSLESS_CODECS

    def join(self, target: Path, pieces: Sequence[Path], until: Fraction | None = None, **options: Any
             ) -> None:
        """Makes a video of encoded pieces of this film, and of all that goes with it; see `media.join`."""
        source = None if self.pictures else self.path
        join(target, pieces, source, until, like=self.info, sound=self.sound, **options)

    def copy(self, target: Path, notice: Callable[[str], object]) -> None:
        """Writes the video as it is stored, with the sound that goes with it; see `media.copied`.

        Raises MediaError where it cannot be copied, or its frames are not those that are stored.
        """
        if self.pictures or self.info != self.stored:
            raise MediaError(f'{self.path}: its frames are not as they are stored')
        copied(self.path, target, self.sound, notice)

    def digest(self) -> str:
        """Changes with what the frames are made of: the video, or any picture or its name."""
        if not self.pictures:
            return fingerprint(self.path)
        listed = '\n'.join(f'{fingerprint(path)} {path.name}' for path in self.pictures)
        return hashlib.sha256(os.fsencode(listed)).hexdigest()
