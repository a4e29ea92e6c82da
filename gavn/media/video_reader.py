"""The reader of videos: a file or an image folder, at the requested frame rate and size, and its audio."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gavn.audio.rates import FRAME_RATE, SAMPLE_RATE
from gavn.media.audio import iter_audio, read_audio
from gavn.media.constant_rate import at_rate, info_at_rate
from gavn.media.container import MediaError, NoVideo, StrPath, UnreadableMedia
from gavn.media.frame import FrameIterator
from gavn.media.image_folder import probe_images, read_images
from gavn.media.mux import join
from gavn.media.reader import VideoInfo, probe, read_frames
from gavn.media.scale import enlarged, enlarged_size
from gavn.media.stream_copy import copied
from gavn.runtime.file_names import IMAGE_ENDINGS, images_in, is_image
from gavn.runtime.files import fingerprint


@dataclass(frozen=True)
class VideoReader:
    """A video file or an image folder, with its audio. Files are opened when something is read from them."""

    path: Path  # the video file or the image folder
    images: tuple[Path, ...] = ()  # the files of an image folder, in order; empty for a video
    rate: Fraction | None = None  # requested frames per second; None = as stored (FRAME_RATE for images)
    audio: Path | None = None  # an audio file that replaces the video's own audio
    requested_size: tuple[int, int] | None = None  # requested (width, height); None = as stored

    @classmethod
    def from_path(cls, path: StrPath, rate: Fraction | None = None, audio: Path | None = None) -> VideoReader:
        """Opens a file or a folder and checks that it can be read.

        Args:
            path: a video, or a folder of images.

        Raises:
            MediaError: `path` is unreadable or a single image, or `audio` has no audio track.
        """
        path = Path(path)
        if audio is not None and iter_audio(audio) is None:
            raise MediaError(f'{audio} has no audio track\nuse a file that has one')
        images = images_in(path) if path.is_dir() else ()
        if path.is_dir() and not images:
            raise UnreadableMedia(f'{path} contains no images ({", ".join(IMAGE_ENDINGS)})')
        if is_image(path):
            raise NoVideo(f'{path} is an image, not a video\nuse a video, or the folder that contains its '
                          'frames')
        reader = cls(path, images, rate, audio)
        _ = reader.info  # raises if it cannot be read
        return reader

    @cached_property
    def stored(self) -> VideoInfo:
        """Properties of the stored video; raises MediaError."""
        return probe_images(self.images, self._image_rate) if self.images else probe(self.path)

    @cached_property
    def info(self) -> VideoInfo:
        """Properties of the frames that `read` yields; raises MediaError."""
        info = self.stored if self.rate is None or self.images else info_at_rate(self.stored, self.rate)
        width, height = self.requested_size or (info.width, info.height)
        return replace(info, width=width, height=height)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames, in pixels."""
        return self.info.width, self.info.height

    def enlarged(self, scale: str | None) -> VideoReader:
        """Returns the reader with frames enlarged by `scale`; itself if None or if they are large enough.

        Raises:
            MediaError: see `enlarged_size`.
        """
        size = self.size if scale is None else enlarged_size(*self.size, scale)
        return self if size == self.size else replace(self, requested_size=size)

    def read(self, start: int = 0) -> FrameIterator:
        """Yields the frames from index `start` on.

        Raises:
            MediaError: see `read_frames` and `read_images`.
        """
        frames = self._stored_frames(start)
        return frames if self.requested_size is None else enlarged(frames, self.requested_size)

    def _stored_frames(self, start: int) -> FrameIterator:
        if self.images:
            return read_images(self.images, self._image_rate, start)
        if self.rate is None:
            return read_frames(self.path, start)
        frames = at_rate(read_frames(self.path), self.stored, self.rate)
        return (frame for frame in frames if frame.index >= start)

    @property
    def _image_rate(self) -> Fraction:
        return self.rate or Fraction(FRAME_RATE)

    @property
    def audio_path(self) -> Path | None:
        """The file that the audio is read from; None for images without an audio file."""
        return self.audio or (None if self.images else self.path)

    def read_audio(self) -> np.ndarray | None:
        """Returns int16 samples at 16 kHz from the first frame on; None without an audio track."""
        return None if self.audio_path is None else read_audio(self.audio_path, SAMPLE_RATE)

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
