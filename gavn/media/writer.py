"""Writes images as video files with PyAV, and simulates compression in memory."""
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache, partial
from typing import Literal

import av
import numpy as np
from av import AudioFrame, VideoFrame
from av.audio.stream import AudioStream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from gavn.media.container import MediaError, StrPath
from gavn.media.frame import ACCURATE
from gavn.media.output import REPEATABLE, Writer, added_stream, added_video

_TO_YUV = 4  # swscale's bicubic; with RGB input (not BGR) it gives the same samples as the ffmpeg program
_AUDIO_BLOCK = 1024  # samples
_AUDIO_BITRATE = 64000


def _checked(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise ValueError(f'expected a uint8 image ({height}, {width}, 3), got {image.dtype} {image.shape}')
    return image


class _ImageEncoder:
    """Converts uint8 BGR images to frames of an encoder, by its colour matrix and range."""

    def __init__(self, encoder: VideoCodecContext) -> None:
        self._convert = partial(
            VideoReformatter().reformat, format=encoder.pix_fmt, interpolation=_TO_YUV, threads=1,
            # BT.709 (1) and BT.2020 (9) have their own matrix; all others, and unknown, use BT.601
            dst_colorspace=encoder.colorspace if encoder.colorspace in (1, 9) else 5,
            dst_color_range=encoder.color_range or 1)

    def frame(self, image: np.ndarray, pts: int) -> VideoFrame:
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(image[..., ::-1]), format='rgb24')
        frame = self._convert(rgb)
        frame.pts = pts
        return frame


class VideoWriter(Writer):
    """Writes images as a video of constant rate, with audio; a context manager.

    The file appears when the block ends without an error.

    Args:
        width, height: in pixels; odd sides are stored as 4:4:4.
        frame_rate: frames per second.
        audio: int16 mono samples (n,), starting with the first frame; written as AAC.
        sample_rate: of `audio`, in Hz.
        crf: encoder quality (x264: 0 lossless, 51 worst).

    Raises:
        MediaError: the container does not support the codec.
        EmptyVideo: no image was written.
    """

    def __init__(
        self, path: StrPath, width: int, height: int, frame_rate: float | Fraction,
        audio: np.ndarray | None = None, sample_rate: int = 16000, crf: float = 18, preset: str = 'medium',
        codec: str = 'libx264', pix_fmt: str = 'yuv420p',
    ) -> None:
        super().__init__(path)
        self._options, self._codec = {'crf': str(crf), 'preset': preset}, codec
        if codec == 'libx265':
            self._options['x265-params'] = 'log-level=error'  # it reports every encoding on standard error
        self._size = width, height
        odd = pix_fmt == 'yuv420p' and (width % 2 or height % 2)
        self._pix_fmt = 'yuv444p' if odd else pix_fmt
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._audio, self._sample_rate, self._written_samples = audio, sample_rate, 0
        self._audio_stream: AudioStream | None = None

    def _prepare(self) -> None:
        self._stream = added_video(self.path, self._output, self._codec, self._rate, self._options)
        encoder = self._stream.codec_context
        encoder.time_base, encoder.pix_fmt = 1 / self._rate, self._pix_fmt
        encoder.width, encoder.height = self._size
        self._images = _ImageEncoder(encoder)
        if self._audio is not None:
            self._audio_stream = added_stream(
                self.path, lambda: self._output.add_stream('aac', rate=self._sample_rate, layout='mono'),
                'AAC audio')
            self._audio_stream.codec_context.bit_rate = _AUDIO_BITRATE

    def write(self, image: np.ndarray) -> None:
        """Appends an image (height, width, 3) uint8 BGR."""
        self._write_audio_until(Fraction(self.frames) / self._rate)
        frame = self._images.frame(_checked(image, *self._size), self.frames)
        self._mux(self._encode(frame))
        self.frames += 1

    def _write_audio_until(self, seconds: Fraction) -> None:
        """Writes audio up to a time, so that audio and video are interleaved."""
        if self._audio is None or self._audio_stream is None:
            return
        end = min(seconds * self._sample_rate, Fraction(len(self._audio)))
        while self._written_samples < end:
            start = self._written_samples
            block = np.ascontiguousarray(self._audio[start:start + _AUDIO_BLOCK], np.int16)
            frame = AudioFrame.from_ndarray(block[None], format='s16', layout='mono')
            frame.sample_rate, frame.pts = self._sample_rate, self._written_samples
            self._output.mux(self._audio_stream.encode(frame))
            self._written_samples += len(block)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        super()._finish(kind)
        if kind is None and self._audio is not None and self._audio_stream is not None:
            self._write_audio_until(Fraction(len(self._audio)))
            self._output.mux(self._audio_stream.encode(None))


