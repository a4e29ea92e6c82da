"""Reading the sound of a file through PyAV, on the clock of its video frames."""
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av import AudioFrame

from gavn.utils.media_decode import decoded, shown
from gavn.utils.media_open import NoVideo, StrPath, exact, open_media, video_stream

# Time stamps that miss the end of the last samples by less than this are rounding, not a gap.
_TOLERANCE = 0.05  # seconds
_SILENT_BLOCK = 1 << 16  # zeros made at once, so that a gap of hours takes no memory


def iter_audio(path: StrPath, sample_rate: int = 16000) -> Iterator[np.ndarray] | None:
    """The first sound track as int16 mono blocks (n,), a block in memory at a time; None if there is none.

    Sample 0 is heard when the first video frame is seen: sound that starts later has zeros in front,
    sound that starts earlier is cut, gaps (and packets that cannot be decoded) are zeros. Of pieces that
    overlap the first is heard to its end. The end is left as it is, so it may be shorter or longer than the
    video. A file without video is read from its own beginning. Raises UnreadableMedia, at once.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            return None
    start = clock_zero(path)
    return _placed(_resampled(path, sample_rate), float(start), sample_rate)


def read_audio(path: StrPath, sample_rate: int = 16000) -> np.ndarray | None:
    """The first sound track as a whole, int16 mono (n,), or None; see iter_audio."""
    blocks = iter_audio(path, sample_rate)
    return None if blocks is None else np.concatenate([np.zeros(0, np.int16), *blocks])


def silent_blocks(samples: int) -> Iterator[np.ndarray]:
    """So many zeros as int16 blocks (n,); nothing where `samples` is negative."""
    for at in range(0, samples, _SILENT_BLOCK):
        yield np.zeros(min(_SILENT_BLOCK, samples - at), np.int16)


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


def _resampled(path: StrPath, rate: int) -> Iterator[AudioFrame]:
    """The decoded sound as int16 mono; a stream that changes its layout or rate midway is followed."""
    resampler, layout = None, None
    with open_media(path) as container:
        for frame in decoded(container, container.streams.best('audio'), lambda: None):
            if layout != (frame.format.name, frame.layout.name, frame.sample_rate):
                yield from _drained(resampler)
                layout = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format='s16', layout='mono', rate=rate)
            yield from resampler.resample(frame)
        yield from _drained(resampler)


def _drained(resampler: av.AudioResampler | None) -> list[AudioFrame]:
    """What a resampler still holds (one that had nothing to change answers with [None])."""
    return [frame for frame in resampler.resample(None) if frame] if resampler else []


def _placed(pieces: Iterable[AudioFrame], start: float, rate: int) -> Iterator[np.ndarray]:
    """Lays the pieces where their time stamps say, counted from `start`; what was given already stays."""
    end, given = None, 0  # samples: where the last piece ends, and how many were given so far
    for piece in pieces:
        samples = piece.to_ndarray()[0]
        at = (end or 0) if piece.time is None else (piece.time - start) * rate
        if end is None or abs(at - end) > _TOLERANCE * rate:
            end = round(at)
        yield from silent_blocks(end - given)
        fresh = samples[max(0, given - end):]
        if len(fresh):
            yield fresh
        end += len(samples)
        given = max(given, end)
