"""The input of a restoration: a video or an image folder, optionally at another frame rate, and its audio."""
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
    """A video or an image folder, with its audio.

    Attributes:
        path: the video file or the image folder.
        stored: properties of the stored video.
        info: properties of the frames that `read` yields; they differ from `stored` in the frame rate and the
            size if these were requested.
        rate: requested frames per second; None = as stored.
        images: the files of an image folder, in order; empty for a video.
        audio: an audio file that replaces the video's own audio.
    """

    path: Path
    stored: VideoInfo
    info: VideoInfo
    rate: Fraction | None = None
    images: tuple[Path, ...] = ()
    audio: Path | None = None

    @classmethod
    def from_path(cls, path: PathLike, rate: Fraction | None = None, audio: Path | None = None
                  ) -> VideoSource:
        """Probes a file or a folder.

        Args:
            path: a video, or a folder of images.
            rate: frames per second; None = as stored (FRAME_RATE for images).
            audio: see the attribute.

        Raises:
            MediaError: `path` is unreadable or a single image, or `audio` has no audio track.
        """
        path = Path(path)
        if audio is not None and iter_audio(audio) is None:
            raise MediaError(f'{audio} has no audio track\nuse a file that has one')
        if path.is_dir():
            images = images_in(path)
            if not images:
                raise UnreadableMedia(f'{path} contains no images ({", ".join(IMAGE_ENDINGS)})')
            info = probe_images(images, rate or Fraction(FRAME_RATE))
            return cls(path, info, info, rate, images, audio)
        if is_image(path):
            raise NoVideo(f'{path} is an image, not a video\nuse a video, or the folder that contains its '
                          'frames')
        stored = probe(path)
        return cls(path, stored, stored if rate is None else info_at_rate(stored, rate), rate, (), audio)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames, in pixels."""
        return self.info.width, self.info.height

    def enlarged(self, scale: str | None) -> VideoSource:
        """Returns the source with frames enlarged by `scale`; itself if None or if it is large enough.

        Raises:
            MediaError: see `enlarged_size`.
        """
        size = self.size if scale is None else enlarged_size(*self.size, scale)
        return self if size == self.size else replace(
            self, info=replace(self.info, width=size[0], height=size[1]))

    def read(self, start: int = 0) -> Iterator[Frame]:
        """Yields the frames from index `start` on.

        Raises:
            MediaError: see `read_frames` and `read_images`.
        """
        frames = self._stored_frames(start)
        stored = self.stored.width, self.stored.height
        return frames if self.size == stored else enlarged(frames, self.size)

    def _stored_frames(self, start: int) -> Iterator[Frame]:
        if self.images:
            return read_images(self.images, self.info.frame_rate, start)
        if self.rate is None:
            return read_frames(self.path, start)
        frames = at_rate(read_frames(self.path), self.stored, self.rate)
        return (frame for frame in frames if frame.index >= start)

    @property
    def audio_path(self) -> Path | None:
        """The file that the audio is read from; None for images without an audio file."""
        return self.audio or (None if self.images else self.path)

    @property
    def lossless(self) -> bool:
        """Whether the video has a lossless codec; False for images, whose history is unknown."""
        return not self.images and self.stored.codec in LOSSLESS_CODECS

    def join(self, target: Path, segments: Sequence[Path], until: Fraction | None = None, **options: Any
             ) -> None:
        """Muxes encoded segments of this video with its audio and other streams; see `media.join`."""
        source = None if self.images else self.path
        join(target, segments, source, until, like=self.info, audio=self.audio, **options)

    def copy(self, target: Path, notify: Callable[[str], object]) -> None:
        """Copies the stored video stream, with its audio, without encoding; see `media.copied`.

        Raises:
            MediaError: the video cannot be copied, or the requested frames differ from the stored ones.
        """
        if self.images or self.info != self.stored:
            raise MediaError(f'{self.path}: the requested frames differ from the stored frames')
        copied(self.path, target, self.audio, notify)

    def digest(self) -> str:
        """Returns a hash that changes with the content of the video, or any image or image name."""
        if not self.images:
            return fingerprint(self.path)
        listed = '\n'.join(f'{fingerprint(path)} {path.name}' for path in self.images)
        return hashlib.sha256(os.fsencode(listed)).hexdigest()