def compress(frames: Iterable[np.ndarray], crf: float) -> list[np.ndarray]:
    """Encodes images (h, w, 3) uint8 BGR with x264 at `crf` (medium, 25 fps) and decodes them, as 4:2:0.

    The result is repeatable, also between PyAV 17 and 19. Pass whole clips, because rate control looks ahead.
    """
    return encode_decode(frames, 'libx264', {'crf': str(crf), 'preset': 'medium', 'x264-params': REPEATABLE})


DECODERS = {'libx264': 'h264', 'libx265': 'hevc', 'libvpx-vp9': 'vp9'}
"""Encoders of `encode_decode`, and the decoder of each."""


def encode_decode(
    frames: Iterable[np.ndarray], codec: str, options: Mapping[str, str], frame_rate: float | Fraction = 25,
    bit_rate: int | None = None,
) -> list[np.ndarray]:
    """Encode and decode a clip in memory, as 4:2:0, with one encoder thread.

    Args:
        frames: uint8 BGR (h, w, 3) of one size; odd sides are padded by a repeated row or column.
        codec: a key of `DECODERS`.
        options: of the encoder, by FFmpeg's names.
        frame_rate: in frames a second.
        bit_rate: target in bits a second; None where `options` set the quality.

    Returns as many frames of the same size, uint8 BGR.

    Raises:
        ValueError: a frame of another type or size.
        MediaError: the encoder dropped frames.
    """
    frames = list(frames)
    if not frames:
        return []
    height, width = frames[0].shape[:2]
    encoder = _encoder(codec, width + width % 2, height + height % 2, options, Fraction(frame_rate), bit_rate)
    decoder = _video_codec(DECODERS[codec], 'r')
    images, to_bgr = _ImageEncoder(encoder), VideoReformatter()
    decoded: list[VideoFrame] = []
    for index, image in enumerate([*frames, None]):
        frame = None if image is None else images.frame(_even(_checked(image, width, height)), index)
        for packet in encoder.encode(frame):
            decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    if len(decoded) != len(frames):
        raise MediaError(f'{codec} with {dict(options)} returned {len(decoded)} of {len(frames)} frames')
    bgr = (to_bgr.reformat(frame, format='bgr24', interpolation=ACCURATE, threads=1) for frame in decoded)
    return [np.ascontiguousarray(frame.to_ndarray()[:height, :width]) for frame in bgr]


def frame_from_image(image: np.ndarray) -> VideoFrame:
    """Converts a uint8 BGR image (h, w, 3) to a frame for SegmentWriter: yuv420p, BT.601.

    Odd sides are padded by a repeated row or column.
    """
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(_even(image)[..., ::-1]), format='rgb24')
    av_frame = rgb.reformat(format='yuv420p', interpolation=_TO_YUV, dst_colorspace=5, dst_color_range=1)
    av_frame.colorspace, av_frame.color_range = 5, 1
    return av_frame


def _even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _video_codec(name: str, mode: Literal['r', 'w']) -> VideoCodecContext:
    codec = av.CodecContext.create(name, mode)
    assert isinstance(codec, VideoCodecContext), f'{name} is not a video codec'
    return codec


def _encoder(codec: str, width: int, height: int, options: Mapping[str, str], rate: Fraction,
             bit_rate: int | None = None) -> VideoCodecContext:
    encoder = _video_codec(codec, 'w')
    encoder.width, encoder.height, encoder.pix_fmt = width, height, 'yuv420p'
    encoder.framerate, encoder.time_base = rate, 1 / rate
    if bit_rate is not None:
        encoder.bit_rate = bit_rate
    encoder.options = {'threads': '1', **options}
    return encoder


@cache
def encoder_versions() -> dict[str, str]:
    """Returns the versions that `compress` depends on: PyAV, libavcodec and the build of x264."""
    encoder = _encoder('libx264', 16, 16, {'crf': '23', 'x264-params': REPEATABLE}, Fraction(25))
    blank = _ImageEncoder(encoder).frame(np.zeros((16, 16, 3), np.uint8), 0)
    stream = b''.join(bytes(packet) for frame in (blank, None) for packet in encoder.encode(frame))
    build = re.search(rb'x264 - (core \d+[^-]*?) -', stream)
    codec = '.'.join(map(str, av.library_versions['libavcodec']))
    return {'av': av.__version__, 'libavcodec': codec, 'x264': build[1].decode() if build else 'unknown'}
