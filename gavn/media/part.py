"""Reads a part of a long video at a constant rate, with seeking."""
from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain, islice, repeat

import av
import numpy as np

from gavn.audio.rates import FRAME_RATE
from gavn.media.container import StrPath, exact, guesses_times, open_media, video_stream
from gavn.media.decode import decoded, decoder_threads
from gavn.media.frame import Frame, ToBGR, Upright
from gavn.media.reader import Ticks, VideoInfo, hidden_edges, probe, resample_frames


def part_of(path: StrPath, start: float = 0.0, stop: float | None = None, rate: int = FRAME_RATE
            ) -> Iterator[np.ndarray]:
    """Yields the images `start * rate` to `stop * rate` (exclusive) of `resample_frames`.

    If the file is seekable, only the part from the keyframe before `start` is decoded. Undecodable frames are
    replaced by the previous frame.

    Args:
        path: a video.
        start, stop: seconds from the first frame, rounded to whole frames; None = the end.
        rate: frames per second.
    """
    first, last = round(start * rate), None if stop is None else round(stop * rate)
    info = probe(path)
    with closing(_frames_from(path, first / rate, info)) as frames:
        earliest = next(frames, None) if first else None
        if earliest is not None and earliest.time <= first / rate:
            count = None if last is None else last - first
            yield from islice(_resampled(chain([earliest], frames), first / rate, info, rate), count)
            return
    yield from islice(resample_frames(path, rate), first, last)


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


def _resampled(frames: Iterator[Frame], start: float, info: VideoInfo, rate: int) -> Iterator[np.ndarray]:
    ticks, shown = Ticks(rate), None
    for frame in frames:
        if shown is not None and (count := ticks.before(frame.time - start)):
            yield from repeat(shown.image, count)
        shown = frame
    if shown is not None:
        yield from repeat(shown.image, ticks.before(shown.time + float(1 / info.frame_rate) - start))
