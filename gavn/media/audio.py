"""Decodes the audio of a file with PyAV, aligned with its video frames."""
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
from av import AudioFrame

from gavn.audio.gaps import AudioGap, silence_or_gap, silent_blocks
from gavn.media.container import (
    NoVideo,
    StrPath,
    audio_stream,
    exact,
    has_parameters,
    open_media,
    video_stream,
)
from gavn.media.decode import decode_and_replace, decoded
from gavn.media.resampler import Resampler

_TOLERANCE = 0.05  # seconds; smaller time stamp differences are rounding, not a gap


def iter_audio(path: StrPath, sample_rate: int = 16000, gaps: bool = False
               ) -> Iterator[np.ndarray | AudioGap] | None:
    """Decodes the main audio track (see `default_audio_stream`) block by block.

    Sample 0 is aligned with the first video frame: late audio is preceded by zeros, early audio is cut. Gaps
    and undecodable packets become zeros. Where packets overlap, the first is kept whole. The audio may end
    before or after the video. A file without video is read from its start.

    Args:
        path: an audio or video file.
        sample_rate: of the result, in Hz.
        gaps: whether silence of more than a minute is yielded as an `AudioGap` in place of samples.

    Returns:
        An iterator over int16 mono blocks (n,); None if there is no audio track.

    Raises:
        UnreadableMedia: the file cannot be read; raised before the first block.
    """
    index = default_audio_stream(path)
    if index is None:
        return None
    start = clock_zero(path)
    return _placed(_resampled(path, index, sample_rate), float(start), sample_rate,
                   silence_or_gap if gaps else lambda samples, _: silent_blocks(samples))


def default_audio_stream(path: StrPath) -> int | None:
    """Returns the index of the main audio stream; None if there is none with known parameters.

    This is FFmpeg's default stream if it can be decoded, else the first that can, else the default.

    Raises:
        UnreadableMedia: the file cannot be read.
    """
    with open_media(path) as container:
        best = container.streams.best('audio')
        known = sorted(filter(has_parameters, container.streams.audio), key=lambda stream: stream is not best)
        indices = [stream.index for stream in known]
    return next((index for index in indices if _has_frames(path, index)), indices[0] if indices else None)


def _has_frames(path: StrPath, index: int) -> bool:
    with open_media(path) as container:
        return next(decoded(container, audio_stream(container, index), lambda: None), None) is not None


def read_audio(path: StrPath, sample_rate: int = 16000) -> np.ndarray | None:
    """Decodes the whole audio track: int16 mono (n,), or None; see `iter_audio`."""
    blocks = iter_audio(path, sample_rate)
    return None if blocks is None else np.concatenate([np.zeros(0, np.int16), *blocks])


def clock_zero(path: StrPath) -> Fraction:
    """Returns the time of the first video frame on the clock of the file, in seconds; 0 without video."""
    try:
        first = next(decode_and_replace(path), None)
        if first is None:
            return Fraction(0)
        with open_media(path) as container:
            return (first.pts or 0) * exact(video_stream(container, path).time_base)
    except NoVideo:
        return Fraction(0)


def _resampled(path: StrPath, index: int, rate: int) -> Iterator[AudioFrame]:
    """Decodes an audio stream to int16 mono."""
    resampler = Resampler('s16', 'mono', rate)
    with open_media(path) as container:
        for frame in decoded(container, audio_stream(container, index), lambda: None):
            yield from resampler(frame)
        yield from resampler.rest()


def _placed(
    frames: Iterable[AudioFrame],
    start: float,
    rate: int,
    silence: Callable[[int, int], Iterable[np.ndarray | AudioGap]],
) -> Iterator[np.ndarray | AudioGap]:
    """Places decoded frames by their time stamps, relative to `start`, without overlap."""
    end, yielded = None, 0  # samples: end of the last frame, and number of samples so far
    for frame in frames:
        samples = frame.to_ndarray()[0]
        at = (end or 0) if frame.time is None else (frame.time - start) * rate
        if end is None or abs(at - end) > _TOLERANCE * rate:
            end = round(at)
        yield from silence(end - yielded, rate)
        fresh = samples[max(0, yielded - end):]
        if len(fresh):
            yield fresh
        end += len(samples)
        yielded = max(yielded, end)
