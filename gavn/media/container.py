"""Opens media files with PyAV; refuses formats that reference other files."""
from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from os import PathLike
from pathlib import Path
from typing import TypedDict

import av
from av.audio.stream import AudioStream
from av.codec import CodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from gavn.errors import ExitCode, GavnError

StrPath = str | PathLike[str]

# Demuxers that read only the file itself. All others are refused before parsing: playlists (hls, dash,
# concat, imf), patterns (image2) and sidecars (vobsub) open the files and URLs that they name.
SELF_CONTAINED = (
    'mov', 'matroska', 'avi', 'mpegts', 'mpeg', 'mpegvideo', 'asf', 'asf_o', 'flv', 'live_flv', 'ogg', 'nut',
    'ivf', 'mxf', 'gxf', 'dv', 'rm', 'wtv', 'nsv', 'nuv', 'amv', 'roq', 'smk', 'bink', 'kux', 'ty', 'pva',
    'h261', 'h263', 'h264', 'hevc', 'vvc', 'av1', 'obu', 'm4v', 'vc1', 'vc1test', 'dirac', 'cavsvideo',
    'mjpeg', 'mjpeg_2000', 'yuv4mpegpipe', 'gif', 'apng', 'webp', 'swf', 'iv8', 'dhav', 'film_cpk', 'flic',
    'aac', 'ac3', 'eac3', 'aiff', 'amr', 'amrnb', 'amrwb', 'ape', 'au', 'caf', 'dts', 'dtshd', 'flac', 'loas',
    'mlp', 'mp3', 'oma', 'qcp', 'truehd', 'tta', 'voc', 'w64', 'wav', 'wv', 'mpc', 'mpc8', 'tak', 'dsf',
)
_OPTIONS = {'format_whitelist': ','.join(SELF_CONTAINED), 'protocol_whitelist': 'file'}


class _Encoding(TypedDict):
    metadata_encoding: str
    metadata_errors: str


# Tags may have any encoding: invalid UTF-8 is kept as lone surrogates.
TAGS: _Encoding = {'metadata_encoding': 'utf-8', 'metadata_errors': 'surrogateescape'}
_REFUSED = 22  # EINVAL: libavformat's error for a demuxer that is not on the list

_dumping = threading.Lock()
logging.getLogger('libav').setLevel(logging.CRITICAL)  # needed to capture format dumps


class MediaError(GavnError):
    """A file cannot be used as requested; the message says why and what to do."""

    exit_code = ExitCode.UNREADABLE


class UnreadableMedia(MediaError):  # noqa: N818
    """The file is missing, or cannot be demuxed or decoded."""


class NoVideo(MediaError):  # noqa: N818
    """The file has no video stream."""


class EmptyVideo(MediaError):  # noqa: N818
    """No frame of the video stream can be decoded."""


def file_url(path: StrPath) -> str:
    """Returns a URL that libavformat always treats as a file, even if the name has colons."""
    return f'file:{os.path.abspath(path)}'


