"""Frames at a constant rate: at each tick the one that is on the screen."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import lcm

from gavn.media.frame import Frame
from gavn.media.reader import Ticks, VideoInfo

_FINEST = 2 ** 31 - 1  # ticks a second that containers can count
_BROADCAST = (24, 30, 48, 60, 120)  # whose rates are often meant to be 1000/1001 of that
_HIGHEST = 1000
_ROUNDING = Fraction(1, 1000)  # seconds: .mkv knows no finer times


def parse_rate(text: str) -> Fraction:
    """Frames a second from `25`, `30000/1001`, or `23.976`, by which 24000/1001 is meant.

    Raises ValueError for what is no number above 0 and up to 1000.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'{text} is no number of frames a second') from None
    if not 0 < value <= _HIGHEST:
        raise ValueError(f'{text} frames a second are not above 0 and up to {_HIGHEST}')
    exact = (Fraction(rate * 1000, 1001) for rate in _BROADCAST)
    meant = next((rate for rate in exact if '.' in text and abs(rate - value) < 0.005), value)
    return meant.limit_denominator(1001)


def info_at_rate(info: VideoInfo, rate: Fraction) -> VideoInfo:
    """A video's properties once its frames come at a constant rate."""
    ticks = lcm(rate.numerator, info.start.denominator)  # on which the beginning lies too
    ticks = ticks if ticks <= _FINEST else rate.numerator
    base = Fraction(1, ticks)
    frames = info.frames and max(1, round(info.frames / info.frame_rate * rate))
    start = round(info.start / base) * base
    return replace(info, frame_rate=rate, time_base=base, start=start, frames=frames)


def at_rate(frames: Iterable[Frame], source: VideoInfo, rate: Fraction) -> Iterator[Frame]:
    """A video's frames at a constant rate, with time stamps and numbers of their own.

    Frame k is the one shown at k / rate seconds after the first: the latest not later than that (a
    millisecond is allowed for rounded time stamps). The last lasts the source's average interval.

    Args:
        frames: all of the video, as read_frames gives them.
        source: the video.
        rate: in frames a second; `info_at_rate` has the time base that the frames are stamped in.
    """
    new = info_at_rate(source, rate)
    first, step = round(new.start / new.time_base), round(1 / (rate * new.time_base))
    lasts = 1 / source.frame_rate
    ticks = Ticks(rate, slack=min(_ROUNDING, lasts / 10))
    waiting, index, left_out = None, 0, 0  # the last is held back until it is known what follows
    for frame, count in _counted(frames, ticks, float(lasts)):
        left_out += not count
        for again in range(count):
            if waiting is not None:
                yield replace(waiting, left_out=left_out)
                left_out = 0
            waiting = replace(waiting if again else frame, pts=first + index * step, index=index,
                              time=float(index / rate), again=again > 0)
            index += 1
    if waiting is not None:
        yield replace(waiting, left_out=left_out)


def _counted(frames: Iterable[Frame], ticks: Ticks, lasts: float) -> Iterator[tuple[Frame, int]]:
    """Each frame with the number of ticks while it is shown."""
    shown = None
    for frame in frames:
        if shown is not None:
            yield shown, ticks.before(frame.time)
        shown = frame
    if shown is not None:
        yield shown, ticks.before(shown.time + lasts)
