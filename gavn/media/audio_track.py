"""Audio tracks for an output container: copied if the container supports the codec, else converted."""
from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from itertools import groupby, islice
from typing import Literal

import av
import numpy as np
from av import AudioFrame, Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from gavn.audio.gaps import silent_blocks
from gavn.media.container import (
    TAGS,
    MediaError,
    StrPath,
    audio_stream,
    exact,
    has_decoder,
    has_parameters,
    open_media,
)
from gavn.media.output import OutputTrack, stream_as_it_is
from gavn.media.resampler import Resampler

MUXERS = {'.mp4': 'mp4', '.mkv': 'matroska', '.mov': 'mov'}  # by extension
_LAYOUTS = {1: 'mono', 2: 'stereo', 3: '2.1', 4: '4.0', 5: '5.0', 6: '5.1', 7: '6.1', 8: '7.1'}  # by channels
_TRIED = 3  # packets that are written as a trial
_TOLERANCE = 0.05  # seconds; smaller time stamp differences are rounding
_SAMPLES = 'fltp'  # sample format for encoding
_BITRATE = 96_000  # of AAC, per channel
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # of AAC

_Way = Callable[[AudioStream, OutputContainer], OutputTrack]
_Encoder = Literal['flac', 'aac']


def add_audio_track(path: StrPath, stream: AudioStream, output: OutputContainer
                    ) -> tuple[OutputTrack, str | None]:
    """Returns the track that copies or converts an audio stream, and the encoder if it converts.

    Raises:
        MediaError: the container supports neither the codec nor a conversion.
    """
    for way, encoder in _ways(stream):
        if _holds(path, stream.index, way, output.format.name):
            return way(stream, output), encoder
    raise MediaError(f'{output.format.name} supports neither {stream.codec_context.name} audio nor a '
                     'conversion of it')


def fitting_ending(path: StrPath, wanted: str) -> str:
    """Returns the first of `wanted`, .mkv and .mov that supports all audio of a file; else `wanted`.

    Raises:
        MediaError: the file cannot be read.
    """
    with open_media(path) as source:
        indices = [stream.index for stream in source.streams.audio if has_parameters(stream)]
    for ending in (wanted, '.mkv', '.mov'):
        if all(_can_copy(path, index, ending) for index in indices):
            return ending
    return wanted


def endings_that_copy(path: StrPath, index: int) -> list[str]:
    """Returns which of .mkv and .mov support an audio stream as it is."""
    return [ending for ending in ('.mkv', '.mov') if _can_copy(path, index, ending)]


def _can_copy(path: StrPath, index: int, ending: str) -> bool:
    return any(_holds(path, index, way, MUXERS[ending.lower()]) for way in _COPIES)


def _ways(stream: AudioStream) -> Iterator[tuple[_Way, str | None]]:
    for way in _COPIES:
        yield way, None
    codec = stream.codec_context.codec
    encoders: tuple[_Encoder, ...] = ('flac', 'aac') if codec.lossless else ('aac', 'flac')
    for encoder in encoders:
        yield partial(AudioConverter, encoder=encoder), encoder


def _from_template(stream: AudioStream, output: OutputContainer) -> OutputTrack:
    """Copies a stream whose codec PyAV knows for the container."""
    copy = output.add_stream_from_template(stream, opaque=True)
    _name_layout(copy, output)
    return OutputTrack(copy)


# The second copies all parameters, even if PyAV does not know the codec for the container.
_COPIES: tuple[_Way, ...] = (
    _from_template, lambda stream, output: OutputTrack(stream_as_it_is(output, stream)))


def _name_layout(copy: AudioStream, output: OutputContainer) -> None:
    """Sets a missing channel layout, as in plain .wav files: .mp4 needs it for PCM."""
    codec = copy.codec_context
    if not _unnamed(codec):
        return
    if codec.layout.nb_channels in (1, 2):
        codec.layout = _LAYOUTS[codec.layout.nb_channels]
    elif output.format.name == 'mp4' and codec.name.startswith('pcm'):
        raise ValueError('the channel layout is unknown')


def _unnamed(codec: AudioCodecContext) -> bool:
    """Returns whether the channel layout is unknown."""
    return codec.layout.name == f'{codec.layout.nb_channels} channels'


