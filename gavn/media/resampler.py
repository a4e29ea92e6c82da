"""Conversion of audio frames to one sample format, channel layout and rate."""
from __future__ import annotations

from av import AudioFrame, AudioResampler
from av.audio.layout import AudioLayout


class Resampler:
    """Converts audio frames, whose format, layout and rate may change in mid-stream.

    Args:
        sample_format: FFmpeg's name: `s16`, `fltp`.
        layout: of the channels.
        rate: in Hz.
    """

    def __init__(self, sample_format: str, layout: str | AudioLayout, rate: int) -> None:
        self._target = sample_format, layout, rate
        self._resampler: AudioResampler | None = None
        self._source: tuple[str, str, int] | None = None

    def __call__(self, frame: AudioFrame) -> list[AudioFrame]:
        """Returns the converted frames that are complete."""
        held, source = [], (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or self._source != source:
            held = self.rest()
            self._resampler, self._source = AudioResampler(*self._target), source
        return [*held, *self._resampler.resample(frame)]

    def rest(self) -> list[AudioFrame]:
        """Returns what is held back at the end."""
        held = [] if self._resampler is None else self._resampler.resample(None)
        return [frame for frame in held if frame]  # an unused resampler returns a None
