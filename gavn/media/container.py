"""Opening media files through PyAV: which kinds are read at all, and what to say of the others."""
from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from os import PathLike
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from gavn.errors import GavnError

StrPath = str | PathLike[str]

# Demuxers that read nothing but the file itself. All others are refused before anything is parsed: playlists
# (hls, dash, concat, imf), patterns (image2) and sidecars (vobsub) open the files and addresses they name.
SELF_CONTAINED = (
    'mov', 'matroska', 'avi', 'mpegts', 'mpeg', 'mpegvideo', 'asf', 'asf_o', 'flv', 'live_flv', 'ogg', 'nut',
    'ivf', 'mxf', 'gxf', 'dv', 'rm', 'wtv', 'nsv', 'nuv', 'amv', 'roq', 'smk', 'bink', 'kux', 'ty', 'pva',
    'h261', 'h263', 'h264', 'hevc', 'vvc', 'av1', 'obu', 'm4v', 'vc1', 'vc1test', 'dirac', 'cavsvideo',
    'mjpeg', 'mjpeg_2000', 'yuv4mpegpipe', 'gif', 'apng', 'webp', 'swf', 'iv8', 'dhav', 'film_cpk', 'flic',
    'aac', 'ac3', 'eac3', 'aiff', 'amr', 'amrnb', 'amrwb', 'ape', 'au', 'caf', 'dts', 'dtshd', 'flac', 'loas',
    'mlp', 'mp3', 'oma', 'qcp', 'truehd', 'tta', 'voc', 'w64', 'wav', 'wv', 'mpc', 'mpc8', 'tak', 'dsf',
)
_OPTIONS = {'format_whitelist': ','.join(SELF_CONTAINED), 'protocol_whitelist': 'file'}
# Tags are bytes of any encoding: those that are no UTF-8 pass through Python as lone surrogates.
TAGS = {'metadata_encoding': 'utf-8', 'metadata_errors': 'surrogateescape'}
_REFUSED = 22  # EINVAL, which libavformat also answers for a demuxer that is not on the list

_dumping = threading.Lock()
logging.getLogger('libav').setLevel(logging.CRITICAL)  # the lines of a dump are ours alone


class MediaError(GavnError):
    """A file that cannot be used as asked; the message says what, where and what to do next."""


class UnreadableMedia(MediaError):  # noqa: N818
    """The file is missing, or no demuxer or decoder understands it."""


class NoVideo(MediaError):  # noqa: N818
    """The file holds no video stream."""


class EmptyVideo(MediaError):  # noqa: N818
    """The file has a video stream of which no frame can be decoded."""


def file_url(path: StrPath) -> str:
    """A file's name in a form that libavformat takes for nothing but a file, whatever colons are in it."""
    return f'file:{os.path.abspath(path)}'


@contextmanager
def open_media(path: StrPath) -> Iterator[InputContainer]:
    """The opened container, closed at the end.

    Raises UnreadableMedia for a file that is missing, damaged beyond reading, or of a kind that is not on the
    list of self-contained ones, such as a playlist or a single image.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableMedia(f'{path}: no such file; check the path')
    try:
        container = av.open(file_url(path), container_options=_OPTIONS, **TAGS)
    except av.FFmpegError as error:
        if error.errno == _REFUSED:
            raise UnreadableMedia(
                f'{path}: no readable media file, as a picture, a text or a playlist is none; '
                'give a file that holds a video itself') from error
        raise UnreadableMedia(f'{path}: no readable media file ({error.strerror}); does it play?') from error
    with container:
        yield container


def video_stream(container: InputContainer, path: StrPath) -> VideoStream:
    """The container's main video stream (cover images do not count).

    Raises NoVideo if there is none, UnreadableMedia if its codec is unknown.
    """
    streams = [stream for stream in container.streams.video
               if not stream.disposition & Disposition.attached_pic]
    known = [stream for stream in streams if stream.codec_context is not None]
    if not streams:
        raise NoVideo(f'{path}: no video stream; give a file that has one')
    if not known:
        raise UnreadableMedia(f'{path}: no decoder knows its video ({codec_label(container, streams[0])})\n'
                              'convert it with the program that made it, or give another file')
    best = container.streams.best('video')
    return best if best in known else known[0]


def has_parameters(stream: Stream) -> bool:
    """Whether a sound stream is more than announced: its codec, rate and channels are known."""
    codec = stream.codec_context
    return codec is not None and codec.sample_rate > 0 and codec.layout.nb_channels > 0


def codec_label(container: InputContainer, stream: Stream) -> str:
    """What a stream calls its codec, known or not: `h264`, or a tag as `zzz1`."""
    if stream.codec_context is not None:
        return stream.codec_context.name
    found = re.search(r'\b(?:none|unknown)\b[^(]*\((\S+) / 0x', _section(described(container), stream.index))
    return f'tag {found[1]}' if found else 'without a name'


def exact(ratio: Rational) -> Fraction:
    """PyAV's ratios as fractions; from version 19 on they are of a type of its own."""
    return Fraction(ratio.numerator, ratio.denominator)


@dataclass(frozen=True)
class StreamFacts:
    """What a container says of a video stream that PyAV has no names for.

    Attributes:
        crop: samples to hide at the top, bottom, left and right of the stored image.
        chroma: where chroma samples lie, in FFmpeg's words (`left`, `topleft` ...); None = not told.
        spherical: whether the image is a projection of a sphere, or stereoscopic.
    """

    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    chroma: str | None = None
    spherical: bool = False

    @classmethod
    def of(cls, container: InputContainer, stream: Stream) -> StreamFacts:
        """Reads them from FFmpeg's own description of the file."""
        section = _section(described(container), stream.index)
        found = re.search(r'Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)', section)
        left, right, top, bottom = map(int, found.groups()) if found else (0, 0, 0, 0)
        chroma = re.search(r'\([^()]*\b(left|center|topleft|top|bottomleft|bottom)\)', section.split('\n')[0])
        return cls((top, bottom, left, right), chroma and chroma[1],
                   bool(re.search(r'Side data:.*(spherical|stereo3d)', section, re.DOTALL | re.IGNORECASE)))


def described(container: InputContainer) -> str:
    """FFmpeg's description of an open file, as its program prints it."""
    with _dumping:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.VERBOSE)
        av.logging.set_libav_level(av.logging.VERBOSE)  # below it says nothing of chroma
        try:
            return container.dumps_format()
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(level)


def _section(description: str, index: int) -> str:
    """The part about one stream."""
    found = re.search(rf'^ +Stream #0:{index}\b.*?(?=^ +Stream #|\Z)', description, re.DOTALL | re.MULTILINE)
    return found[0] if found else ''
