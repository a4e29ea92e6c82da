"""Resamples frames to a constant rate by time; reads parts of long videos."""
from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from math import lcm

import av
import numpy as np

from gavn.audio.rates import FRAME_RATE
from gavn.errors import ArgumentError
from gavn.media.container import StrPath, exact, guesses_times, open_media, video_stream
from gavn.media.decode import decoded, decoder_threads
from gavn.media.frame import Frame, ToBGR, Upright
from gavn.media.reader import VideoInfo, hidden_edges, probe, read_frames

_FINEST = 2 ** 31 - 1  # largest number of ticks per second in containers
_BROADCAST = (24, 30, 48, 60, 120)  # rates whose 1000/1001 variants are common
_MAX_RATE = 1000
_LARGEST_DENOMINATOR = 1001  # of frame rates
_ROUNDING = Fraction(1, 1000)  # seconds; the resolution of .mkv


def parse_rate(text: str) -> Fraction:
    """Parses frames per second: `25`, `30000/1001`, or `23.976` (24000/1001).

    Raises:
        ArgumentError: the text is not a number from 1/1001 to 1000.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ArgumentError(f'{text} is not a number of frames per second') from None
    broadcast = (Fraction(rate * 1000, 1001) for rate in _BROADCAST)
    meant = next((rate for rate in broadcast if '.' in text and abs(rate - value) < 0.005), value)
    rate = meant.limit_denominator(_LARGEST_DENOMINATOR)
    if not 0 < rate <= _MAX_RATE:
        raise ArgumentError(f'{text} frames per second are out of range: use at least '
                            f'1/{_LARGEST_DENOMINATOR}, at most {_MAX_RATE}')
    return rate


class Ticks:
    """Counts output frames at a constant rate: ticks at k / rate seconds, k = 0, 1 ...

    Args:
        rate: ticks per second.
        slack: tolerance for rounded time stamps in seconds; None = a tenth of an interval.
    """

    def __init__(self, rate: float | Fraction, slack: Fraction | None = None) -> None:
        self._interval = 1 / Fraction(rate)
        self._slack = self._interval / 10 if slack is None else slack
        self._count = 0

    def before(self, time: float) -> int:
        """Returns the number of new ticks before `time` (in seconds)."""
        counted = self._count
        while self._count * self._interval + self._slack < time:
            self._count += 1
        return self._count - counted


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


def _counted(frames: Iterable[Frame], ticks: Ticks, lasts: float, start: float = 0
             ) -> Iterator[tuple[Frame, int]]:
    """Yields each frame with the number of output frames it is shown for, from the time `start` on."""
    shown = None
    for frame in frames:
        if shown is not None:
            yield shown, ticks.before(frame.time - start)
        shown = frame
    if shown is not None:
        yield shown, ticks.before(shown.time + lasts - start)


def _images(frames: Iterable[Frame], info: VideoInfo, start: float = 0) -> Iterator[np.ndarray]:
    for frame, count in _counted(frames, Ticks(FRAME_RATE), float(1 / info.frame_rate), start):
        for _ in range(count):
            yield frame.image


def resample_frames(path: StrPath) -> Iterator[np.ndarray]:
    """Yields upright images (h, w, 3) uint8 BGR at FRAME_RATE; raises as `read_frames`.

    Image k is the last frame at or before k / FRAME_RATE seconds after the first, with a tolerance of a tenth
    of an interval. Frames are duplicated or dropped, never blended. The last frame lasts an average interval.
    """
    yield from _images(read_frames(path), probe(path))


def part_of(path: StrPath, start: float = 0.0, stop: float | None = None) -> Iterator[np.ndarray]:
    """Yields the images of `resample_frames` from `start` to `stop`.

    If the file is seekable, only the part from the keyframe before `start` is decoded. Undecodable frames are
    replaced by the previous frame.

    Args:
        start, stop: seconds from the first frame, rounded to whole frames; None = the end.
    """
    first, last = round(start * FRAME_RATE), None if stop is None else round(stop * FRAME_RATE)
    info = probe(path)
    with closing(_frames_from(path, first / FRAME_RATE, info)) as frames:
        earliest = next(frames, None) if first else None
        if earliest is not None and earliest.time <= first / FRAME_RATE:
            count = None if last is None else last - first
            images = _images(chain([earliest], frames), info, first / FRAME_RATE)
            yield from islice(images, count)
            return
    yield from islice(resample_frames(path), first, last)


def _frames_from(path: StrPath, start: float, info: VideoInfo) -> Generator[Frame, None, None]:
    """Yields frames from the keyframe before `start` on; none if the file is not seekable."""
    with open_media(path) as container:
        stream = video_stream(container, path)
        base = exact(stream.time_base)
        if guesses_times(container):
            return
        try:
            container.seek(int((info.start + Fraction(start)) / base), stream=stream)
        except av.FFmpegError:
            return
        upright, to_bgr = Upright(hidden_edges(container, stream)), ToBGR()
        with decoder_threads(stream):
            for index, frame in enumerate(decoded(container, stream, lambda: None)):
                if frame.pts is not None:
                    yield Frame(upright(frame), frame.pts, float(frame.pts * base - info.start), index,
                                to_bgr=to_bgr)
