"""Resamples frames to a constant rate by time."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import lcm

from gavn.media.frame import Frame
from gavn.media.reader import Ticks, VideoInfo

_FINEST = 2 ** 31 - 1  # largest number of ticks per second in containers
_BROADCAST = (24, 30, 48, 60, 120)  # rates whose 1000/1001 variants are common
_MAX_RATE = 1000
_ROUNDING = Fraction(1, 1000)  # seconds; the resolution of .mkv


def parse_rate(text: str) -> Fraction:
    """Parses frames per second: `25`, `30000/1001`, or `23.976` (24000/1001).

    Raises:
        ValueError: the text is not a number above 0 and up to 1000.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'{text} is not a number of frames per second') from None
    if not 0 < value <= _MAX_RATE:
        raise ValueError(f'{text} frames per second are out of range: use more than 0, at most {_MAX_RATE}')
    exact = (Fraction(rate * 1000, 1001) for rate in _BROADCAST)
    meant = next((rate for rate in exact if '.' in text and abs(rate - value) < 0.005), value)
    return meant.limit_denominator(1001)


def info_at_rate(info: VideoInfo, rate: Fraction) -> VideoInfo:
    """Returns the properties of a video after resampling to a constant rate."""
    ticks = lcm(rate.numerator, info.start.denominator)  # a multiple of the clock of the start time
    ticks = ticks if ticks <= _FINEST else rate.numerator
    base = Fraction(1, ticks)
    frames = info.frames and max(1, round(info.frames / info.frame_rate * rate))
    start = round(info.start / base) * base
    return replace(info, frame_rate=rate, time_base=base, start=start, frames=frames)


def at_rate(frames: Iterable[Frame], source: VideoInfo, rate: Fraction) -> Iterator[Frame]:
    """Resamples frames to a constant rate, with new time stamps and indices.

    Output frame k is the last input frame at or before k / rate seconds after the first, with a tolerance of
    a millisecond for rounded time stamps. The last frame lasts one average interval.

    Args:
        frames: all frames of the video.
        source: properties of the video.
        rate: frames per second; the time stamps are in the time base of `info_at_rate`.
    """
    new = info_at_rate(source, rate)
    first, step = round(new.start / new.time_base), round(1 / (rate * new.time_base))
    lasts = 1 / source.frame_rate
    ticks = Ticks(rate, slack=min(_ROUNDING, lasts / 10))
    pending: Frame | None = None  # held back until the number of dropped frames after it is known
    index, left_out = 0, 0
    for frame, count in _counted(frames, ticks, float(lasts)):
        left_out += not count
        for again in range(count):
            if pending is not None:
                yield replace(pending, left_out=left_out)
                left_out = 0
            pending = replace(frame, pts=first + index * step, index=index, time=float(index / rate),
                              again=again > 0)
            index += 1
    if pending is not None:
        yield replace(pending, left_out=left_out)


def _counted(frames: Iterable[Frame], ticks: Ticks, lasts: float) -> Iterator[tuple[Frame, int]]:
    """Yields each frame with the number of output frames it is shown for."""
    shown = None
    for frame in frames:
        if shown is not None:
            yield shown, ticks.before(frame.time)
        shown = frame
    if shown is not None:
        yield shown, ticks.before(shown.time + lasts)
