"""Copies the other streams of a video: audio, subtitles, covers, attachments."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from math import inf
from pathlib import Path

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.subtitles.stream import SubtitleStream

from gavn.media.audio_track import add_audio_track, endings_that_copy
from gavn.media.container import (
    MediaError,
    StrPath,
    codec_label,
    exact,
    has_decoder,
    has_parameters,
    open_media,
)
from gavn.media.output import OutputTrack, added_stream
from gavn.media.subtitles import TextConverter, converted_to

_SPREAD = 2  # seconds; packets of the same time may be so far apart in a file
_EQUAL_TIMES = {'matroska'}  # muxers that allow equal time stamps in a stream
_COVERS = {'matroska', 'mp4'}  # muxers that support covers
_IMAGES = {  # file name and MIME type of a cover, by codec
    'mjpeg': ('cover.jpg', 'image/jpeg'), 'png': ('cover.png', 'image/png'),
    'bmp': ('cover.bmp', 'image/bmp')}

Notice = Callable[[str], object]
warn: Notice = logging.getLogger(__name__).warning


class OtherStreams:
    """Copies streams of a file to an output.

    Args:
        target: name of the output, for messages.
        until: end in seconds on the clock of the source; None = all.
        moved: shift of all time stamps in seconds.
        notice: receives messages about dropped and converted streams.
    """

    def __init__(
        self, path: StrPath, source: InputContainer, output: OutputContainer, target: Path,
        streams: Iterable[Stream], until: Fraction | None, moved: Fraction, notice: Notice = warn,
    ) -> None:
        self._path, self._source, self._output, self._target = Path(path), source, output, target
        self._until, self._moved = inf if until is None else until, moved
        self._notify = lambda message: notice(f'{self._path}: {message}')
        self._tracks: dict[Stream, OutputTrack] = {}
        self._last: dict[int, tuple[Fraction, int]] = {}  # last decoding time and tick, by output stream
        self._notified: set[Stream] = set()
        for stream in streams:
            self._add(stream)
        self._packets = self._content()
        self._pending = next(self._packets, None)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copies packets up to a time; None = all, including what converters hold back."""
        while self._pending is not None:
            packet = self._pending
            if seconds is not None and packet.dts is not None and (
                    packet.dts * exact(packet.time_base) > seconds):
                return
            self._pass_on(self._tracks[packet.stream], packet)
            self._pending = next(self._packets, None)
        if seconds is None:
            for track in self._tracks.values():
                self._mux(track, track.rest())

    def _pass_on(self, track: OutputTrack, packet: Packet) -> None:
        stream = packet.stream
        try:
            packets = track(packet)
        except MediaError as error:
            self._notify_once(stream, f'{_what(stream)}: {error}; it is dropped')
            return
        if not self._mux(track, packets):
            self._notify_once(stream, f'{_what(stream)} has time stamps that go back; overlapping packets '
                                      'are dropped')

    def _notify_once(self, stream: Stream, message: str) -> None:
        if stream not in self._notified:
            self._notified.add(stream)
            self._notify(message)

    def _mux(self, track: OutputTrack, packets: Iterable[Packet]) -> bool:
        """Writes the packets that are in order; returns whether all are."""
        packets = list(packets)
        fitting = [packet for packet in packets if self._in_order(track.stream, packet)]
        for packet in fitting:
            packet.stream = track.stream
            self._output.mux(packet)
        return len(fitting) == len(packets)

    def _in_order(self, copy: Stream, packet: Packet) -> bool:
        """Returns whether a packet is in order; delays a packet with the same time stamp by a tick.

        No container accepts time stamps that go back; only .mkv accepts equal ones.
        """
        if packet.dts is None:
            return True
        time, base = packet.dts * exact(packet.time_base), exact(copy.time_base)
        tick = round(time / base)
        if copy.index in self._last:
            before, last_tick = self._last[copy.index]
            if time < before:
                return False
            earliest = last_tick + (self._output.format.name not in _EQUAL_TIMES)
            if earliest > tick:
                tick = earliest
                _move_to(packet, tick, base)
        self._last[copy.index] = time, tick
        return True

    def _content(self) -> Iterator[Packet]:
        """Yields the packets of the copied streams, without empty ones."""
        if not self._tracks:
            return
        clocks = [] if self._until == inf else self._clocks()
        behind = {*clocks, *(stream for stream in self._tracks if stream.type == 'audio')}
        for packet in self._demuxed(*clocks, *self._tracks):
            time = inf if packet.pts is None else packet.pts * exact(packet.time_base)
            if packet.stream in behind and packet.size and self._until + _SPREAD <= time < inf:
                behind.remove(packet.stream)
                if not behind:
                    return
            late = packet.pts is not None and time >= self._until
            if packet.size and not late and packet.stream in self._tracks:
                yield self._later(packet)

    def _demuxed(self, *streams: Stream) -> Iterator[Packet]:
        try:
            yield from self._source.demux(*streams)
        except av.FFmpegError as error:
            self._notify(f'is truncated ({error.strerror}); the rest is not copied')

    def _clocks(self) -> list[Stream]:
        """Returns the video stream, whose packets tell the position in the file."""
        main = self._source.streams.best('video')
        return [] if main is None or main in self._tracks else [main]

    def _later(self, packet: Packet) -> Packet:
        ticks = round(self._moved / exact(packet.time_base))
        if ticks:
            packet.pts, packet.dts = (None if at is None else at + ticks for at in (packet.pts, packet.dts))
        return packet

    def _add(self, stream: Stream) -> None:
        what = _what(stream)
        if isinstance(stream, AttachmentStream):
            self._attach(stream)
        elif stream.type not in ('audio', 'subtitle', 'video'):
            self._notify(f'{what} is not copied: only audio, subtitles and images are')
        elif not has_decoder(stream):
            self._notify(f'{what} is not copied: its codec is unknown ({codec_label(self._source, stream)})')
        elif stream.disposition & Disposition.attached_pic:
            self._add_cover(stream)
        elif stream.type == 'video':
            self._notify(f'{what} is a second video stream and is not copied')
        elif isinstance(stream, AudioStream) and not has_parameters(stream):
            self._notify(f'{what} is not copied: it contains no audio '
                         f'({stream.codec_context.name})')
        else:
            self._copy(stream, what)

    def _copy(self, stream: Stream, what: str) -> None:
        try:
            track = self._audio(stream, what) if isinstance(stream, AudioStream) else self._text(stream)
        except MediaError as error:
            self._notify(f'{what} is not copied: {error}')
            return
        track.stream.metadata.update(stream.metadata)
        track.stream.disposition = stream.disposition
        self._tracks[stream] = track

    def _audio(self, stream: AudioStream, what: str) -> OutputTrack:
        track, encoder = add_audio_track(self._path, stream, self._output)
        if encoder:
            advice = ''.join(f'; {ending} does' for ending in endings_that_copy(self._path, stream.index))
            self._notify(f'{what} is converted from {stream.codec_context.name} to {encoder.upper()}: '
                         f'{self._target.suffix} does not support it{advice}')
        return track

    def _text(self, stream: Stream) -> OutputTrack:
        if isinstance(stream, SubtitleStream) and (encoder := converted_to(stream, self._output)):
            return TextConverter(stream, self._output, encoder)
        name = stream.codec_context.name
        return OutputTrack(added_stream(
            self._target, lambda: self._output.add_stream_from_template(stream, opaque=True),
            f'{name} {stream.type}'))

    def _add_cover(self, stream: Stream) -> None:
        """Copies a cover: as an attachment in .mkv, as a stream in .mp4."""
        form, name = self._output.format.name, stream.codec_context.name
        if form not in _COVERS or name not in _IMAGES:
            self._notify(f'{_what(stream)} is a cover and is not copied: {self._target.suffix} does not '
                         f'support it ({name}); .mkv and .mp4 support JPEG, PNG and BMP')
        elif form == 'matroska':
            self._attach_cover(stream, *_IMAGES[name])
        else:
            copy = self._output.add_stream_from_template(stream, opaque=True)
            copy.disposition = Disposition.attached_pic
            self._tracks[stream] = OutputTrack(copy)

    def _attach_cover(self, stream: Stream, name: str, mime_type: str) -> None:
        with open_media(self._path) as again:
            packets = again.demux(again.streams[stream.index])
            content = next((bytes(packet) for packet in packets if packet.size), b'')
        tags = {'filename': name, 'mimetype': mime_type, **stream.metadata}
        copy = self._output.add_attachment(name, mime_type, content)
        copy.metadata.update(tags)

    def _attach(self, stream: AttachmentStream) -> None:
        if self._output.format.name != 'matroska':
            self._notify(f'{_what(stream)} is not copied: only .mkv supports attachments')
            return
        copy = self._output.add_attachment('attachment', 'application/octet-stream', stream.data)
        copy.metadata.update(stream.metadata)  # may be invalid UTF-8


def _move_to(packet: Packet, time: int, base: Fraction) -> None:
    """Sets the decoding time of a packet, in ticks of `base` seconds; keeps delay and duration."""
    ticks = exact(packet.time_base) / base
    delay = (None if packet.pts is None or packet.dts is None
             else round((packet.pts - packet.dts) * ticks))
    duration = packet.duration and round(packet.duration * ticks)
    packet.time_base, packet.dts, packet.duration = base, time, duration
    packet.pts = None if delay is None else time + delay


def _what(stream: Stream) -> str:
    return f'stream {stream.index} ({stream.type})'
