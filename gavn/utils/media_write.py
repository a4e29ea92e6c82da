"""Writing video files through PyAV: from pictures, or from pictures and another file's timing and sound."""
import logging
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import av
import numpy as np
from av import AudioFrame, Packet, VideoFrame
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from gavn.utils.files import atomic_path
from gavn.utils.media_read import (
    TO_BGR,
    EmptyVideo,
    MediaError,
    StrPath,
    exact,
    open_media,
    probe,
    video_stream,
)

_TO_YUV = 4  # swscale's bicubic; from RGB (not BGR) it yields the samples that the ffmpeg program encodes
_MATRIX_RGB, _MATRIX_UNKNOWN = 0, 2  # tags of the colour matrix
_CONTAINER_TAGS = {'major_brand', 'minor_version', 'compatible_brands', 'encoder'}  # not about the content
# x264's macroblock tree reads past its rows with AVX2 and AVX-512, so that two runs over the same smooth
# pictures differ; with SSE2 they do not, and give what its plain C code gives (a few percent slower).
_REPEATABLE = 'asm=MMX2,SSE2' if platform.machine() in ('x86_64', 'AMD64') else 'asm=0'
_SOUND_BLOCK = 1024  # samples
_SOUND_BITRATE = 64000

_W = TypeVar('_W', bound='_Writer')


def _checked(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise ValueError(f'expected a uint8 picture ({height}, {width}, 3), got {image.dtype} {image.shape}')
    return image


class _Pictures:
    """Turns uint8 BGR pictures into an encoder's frames, in the matrix and range that its tags announce."""

    def __init__(self, encoder: VideoCodecContext) -> None:
        self._reformatter = VideoReformatter()
        self._target = {
            'format': encoder.pix_fmt, 'interpolation': _TO_YUV, 'threads': 1,
            # BT.709 (1) and BT.2020 (9) have their own matrix; all else, unknown too, is BT.601
            'dst_colorspace': encoder.colorspace if encoder.colorspace in (1, 9) else 5,
            'dst_color_range': encoder.color_range or 1,
        }

    def frame(self, image: np.ndarray, pts: int) -> VideoFrame:
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(image[..., ::-1]), format='rgb24')
        frame = self._reformatter.reformat(rgb, **self._target)
        frame.pts = pts
        return frame


class _Writer:
    """One encoded video stream in a file that appears, under its name, only when it is complete."""

    def __init__(self, path: StrPath, crf: float, preset: str, codec: str, pix_fmt: str) -> None:
        self.path = Path(path)
        self.frames = 0
        self._codec, self._pix_fmt = codec, pix_fmt
        self._options = {'crf': str(crf), 'preset': preset}

    def __enter__(self: _W) -> _W:
        with ExitStack() as stack:
            part = stack.enter_context(atomic_path(self.path))
            self._output: OutputContainer = stack.enter_context(self._opened(part))
            self._prepare(stack)
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _prepare(self, stack: ExitStack) -> None:
        raise NotImplementedError

    def _rest(self) -> None:
        """Writes what is left beside the pictures when the last of them is in."""
        raise NotImplementedError

    def _opened(self, part: Path) -> OutputContainer:
        try:
            return av.open(str(part), 'w', container_options={'movflags': '+faststart'})
        except ValueError as error:
            raise MediaError(f'{self.path}: no container has this ending; use .mp4 or .mkv') from error

    def _add_stream(self, add: Callable[[], Stream], what: str) -> Stream:
        try:
            return add()
        except ValueError as error:  # also what PyAV raises for an unknown codec
            raise MediaError(f'{self.path}: cannot hold {what} ({error}); write to .mkv') from error

    def _add_video(self, rate: Fraction, time_base: Fraction) -> None:
        self._stream = self._add_stream(
            lambda: self._output.add_stream(self._codec, rate=rate, options=self._options),
            f'{self._codec} video')
        self._encoder = self._stream.codec_context
        self._encoder.time_base = time_base

    def _start(self, width: int, height: int) -> None:
        odd = self._pix_fmt == 'yuv420p' and (width % 2 or height % 2)
        self._encoder.width, self._encoder.height = width, height
        self._encoder.pix_fmt = 'yuv444p' if odd else self._pix_fmt
        self._pictures = _Pictures(self._encoder)

    def _encode(self, image: np.ndarray, pts: int) -> None:
        image = _checked(image, self._encoder.width, self._encoder.height)
        self._output.mux(self._stream.encode(self._pictures.frame(image, pts)))
        self.frames += 1

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if not self.frames:
            raise EmptyVideo(f'{self.path}: no frame was written to it; nothing is left behind')
        self._output.mux(self._stream.encode(None))
        self._rest()