def _holds(path: StrPath, index: int, way: _Way, form: str) -> bool:
    """Returns whether the beginning of a stream can be written to a container and read again."""
    content = io.BytesIO()
    try:
        with open_media(path) as source, av.open(content, 'w', format=form, **TAGS) as output:
            stream = audio_stream(source, index)
            track = way(stream, output)
            output.start_encoding()
            for packet in _beginning(path, source, stream):
                _mux(output, track, track(packet))
            _mux(output, track, track.rest())
        content.seek(0)
        with av.open(content, 'r', **TAGS) as written:
            return all(map(has_decoder, written.streams))
    except (av.FFmpegError, ValueError, MediaError):
        return False


def _beginning(path: StrPath, source: InputContainer, stream: AudioStream) -> list[Packet]:
    """Returns some of the first packets of a stream, one per time stamp."""
    needed = _packets_needed(os.fspath(path), os.stat(path).st_mtime_ns, stream.index)
    first = islice(source.demux(), needed)
    packets = (packet for packet in first if packet.stream is stream and packet.size)
    return [next(group) for _, group in groupby(packets, key=lambda packet: packet.dts)]


@lru_cache(maxsize=256)
def _packets_needed(path: str, _modified: int, index: int) -> int:
    """Returns how many packets of a file, of all streams, contain the first `_TRIED` of a stream.

    A track may begin late or never, so that this may read the file; once, as there are many trials.
    """
    times, needed = set(), 0
    with open_media(path) as source:
        for count, packet in enumerate(source.demux(), 1):
            if packet.stream.index == index and packet.size:
                times.add(packet.dts)
                needed = count
                if len(times) == _TRIED:
                    break
    return needed


def _mux(output: OutputContainer, track: OutputTrack, packets: Sequence[Packet]) -> None:
    for packet in packets:
        packet.stream = track.stream
        output.mux(packet)


class AudioConverter(OutputTrack):
    """Converts an audio stream to FLAC or AAC at its own time stamps.

    Gaps and undecodable packets become silence. Where frames overlap, the first is kept whole.

    Args:
        encoder: `flac` or `aac`.
    """

    stream: AudioStream

    def __init__(self, source: AudioStream, output: OutputContainer, encoder: _Encoder) -> None:
        self._decoder = codec = source.codec_context
        self._rate = codec.sample_rate
        if encoder == 'aac':
            self._rate = min(_RATES, key=lambda known: abs(known - codec.sample_rate))
        if _unnamed(codec):
            codec.layout = _LAYOUTS.get(codec.layout.nb_channels, 'stereo')
        self.stream = output.add_stream(encoder, rate=self._rate, layout=codec.layout.name)
        self._encoder = self.stream.codec_context
        if encoder == 'flac' and codec.format and codec.format.bits > 16:
            self._encoder.format = 's32'
        if encoder == 'aac':
            self._encoder.bit_rate = _BITRATE * self._encoder.layout.nb_channels
        self._resampler = Resampler(_SAMPLES, self._encoder.layout, self._rate)
        self._end: int | None = None  # end of the encoded audio, in samples on the clock of the source

    def __call__(self, packet: Packet) -> list[Packet]:
        """Converts a packet; returns the packets that are complete."""
        return self._decoded(packet)

    def _decoded(self, packet: Packet | None) -> list[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            return []
        return [new for frame in frames for piece in self._resampler(frame) for new in self._add(piece)]

    def rest(self) -> list[Packet]:
        """Returns the remaining packets at the end."""
        held = self._decoded(None)
        if self._end is None:
            return held
        left = [new for piece in self._resampler.rest() for new in self._add(piece)]
        return [*held, *left, *self.stream.encode(None)]

    def _add(self, piece: AudioFrame) -> list[Packet]:
        """Encodes samples, preceded by silence for a gap, without samples that overlap."""
        samples = piece.to_ndarray()
        at = self._end if piece.pts is None else round(piece.pts * exact(piece.time_base) * self._rate)
        end = at or 0 if self._end is None else self._end
        missing = 0 if at is None or abs(at - end) <= _TOLERANCE * self._rate else at - end
        silence = [np.zeros((len(samples), len(block)), np.float32) for block in silent_blocks(missing)]
        return [new for part in (*silence, samples[:, max(0, -missing):]) for new in self._encode(part, end)]

    def _encode(self, samples: np.ndarray, begin: int) -> list[Packet]:
        self._end = begin if self._end is None else self._end
        if not samples.shape[1]:
            return []
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), _SAMPLES, self._encoder.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._end, Fraction(1, self._rate)
        self._end += samples.shape[1]
        return self.stream.encode(frame)
