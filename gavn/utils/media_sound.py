"""Reading the sound of a file through PyAV, on the clock of its video frames."""
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from gavn.utils.media_read import StrPath, decoded, exact, open_media

# Time stamps that miss the end of the last samples by less than this are rounding, not a gap.
_TOLERANCE = 0.05  # seconds


def read_audio(path: StrPath, sample_rate: int = 16000) -> np.ndarray | None:
    """The first sound track as int16 mono (n,), or None if the file has none.

    Sample 0 is heard when the first video frame is seen: sound that starts later has zeros in front,
    sound that starts earlier is cut, gaps (and packets that cannot be decoded) are zeros. The end is left
    as it is, so it may be shorter or longer than the video. A file without video is read from its own
    beginning. Raises UnreadableMedia.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            return None
        start = _first_frame_time(container)
    with open_media(path) as container:
        stream = container.streams.best('audio')
        pieces = list(_resampled(container, stream, sample_rate))
    return _placed(pieces, float(start), sample_rate)


def _first_frame_time(container: InputContainer) -> Fraction:
    """Seconds on the container's clock at which the first video frame is shown; 0 without video."""
    stream = container.streams.best('video')
    frame = stream and next(decoded(container, stream, lambda: None), None)
    return (frame.pts or 0) * exact(stream.time_base) if frame else Fraction(0)


def _resampled(container: InputContainer, stream: AudioStream, rate: int) -> Iterator[AudioFrame]:
    """The decoded sound as int16 mono; a stream that changes its layout or rate midway is followed."""
    resampler, layout = None, None
    for frame in decoded(container, stream, lambda: None):
        if layout != (frame.format.name, frame.layout.name, frame.sample_rate):
            yield from _drained(resampler)
            layout = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler(format='s16', layout='mono', rate=rate)
        yield from resampler.resample(frame)
    yield from _drained(resampler)


def _drained(resampler: av.AudioResampler | None) -> list[AudioFrame]:
    """What a resampler still holds (one that had nothing to change answers with [None])."""
    return [frame for frame in resampler.resample(None) if frame] if resampler else []


def _placed(pieces: list[AudioFrame], start: float, rate: int) -> np.ndarray:
    """Lays the pieces where their time stamps say, counted from `start`; later ones overwrite."""
    end, placed = None, []
    for piece in pieces:
        samples = piece.to_ndarray()[0]
        at = (end or 0) if piece.time is None else (piece.time - start) * rate
        if end is None or abs(at - end) > _TOLERANCE * rate:
            end = round(at)
        placed.append((end, samples))
        end += len(samples)
    track = np.zeros(max([0, *(at + len(samples) for at, samples in placed)]), np.int16)
    for at, samples in placed:
        seen = samples[max(0, -at):]
        track[max(0, at):max(0, at) + len(seen)] = seen
    return track