class VideoWriter(_Writer):
    """Writes pictures as a video of constant rate, with sound from samples; a context manager.

    `width` and `height` in pixels, `frame_rate` in frames a second, `audio` int16 mono (n,) heard from
    the first frame on (or None), written as AAC. `crf` is the encoder's quality (x264: 0 lossless, 51
    worst). A size with odd sides is stored as 4:4:4, since 4:2:0 cannot hold it. The file has its name
    only when the block ends without an error. Raises MediaError if the container or codec does not fit,
    EmptyVideo if nothing was written.
    """

    def __init__(
        self, path: StrPath, width: int, height: int, frame_rate: float | Fraction,
        audio: np.ndarray | None = None, sample_rate: int = 16000, crf: float = 18, preset: str = 'medium',
        codec: str = 'libx264', pix_fmt: str = 'yuv420p',
    ) -> None:
        super().__init__(path, crf, preset, codec, pix_fmt)
        self._size = width, height
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._audio, self._sample_rate, self._sounded = audio, sample_rate, 0

    def _prepare(self, stack: ExitStack) -> None:
        self._add_video(self._rate, 1 / self._rate)
        self._start(*self._size)
        if self._audio is not None:
            self._sound = self._add_stream(
                lambda: self._output.add_stream('aac', rate=self._sample_rate, layout='mono'), 'AAC sound')
            self._sound.codec_context.bit_rate = _SOUND_BITRATE

    def write(self, image: np.ndarray) -> None:
        """Appends a picture (height, width, 3) uint8 BGR."""
        self._sound_until(Fraction(self.frames) / self._rate)
        self._encode(image, self.frames)

    def _sound_until(self, seconds: Fraction) -> None:
        """Writes the samples up to a time, so that sound and pictures stand side by side in the file."""
        while self._audio is not None and self._sounded < min(seconds * self._sample_rate, len(self._audio)):
            block = np.ascontiguousarray(self._audio[self._sounded:self._sounded + _SOUND_BLOCK], np.int16)
            frame = AudioFrame.from_ndarray(block[None], format='s16', layout='mono')
            frame.sample_rate, frame.pts = self._sample_rate, self._sounded
            self._output.mux(self._sound.encode(frame))
            self._sounded += len(block)

    def _rest(self) -> None:
        if self._audio is not None:
            self._sound_until(Fraction(len(self._audio)))
            self._output.mux(self._sound.encode(None))


class RemuxWriter(_Writer):
    """Writes new pictures into the timing of an existing file; a context manager.

    The video is encoded with the source's time base and the time stamps given, so a variable frame rate
    survives (exactly in .mp4 and .mov; .mkv rounds to milliseconds and moves all streams together where
    the sound has a lead-in before zero). Packets of sound are copied bit for bit with their own time
    stamps, so are subtitles where the container has a place for them (else a warning), chapters and tags.
    Pictures are upright, so no rotation is written; colour matrix, range and pixel shape are the
    source's. A size with odd sides is stored as 4:4:4. The file has its name only when the block ends
    without an error. Raises what `probe` raises for the source, MediaError if the container cannot hold
    the sound, EmptyVideo if nothing was written.
    """

    def __init__(
        self, path: StrPath, source: StrPath, crf: float = 18, preset: str = 'medium', codec: str = 'libx264',
    ) -> None:
        super().__init__(path, crf, preset, codec, 'yuv420p')
        self.source = Path(source)
        self._last: int | None = None

    def _prepare(self, stack: ExitStack) -> None:
        info = probe(self.source)
        source = stack.enter_context(open_media(self.source))
        video = video_stream(source, self.source)
        self._time_base = info.time_base
        self._add_video(info.frame_rate, info.time_base)
        _copy_looks(video.codec_context, self._encoder, turned=bool(info.rotation % 180))
        self._copies = dict(self._copied_streams(source))
        self._packets = _content(source, list(self._copies))
        self._pending = next(self._packets, None)
        self._output.metadata.update({k: v for k, v in source.metadata.items() if k not in _CONTAINER_TAGS})
        self._output.set_chapters(source.chapters())

    def _copied_streams(self, source: InputContainer) -> Iterator[tuple[Stream, Stream]]:
        log = logging.getLogger(__name__)
        for stream in (*source.streams.audio, *source.streams.subtitles):
            what = f'stream {stream.index} ({stream.type})'
            if stream.codec_context is None:
                log.warning('%s: %s has an unknown codec and is not copied', self.source, what)
                continue
            try:
                copy = self._add_stream(
                    lambda stream=stream: self._output.add_stream_from_template(stream),
                    f'{stream.codec_context.name} {stream.type}')
            except MediaError as error:
                if stream.type == 'audio':
                    raise
                log.warning('%s: %s is not copied: %s', self.source, what, error)
                continue
            copy.metadata.update(stream.metadata)
            yield stream, copy

    def write(self, image: np.ndarray, pts: int) -> None:
        """Appends a picture uint8 BGR, shown at `pts` in the source's time base (as `Frame.pts`).

        The first picture sets the size. Raises ValueError for another size or a time stamp out of order.
        """
        if self._last is not None and pts <= self._last:
            raise ValueError(f'time stamps must rise: {pts} after {self._last}')
        if self._last is None:
            self._start(image.shape[1], image.shape[0])
        self._last = pts
        self._copy_until(pts * self._time_base)
        self._encode(image, pts)

    def _copy_until(self, seconds: Fraction | None) -> None:
        """Passes on the source's other packets up to a time, or all of them."""
        while self._pending is not None:
            packet = self._pending
            due = None if packet.dts is None else packet.dts * exact(packet.time_base)
            if None not in (seconds, due) and due > seconds:
                return
            packet.stream = self._copies[packet.stream]
            self._output.mux(packet)
            self._pending = next(self._packets, None)

    def _rest(self) -> None:
        self._copy_until(None)


