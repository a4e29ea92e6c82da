"""Enlarges frames with a Lanczos filter."""
from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from fractions import Fraction

from gavn.errors import ArgumentError
from gavn.media.container import MediaError
from gavn.media.filters import FrameFilter, resampling
from gavn.media.frame import Frame

FACTORS = (2, 3, 4)
FULL_HD = '1080p'
SCALES = (*map(str, FACTORS), FULL_HD)
LONGEST_SIDE = 8192  # pixels; limit of encoders and players
_FULL_HD_SIDES = 1920, 1080
_FLAGS = 'flags=lanczos+accurate_rnd+full_chroma_int'  # without the last two a conversion loses precision


def enlarged_size(width: int, height: int, scale: str) -> tuple[int, int]:
    """Returns (width, height) of a frame after enlargement.

    Args:
        width, height: of the frame, in pixels.
        scale: one of SCALES. `1080p` is the largest even size that fits into 1920 x 1080, or 1080 x 1920 in
            portrait format; larger frames keep their size.

    Raises:
        ArgumentError: the scale is unknown.
        MediaError: the size exceeds LONGEST_SIDE.
    """
    if scale not in SCALES:
        raise ArgumentError(f'scale {scale} is not one of {", ".join(SCALES)}')
    if scale == FULL_HD:
        return _in_full_hd(width, height)
    size = width * int(scale), height * int(scale)
    if max(size) > LONGEST_SIDE:
        possible = [factor for factor in FACTORS if factor * max(width, height) <= LONGEST_SIDE]
        remedy = f'use --scale {possible[-1]}' if possible else 'omit --scale'
        raise MediaError(f'{width} x {height} pixels times {scale} are {size[0]} x {size[1]}; the limit '
                         f'is {LONGEST_SIDE} per side\n{remedy}')
    return size


def _in_full_hd(width: int, height: int) -> tuple[int, int]:
    long, short = _FULL_HD_SIDES
    factor = min(Fraction(long, max(width, height)), Fraction(short, min(width, height)))
    if factor <= 1:
        return width, height
    return round(width * factor / 2) * 2, round(height * factor / 2) * 2


def enlarger(size: tuple[int, int]) -> FrameFilter:
    """Returns a filter that enlarges frames to (width, height), in their pixel format, with their fields."""
    return FrameFilter(resampling(f'w={size[0]}:h={size[1]}:{_FLAGS}'))


def enlarged(frames: Iterable[Frame], size: tuple[int, int]) -> Generator[Frame, None, None]:
    """Yields the frames enlarged to a size (width, height)."""
    enlarge = enlarger(size)
    for frame in frames:
        yield replace(frame, av_frame=enlarge(frame.av_frame))
