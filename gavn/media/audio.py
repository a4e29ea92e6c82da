"""Reading the sound of a file through PyAV, on the clock of its video frames."""
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av import AudioFrame

from gavn.audio.gaps import AudioGap, silence_or_hole, silent_blocks
from gavn.media.container import NoVideo, StrPath, exact, has_parameters, open_media, video_stream
from gavn.media.decode import decoded, shown

# Time stamps that miss the end of the last samples by less than this are rounding, not a gap.
_TOLERANCE = 0.05  # seconds


def iter_audio(path: StrPath, sample_rate: int = 16000, holes: bool = False
               ) -> Iterator[np.ndarray | AudioGap] | None:
    """The sound track that is heard as int16 mono blocks (n,), a block in memory at a time; None without any.

    That is the first (or the one marked as default) of which anything can be decoded; see `heard_stream`.
    Sample 0 is heard when the first video frame is seen: sound that starts later has zeros in front,
    sound that starts earlier is cut, gaps (and packets that cannot be decoded) are zeros. Of pieces that
    overlap the first is heard to its end. The end is left as it is, so it may be shorter or longer than the
    video. A file without video is read from its own beginning. With `holes`, silence of more than a minute is
    given as a Hole in place of samples. Raises UnreadableMedia, at once.
    """
    index = heard_stream(path)
    if index is None:
        return None
    start = clock_zero(path)
    return _placed(_resampled(path, index, sample_rate), float(start), sample_rate,
                   silence_or_hole if holes else lambda samples, _: silent_blocks(samples))


def heard_stream(path: StrPath) -> int | None:
    """The index of the sound stream that is heard; None if there is none of which the parameters are known.

    The first that yields a frame, FFmpeg's choice before the others; where none does, that choice. Raises
    UnreadableMedia.
    """
    with open_media(path) as container:
        best = container.streams.best('audio')
        known = sorted(filter(has_parameters, container.streams.audio), key=lambda stream: stream is not best)
        indices = [stream.index for stream in known]
    return next((index for index in indices if _has_frames(path, index)), indices[0] if indices else None)


def _has_frames(path: StrPath, index: int) -> bool:
    with open_media(path) as container:
        return next(decoded(container, container.streams[index], lambda: None), None) is not None


def read_audio(path: StrPath, sample_rate: int = 16000) -> np.ndarray | None:
    """The first sound track as a whole, int16 mono (n,), or None; see iter_audio."""
    blocks = iter_audio(path, sample_rate)
    return None if blocks is None else np.concatenate([np.zeros(0, np.int16), *blocks])


def clock_zero(path: StrPath) -> Fraction:
    """Seconds on a file's own clock that count as its beginning: its first video frame's, 0 without video."""
    try:
        first = next(shown(path), None)
        if first is None:
            return Fraction(0)
        with open_media(path) as container:
            return (first.pts or 0) * exact(video_stream(container, path).time_base)
    except NoVideo:
        return Fraction(0)


def _resampled(path: StrPath, index: int, rate: int) -> Iterator[AudioFrame]:
    """A decoded sound stream as int16 mono; a stream that changes its layout or rate midway is followed."""
    resampler, layout = None, None
    with open_media(path) as container:
        for frame in decoded(container, container.streams[index], lambda: None):
            if layout != (frame.format.name, frame.layout.name, frame.sample_rate):
                yield from _drained(resampler)
                layout = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format='s16', layout='mono', rate=rate)
            yield from resampler.resample(frame)
        yield from _drained(resampler)


def _drained(resampler: av.AudioResampler | None) -> list[AudioFrame]:
    """What a resampler still holds (one that had nothing to change answers with [None])."""
    return [frame for frame in resampler.resample(None) if frame] if resampler else []


def _placed(
    pieces: Iterable[AudioFrame],
    start: float,
    rate: int,
    silence: Callable[[int, int], Iterable[np.ndarray | AudioGap]],
) -> Iterator[np.ndarray | AudioGap]:
    """Lays the pieces where their time stamps say, counted from `start`; what was given already stays."""
    end, given = None, 0  # samples: where the last piece ends, and how many were given so far
    for piece in pieces:
        samples = piece.to_ndarray()[0]
        at = (end or 0) if piece.time is None else (piece.time - start) * rate
        if end is None or abs(at - end) > _TOLERANCE * rate:
            end = round(at)
        yield from silence(end - given, rate)
        fresh = samples[max(0, given - end):]
        if len(fresh):
            yield fresh
        end += len(samples)
        given = max(given, end)