def _copy_looks(source: VideoCodecContext, target: VideoCodecContext, turned: bool) -> None:
    """Tags that tell a player how stored numbers become colours, and what shape its pixels have."""
    target.colorspace = _MATRIX_UNKNOWN if source.colorspace == _MATRIX_RGB else source.colorspace
    target.color_range = source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc
    if source.sample_aspect_ratio:
        shape = exact(source.sample_aspect_ratio)
        target.sample_aspect_ratio = 1 / shape if turned else shape


def _content(source: InputContainer, streams: list[Stream]) -> Iterator[Packet]:
    """The packets of some streams, without the empty ones that end each."""
    if streams:
        yield from (packet for packet in source.demux(*streams) if packet.size)


def compress(
    frames: Iterable[np.ndarray], crf: float, preset: str = 'medium', frame_rate: float | Fraction = 25,
) -> list[np.ndarray]:
    """What x264 leaves of pictures (h, w, 3) uint8 BGR of one size: encoded at `crf` and decoded, in memory.

    Stored as 4:2:0. One encoder thread and plain instructions, so that the result is the same in every run
    and from PyAV 17 to 19. Odd sides are continued by a repeated row or column while encoded. Give a whole
    clip at once: rate control looks ahead.
    """
    frames = list(frames)
    if not frames:
        return []
    height, width = frames[0].shape[:2]
    encoder = _crf_encoder(width + width % 2, height + height % 2, crf, preset, Fraction(frame_rate))
    decoder = av.CodecContext.create('h264', 'r')
    pictures, to_bgr, decoded = _Pictures(encoder), VideoReformatter(), []
    for index, image in enumerate([*frames, None]):
        frame = None if image is None else pictures.frame(_even(_checked(image, width, height)), index)
        for packet in encoder.encode(frame):
            decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    bgr = (to_bgr.reformat(frame, format='bgr24', interpolation=TO_BGR, threads=1) for frame in decoded)
    return [np.ascontiguousarray(frame.to_ndarray()[:height, :width]) for frame in bgr]


def _even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _crf_encoder(width: int, height: int, crf: float, preset: str, rate: Fraction) -> VideoCodecContext:
    encoder = av.CodecContext.create('libx264', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = width, height, 'yuv420p'
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.options = {'crf': str(crf), 'preset': preset, 'threads': '1', 'x264-params': _REPEATABLE}
    return encoder


@cache
def encoder_versions() -> dict[str, str]:
    """What `compress` depends on, to be kept beside its results: PyAV, libavcodec and x264's own build."""
    encoder = _crf_encoder(16, 16, 23, 'medium', Fraction(25))
    blank = _Pictures(encoder).frame(np.zeros((16, 16, 3), np.uint8), 0)
    stream = b''.join(bytes(packet) for frame in (blank, None) for packet in encoder.encode(frame))
    build = re.search(rb'x264 - (core \d+[^-]*?) -', stream)
    codec = '.'.join(map(str, av.library_versions['libavcodec']))
    return {'av': av.__version__, 'libavcodec': codec, 'x264': build[1].decode() if build else 'unknown'}