@contextmanager
def open_media(path: StrPath) -> Iterator[InputContainer]:
    """Opens a container; a context manager that closes it.

    Raises:
        UnreadableMedia: the file is missing or damaged, or its format is not in SELF_CONTAINED, such as a
            playlist or an image.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableMedia(f'{path}: no such file; check the path')
    try:
        container = av.open(file_url(path), container_options=_OPTIONS, **TAGS)
    except av.FFmpegError as error:
        if error.errno == _REFUSED:
            raise UnreadableMedia(
                f'{path}: no readable media file; images, texts and playlists are not supported; '
                'use a video or audio file') from error
        raise UnreadableMedia(
            f'{path}: no readable media file ({error.strerror}); check whether it plays') from error
    with container:
        yield container


def video_stream(container: InputContainer, path: StrPath) -> VideoStream:
    """Returns the main video stream; cover images are ignored.

    Raises:
        NoVideo: there is no video stream.
        UnreadableMedia: the codec is unknown.
    """
    streams = [stream for stream in container.streams.video
               if not stream.disposition & Disposition.attached_pic]
    known = [stream for stream in streams if has_decoder(stream)]
    if not streams:
        raise NoVideo(f'{path}: no video stream; use a file that has one')
    if not known:
        raise UnreadableMedia(f'{path}: no decoder knows its video ({codec_label(container, streams[0])})\n'
                              'convert it with the program that created it, or use another file')
    best = container.streams.best('video')
    return best if best in known else known[0]


def audio_stream(container: InputContainer, index: int) -> AudioStream:
    """Returns the stream with an index of the file, which is an audio stream."""
    return next(stream for stream in container.streams.audio if stream.index == index)


def guesses_times(container: InputContainer) -> bool:
    """Returns whether the container has no presentation times.

    FFmpeg's guesses for B-frames are out of order, but the decoding times of frames are in order and one
    frame interval apart.
    """
    return container.format.name == 'avi'


def has_decoder(stream: Stream) -> bool:
    """Returns whether FFmpeg has a decoder for the codec of a stream."""
    codec: CodecContext | None = stream.codec_context  # PyAV's types do not say that it may be None
    return codec is not None


def has_parameters(stream: AudioStream) -> bool:
    """Returns whether codec, sample rate and channels of an audio stream are known."""
    codec = stream.codec_context
    return has_decoder(stream) and codec.sample_rate > 0 and codec.layout.nb_channels > 0


def codec_label(container: InputContainer, stream: Stream) -> str:
    """Returns the codec name of a stream, or its tag if the codec is unknown."""
    if has_decoder(stream):
        return stream.codec_context.name
    found = re.search(r'\b(?:none|unknown)\b[^(]*\((\S+) / 0x', _section(describe(container), stream.index))
    return f'tag {found[1]}' if found else 'unnamed'


def exact(ratio: Rational | None) -> Fraction:
    """Converts a time base or another ratio of PyAV to a Fraction; PyAV 19 has a type of its own.

    Raises:
        MediaError: the file does not have the ratio.
    """
    if ratio is None:
        raise MediaError('a stream has no time base; remux the file: ffmpeg -i IN -c copy OUT.mkv')
    return Fraction(int(ratio.numerator), int(ratio.denominator))


@dataclass(frozen=True)
class StreamFacts:
    """Properties of a video stream that PyAV does not expose."""

    # samples to crop at the top, bottom, left and right of the stored image
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    chroma: str | None = None  # chroma location (`left`, `topleft` ...); None = unknown
    spherical: bool = False  # whether the video is spherical or stereoscopic

    @classmethod
    def from_stream(cls, container: InputContainer, stream: Stream) -> StreamFacts:
        """Parses FFmpeg's description of the file."""
        section = _section(describe(container), stream.index)
        found = re.search(r'Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)', section)
        left, right, top, bottom = map(int, found.groups()) if found else (0, 0, 0, 0)
        chroma = re.search(r'\([^()]*\b(left|center|topleft|top|bottomleft|bottom)\)', section.split('\n')[0])
        return cls((top, bottom, left, right), chroma and chroma[1],
                   bool(re.search(r'Side data:.*(spherical|stereo ?3d)', section, re.DOTALL | re.IGNORECASE)))


def describe(container: InputContainer) -> str:
    """Returns FFmpeg's description of an open file, as the ffmpeg program prints it."""
    with _dumping:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.VERBOSE)
        av.logging.set_libav_level(av.logging.VERBOSE)  # lower levels omit the chroma location
        try:
            return container.dumps_format()  # type: ignore[attr-defined,unused-ignore]  # in the types of PyAV 19
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(av.logging.PANIC)
            time.sleep(0.001)  # messages of other threads that wait for the GIL fail without a level
            av.logging.set_level(level)


def _section(description: str, index: int) -> str:
    """Returns the part about one stream."""
    found = re.search(rf'^ +Stream #0:{index}\b.*?(?=^ +Stream #|\Z)', description, re.DOTALL | re.MULTILINE)
    return found[0] if found else ''
