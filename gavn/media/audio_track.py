"""How a sound track gets into a container: copied where that can hold it, else converted."""
from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import groupby, islice

import av
import numpy as np
from av import AudioFrame, Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from gavn.media.container import TAGS, MediaError, StrPath, exact, has_parameters, open_media
from gavn.media.track import CopiedTrack, Track

FORMS = {'.mp4': 'mp4', '.mkv': 'matroska', '.mov': 'mov'}  # muxers, by ending
_LAYOUTS = {1: 'mono', 2: 'stereo', 3: '2.1', 4: '4.0', 5: '5.0', 6: '5.1', 7: '6.1', 8: '7.1'}  # by channels
_TRIED = 3  # packets that a trial writes ...
_SCANNED = 2000  # ... of the first of the file, all streams together
_TOLERANCE = 0.05  # seconds; time stamps that miss the end of the last samples by less are rounding
_SAMPLES, _BLOCK = 'fltp', 1 << 16  # format of samples between decoder and encoder; silence made at once
_BITRATE = 96_000  # of AAC, a channel
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # of AAC
_TAKES_ANY = int(av.__version__.split('.')[0]) >= 18  # before, a stream without an encoder crashed the filter

_Way = Callable[[AudioStream, OutputContainer], Track]


def sound_track(path: StrPath, stream: AudioStream, output: OutputContainer) -> tuple[Track, str | None]:
    """The track that takes a stream's packets into an output, and the encoder if it converts them.

    Raises MediaError where the container can hold the sound in no way.
    """
    for way, encoder in _ways(stream):
        if _holds(path, stream.index, way, output.format.name):
            return way(stream, output), encoder
    raise MediaError(f'{output.format.name} holds no {stream.codec_context.name} sound, nor what it could be '
                     'converted to')


def fitting_ending(path: StrPath, wanted: str) -> str:
    """The first of `wanted`, .mkv and .mov whose container holds all sound of a file as it is; else `wanted`.

    Raises MediaError for a file that cannot be read.
    """
    with open_media(path) as source:
        indices = [stream.index for stream in source.streams.audio if has_parameters(stream)]
    for ending in (wanted, '.mkv', '.mov'):
        if all(any(_holds(path, index, way, FORMS[ending.lower()]) for way in _COPIES) for index in indices):
            return ending
    return wanted


def _ways(stream: AudioStream) -> Iterator[tuple[_Way, str | None]]:
    for way in _COPIES:
        yield way, None
    codec = stream.codec_context.codec
    for encoder in ('flac', 'aac') if codec.lossless else ('aac', 'flac'):
        yield partial(AudioConverter, encoder=encoder), encoder


def _from_template(stream: AudioStream, output: OutputContainer) -> Track:
    """Copied, as a kind of stream that PyAV knows the container to hold."""
    copy = output.add_stream_from_template(stream, opaque=True)
    _name_layout(copy, output)
    return CopiedTrack(copy)


def _as_it_is(stream: AudioStream, output: OutputContainer) -> Track:
    """Copied with all parameters, also to containers that hold it by another one's tags, as .mkv does WMA."""
    if not _TAKES_ANY:
        raise ValueError('this PyAV writes no streams of codecs that it knows no place for')
    copy = output.add_mux_stream('aac')
    BitStreamFilterContext('null', stream, copy)
    copy.time_base = stream.time_base
    return CopiedTrack(copy)


_COPIES: tuple[_Way, ...] = (_from_template, _as_it_is)


def _name_layout(copy: AudioStream, output: OutputContainer) -> None:
    """Says which channels there are where a file does not, as plain .wav: .mp4 holds no PCM without."""
    codec = copy.codec_context
    if not _unnamed(codec):
        return
    if codec.layout.nb_channels in (1, 2):
        codec.layout = _LAYOUTS[codec.layout.nb_channels]
    elif output.format.name == 'mp4' and codec.name.startswith('pcm'):
        raise ValueError('its channels have no names')


def _unnamed(codec: AudioCodecContext) -> bool:
    """Whether it is not told which channels there are."""
    return codec.layout.name == f'{codec.layout.nb_channels} channels'


