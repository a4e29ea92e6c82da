"""Writing video files through PyAV from pictures, and what compression leaves of them."""
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av import AudioFrame, VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from gavn.media.container import MediaError, StrPath
from gavn.media.frame import ACCURATE
from gavn.media.output import REPEATABLE, Writer, added_stream

_TO_YUV = 4  # swscale's bicubic; from RGB (not BGR) it yields the samples that the ffmpeg program encodes
_SOUND_BLOCK = 1024  # samples
_SOUND_BITRATE = 64000


def _checked(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise ValueError(f'expected a uint8 picture ({height}, {width}, 3), got {image.dtype} {image.shape}')
    return image


class _ImageEncoder:
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


class VideoWriter(Writer):
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
        super().__init__(path)
        self._options, self._codec = {'crf': str(crf), 'preset': preset}, codec
        self._size = width, height
        odd = pix_fmt == 'yuv420p' and (width % 2 or height % 2)
        self._pix_fmt = 'yuv444p' if odd else pix_fmt
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._audio, self._sample_rate, self._sounded = audio, sample_rate, 0

    def _prepare(self) -> None:
        self._stream = added_stream(
            self.path, lambda: self._output.add_stream(self._codec, rate=self._rate, options=self._options),
            f'{self._codec} video')
        encoder = self._stream.codec_context
        encoder.time_base, encoder.pix_fmt = 1 / self._rate, self._pix_fmt
        encoder.width, encoder.height = self._size
        self._pictures = _ImageEncoder(encoder)
        if self._audio is not None:
            self._sound = added_stream(
                self.path, lambda: self._output.add_stream('aac', rate=self._sample_rate, layout='mono'),
                'AAC sound')
            self._sound.codec_context.bit_rate = _SOUND_BITRATE

    def write(self, image: np.ndarray) -> None:
        """Appends a picture (height, width, 3) uint8 BGR."""
        self._sound_until(Fraction(self.frames) / self._rate)
        frame = self._pictures.frame(_checked(image, *self._size), self.frames)
        self._output.mux(self._stream.encode(frame))
        self.frames += 1

    def _sound_until(self, seconds: Fraction) -> None:
        """Writes the samples up to a time, so that sound and pictures stand side by side in the file."""
        while self._audio is not None and self._sounded < min(seconds * self._sample_rate, len(self._audio)):
            block = np.ascontiguousarray(self._audio[self._sounded:self._sounded + _SOUND_BLOCK], np.int16)
            frame = AudioFrame.from_ndarray(block[None], format='s16', layout='mono')
            frame.sample_rate, frame.pts = self._sample_rate, self._sounded
            self._output.mux(self._sound.encode(frame))
            self._sounded += len(block)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        super()._finish(kind)
        if kind is None and self._audio is not None:
            self._sound_until(Fraction(len(self._audio)))
            self._output.mux(self._sound.encode(None))


def compress(
    frames: Iterable[np.ndarray], crf: float, preset: str = 'medium', frame_rate: float | Fraction = 25,
) -> list[np.ndarray]:
    """What x264 leaves of pictures (h, w, 3) uint8 BGR of one size: encoded at `crf` and decoded, in memory.

    Stored as 4:2:0. One encoder thread and plain instructions, so that the result is the same in every run
    and from PyAV 17 to 19. Give a whole clip at once: rate control looks ahead.
    """
    return encode_decode(frames, 'libx264', {'crf': str(crf), 'preset': preset, 'x264-params': REPEATABLE},
                         frame_rate)


DECODERS = {'libx264': 'h264', 'libx265': 'hevc', 'libvpx-vp9': 'vp9'}
"""What `encode_decode` can encode with, and the decoder of each."""


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
    decoder = av.CodecContext.create(DECODERS[codec], 'r')
    images, to_bgr, decoded = _ImageEncoder(encoder), VideoReformatter(), []
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
    """A uint8 BGR picture (h, w, 3) as PieceWriter takes it, and any player shows it: 4:2:0, BT.601.

    Odd sides are continued by a repeated row or column.
    """
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(_even(image)[..., ::-1]), format='rgb24')
    picture = rgb.reformat(format='yuv420p', interpolation=_TO_YUV, dst_colorspace=5, dst_color_range=1)
    picture.colorspace, picture.color_range = 5, 1
    return picture


def _even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _encoder(codec: str, width: int, height: int, options: Mapping[str, str], rate: Fraction,
             bit_rate: int | None = None) -> VideoCodecContext:
    encoder = av.CodecContext.create(codec, 'w')
    encoder.width, encoder.height, encoder.pix_fmt = width, height, 'yuv420p'
    encoder.framerate, encoder.time_base = rate, 1 / rate
    if bit_rate is not None:
        encoder.bit_rate = bit_rate
    encoder.options = {'threads': '1', **options}
    return encoder


@cache
def encoder_versions() -> dict[str, str]:
    """What `compress` depends on, to be kept beside its results: PyAV, libavcodec and x264's own build."""
    encoder = _encoder('libx264', 16, 16, {'crf': '23', 'x264-params': REPEATABLE}, Fraction(25))
    blank = _ImageEncoder(encoder).frame(np.zeros((16, 16, 3), np.uint8), 0)
    stream = b''.join(bytes(packet) for frame in (blank, None) for packet in encoder.encode(frame))
    build = re.search(rb'x264 - (core \d+[^-]*?) -', stream)
    codec = '.'.join(map(str, av.library_versions['libavcodec']))
    return {'av': av.__version__, 'libavcodec': codec, 'x264': build[1].decode() if build else 'unknown'}
