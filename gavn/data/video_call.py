"""Degradations of video calls and downloads: codecs limited in bit rate, at the sizes of such videos.

A call shows a face of 60 to 224 pixels in a frame of 180 to 720 lines and spends 60 to 800 kbit/s on it. Its
encoder has no lookahead and no B-frames, and sends a keyframe every few seconds. A download is encoded with
lookahead, often a second time after it was rescaled.

Only the face crop is encoded, with the share of the bit rate that a face takes in a frame whose background
hardly moves; a whole frame would cost ten times the time for the same artifacts.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from gavn.data.mixture import Frames, add_noise, seed_of
from gavn.media import compress, encode_decode

FRAME_RATE = 25
LINES = (180, 240, 270, 360, 480, 540, 720)
SIDES = (60, 224)
"""Sides of the face crop in the encoded frame, in pixels, smallest and largest."""
KBITS = (60, 800)
_FINEST = 0.3  # bits a pixel and frame; more leaves no artifacts
_CODECS = {'h264_call': 0.4, 'h264_file': 0.2, 'hevc': 0.15, 'vp9': 0.25}
_UP = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'lanczos': cv2.INTER_LANCZOS4}


@dataclass(frozen=True)
class VideoCall:
    """Degradation of one clip, in this order. Parts that are None are skipped."""

    lines: int  # height of the video, in pixels
    side: int  # of the face crop in it, in pixels; the crop is downscaled to it, by area
    codec: str  # a key of `_CODECS`
    kbits: float  # bit rate of the face crop, in kbit/s
    keyframe: int  # distance of keyframes, in frames
    sharpen: float | None = None  # strength of the camera's unsharp mask
    noise: float | None = None  # standard deviation of the camera's noise in grey levels of 255
    rescale: float | None = None  # factor of the size at which the decoded clip is encoded again
    crf_again: int | None = None  # x264's constant rate factor of that second encoding
    up: str = 'cubic'  # interpolation back to the crop's size
    seed: int = 0  # of the noise

    @classmethod
    def from_name(cls, name: str) -> VideoCall:
        """The parameters of a name, the same on every machine."""
        seed = seed_of(name)
        draw = np.random.default_rng(seed)
        lines = int(draw.choice(LINES))
        side = int(np.clip(lines * draw.uniform(0.35, 0.9), *SIDES))
        sharpened, noisy, again = draw.random(3) < (0.3, 0.4, 0.35)
        return cls(
            lines=lines, side=side,
            codec=str(draw.choice(list(_CODECS), p=list(_CODECS.values()))),
            kbits=_bit_rate(draw, lines, side),
            keyframe=int(draw.integers(2 * FRAME_RATE, 10 * FRAME_RATE + 1)),
            sharpen=round(float(draw.uniform(0.2, 0.8)), 2) if sharpened else None,
            noise=round(float(draw.uniform(0.5, 4)), 2) if noisy else None,
            rescale=round(float(draw.uniform(0.6, 1.5)), 2) if again else None,
            crf_again=int(draw.integers(23, 34)) if again else None,
            up=str(draw.choice(sorted(_UP))), seed=seed)

    def apply(self, frames: Frames) -> list[np.ndarray]:
        """Degrades a clip of uint8 BGR images (h, w, 3); keeps size and number of frames.

        Raises:
            MediaError: this build of FFmpeg lacks an encoder, or it dropped frames.
        """
        if not len(frames):
            return []
        height, width = frames[0].shape[:2]
        scale = min(self.side / height, 1)
        images = [_resize(frame, scale, cv2.INTER_AREA) for frame in frames]
        if self.noise is not None:
            images = add_noise(images, self.noise, 1, self.seed)
        if self.sharpen is not None:
            soft = (cv2.GaussianBlur(image, (0, 0), 1) for image in images)
            images = [cv2.addWeighted(image, 1 + self.sharpen, blurred, -self.sharpen, 0)
                      for image, blurred in zip(images, soft, strict=True)]
        bits = round(1000 * self.kbits)
        codec, options = _encoder_options(self.codec, bits, self.keyframe)
        images = encode_decode(images, codec, options, FRAME_RATE, bits)
        if self.rescale is not None and self.crf_again is not None:
            method = cv2.INTER_AREA if self.rescale < 1 else cv2.INTER_LINEAR
            images = compress([_resize(image, self.rescale, method) for image in images], self.crf_again)
        return [cv2.resize(image, (width, height), interpolation=_UP[self.up]) for image in images]


def _bit_rate(draw: np.random.Generator, lines: int, side: int) -> float:
    """Bit rate of the face crop in kbit/s: a share of the video's, which grows with its lines."""
    lowest = KBITS[0] * (lines / LINES[0])**0.8
    highest = min(KBITS[1], 3 * lowest)
    video = math.exp(draw.uniform(math.log(lowest), math.log(highest)))
    share = draw.uniform(0.25, 0.75)
    return round(min(video * share, _FINEST * side * side * FRAME_RATE / 1000), 1)


def _encoder_options(name: str, bits: int, keyframe: int) -> tuple[str, dict[str, str]]:
    """FFmpeg's encoder and its options, at a bit rate with a buffer of half a second (calls) or two."""
    call = {'maxrate': str(bits), 'bufsize': str(bits // 2), 'g': str(keyframe)}
    if name == 'h264_call':
        return 'libx264', {**call, 'preset': 'veryfast', 'tune': 'zerolatency'}
    if name == 'h264_file':
        return 'libx264', {'maxrate': str(3 * bits // 2), 'bufsize': str(2 * bits), 'g': str(keyframe),
                           'preset': 'medium'}
    if name == 'hevc':
        rate = f'vbv-maxrate={max(bits // 1000, 1)}:vbv-bufsize={max(bits // 2000, 1)}'
        return 'libx265', {'preset': 'superfast', 'tune': 'zerolatency', 'g': str(keyframe),
                           'x265-params': f'{rate}:pools=none:frame-threads=1:log-level=none'}
    return 'libvpx-vp9', {**call, 'minrate': str(bits), 'deadline': 'realtime', 'cpu-used': '6',
                          'lag-in-frames': '0', 'error-resilient': '1', 'row-mt': '0'}


def _resize(image: np.ndarray, scale: float, method: int) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(8, round(width * scale)), max(8, round(height * scale))
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