def _holds(path: StrPath, index: int, way: _Way, form: str) -> bool:
    """Whether the beginning of a stream can be written to a container in some way, and read from it."""
    content = io.BytesIO()
    try:
        with open_media(path) as source, av.open(content, 'w', format=form, **TAGS) as output:
            stream = source.streams[index]
            track = way(stream, output)
            output.start_encoding()
            for packet in _beginning(source, stream):
                _mux(output, track, track(packet))
            _mux(output, track, track.rest())
        content.seek(0)
        with av.open(content, **TAGS) as written:
            return all(stream.codec_context is not None for stream in written.streams)
    except (av.FFmpegError, ValueError, MediaError):
        return False


def _beginning(source: av.container.InputContainer, stream: AudioStream) -> list[Packet]:
    """Some of the first packets, each of another time: what of several at one time becomes is for a copy."""
    first = islice(source.demux(), _SCANNED)
    packets = (packet for packet in first if packet.stream is stream and packet.size)
    moments = groupby(packets, key=lambda packet: packet.dts)
    return [next(together) for _, together in islice(moments, _TRIED)]


def _mux(output: OutputContainer, track: Track, packets: Sequence[Packet]) -> None:
    for packet in packets:
        packet.stream = track.stream
        output.mux(packet)


class AudioConverter(Track):
    """Decodes a stream's packets and encodes them anew, at their own times.

    Gaps, and what cannot be decoded, become silence; of pieces that overlap the first is heard to its end.

    Args:
        source: the stream.
        output: where to add the new one.
        encoder: its encoder by name, `flac` or `aac`.
    """

    def __init__(self, source: AudioStream, output: OutputContainer, encoder: str) -> None:
        self._decoder = codec = source.codec_context
        self._rate = codec.sample_rate if encoder == 'flac' else _nearest_rate(codec.sample_rate)
        if _unnamed(codec):
            codec.layout = _LAYOUTS.get(codec.layout.nb_channels, 'stereo')
        self.stream = output.add_stream(encoder, rate=self._rate, layout=codec.layout.name)
        self._encoder = self.stream.codec_context
        if encoder == 'flac' and codec.format and codec.format.bits > 16:
            self._encoder.format = 's32'
        if encoder == 'aac':
            self._encoder.bit_rate = _BITRATE * self._encoder.layout.nb_channels
        self._resampler = av.AudioResampler(_SAMPLES, self._encoder.layout, self._rate)
        self._end: int | None = None  # of what was encoded so far, in samples on the source's clock

    def __call__(self, packet: Packet) -> list[Packet]:
        """What is complete of the new stream once a packet is added."""
        return self._decoded(packet)

    def _decoded(self, packet: Packet | None) -> list[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            return []
        pieces = (piece for frame in frames for piece in self._resampler.resample(frame))
        return [new for piece in pieces for new in self._add(piece)]

    def rest(self) -> list[Packet]:
        """What is left at the end."""
        held = self._decoded(None)
        if self._end is None:
            return held
        left = [new for piece in self._resampler.resample(None) if piece for new in self._add(piece)]
        return [*held, *left, *self.stream.encode(None)]

    def _add(self, piece: AudioFrame) -> list[Packet]:
        """Encodes samples, with silence before them, or without those that lie before what was given."""
        samples = piece.to_ndarray()
        at = self._end if piece.pts is None else round(piece.pts * exact(piece.time_base) * self._rate)
        end = at or 0 if self._end is None else self._end
        missing = 0 if at is None or abs(at - end) <= _TOLERANCE * self._rate else at - end
        silence = [np.zeros((len(samples), size), np.float32) for size in _portions(missing)]
        return [new for part in (*silence, samples[:, max(0, -missing):]) for new in self._encode(part, end)]

    def _encode(self, samples: np.ndarray, begin: int) -> list[Packet]:
        self._end = begin if self._end is None else self._end
        if not samples.shape[1]:
            return []
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), _SAMPLES, self._encoder.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._end, Fraction(1, self._rate)
        self._end += samples.shape[1]
        return self.stream.encode(frame)


def _portions(samples: int) -> Iterator[int]:
    """So many samples, a second or so at a time; nothing where there are none."""
    for at in range(0, samples, _BLOCK):
        yield min(_BLOCK, samples - at)


def _nearest_rate(rate: int) -> int:
    return min(_RATES, key=lambda known: abs(known - rate))
