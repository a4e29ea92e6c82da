"""The pieces of a restored video put together with everything else that its source holds."""
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from math import inf, lcm
from pathlib import Path

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from gavn.utils.files import atomic_path
from gavn.utils.media_decode import MediaError, StrPath, exact, open_media, video_stream
from gavn.utils.media_output import added_stream, opened_output
from gavn.utils.media_pieces import Pieces
from gavn.utils.media_read import VideoInfo, probe
from gavn.utils.media_sound import clock_zero
from gavn.utils.media_subtitles import TextConverter, converted_to
from gavn.utils.memory import give_back

_CONTAINER_TAGS = {'major_brand', 'minor_version', 'compatible_brands', 'encoder'}  # not about the content
_LARGEST = 2 ** 31 - 1
_LAYOUTS = {1: 'mono', 2: 'stereo'}  # by channels
_SPREAD = 2  # seconds that what belongs to one moment may lie apart in a file
_TIDIED = 10_000  # packets of video from which to which freed memory is given back

_log = logging.getLogger(__name__)


@contextmanager
def silenced() -> Iterator[None]:
    """Without warnings about what is not copied, for a join that is only tried."""
    _log.disabled = True
    try:
        yield
    finally:
        _log.disabled = False


_Convert = Callable[[Packet], Packet | None]


def join(
    target: StrPath, pieces: Sequence[StrPath] | None, source: StrPath | None, until: Fraction | None = None,
    like: VideoInfo | None = None, sound: StrPath | None = None,
) -> None:
    """Makes one video of encoded pieces and of the sound, subtitles, chapters and tags of their source.

    Nothing is encoded again: packets of video, sound and subtitles are copied bit for bit with their own time
    stamps (exactly in .mp4 and .mov; .mkv rounds to milliseconds and moves all streams together where the
    sound has a lead-in before zero; so does any container where the video itself starts below zero, which
    none can tell). Text subtitles of a kind that the container does not know are written
    in one that it does; other streams for which it has no place are left out, with a warning. Pictures are
    upright, so no rotation is written. The file has its name only when it is complete.

    Args:
        target: the file to write; its ending chooses the container (.mp4, .mkv, .mov).
        pieces: what PieceWriter wrote, in the order of time; None = the packets that the source itself holds.
        source: the video they are of; None where they are of no video.
        until: seconds on the source's clock; packets from then on are left out.
        like: the video as the pieces were told of it; None = what the source is.
        sound: a file whose sound tracks take the place of the source's; its beginning (see `clock_zero`) is
            heard with the first frame.

    Raises MediaError if the pieces do not fit together or the container cannot hold the video or the sound,
    and what `probe` raises for the source.
    """
    target = Path(target)
    info = probe(source) if like is None else like
    parts = Pieces.stored(source) if pieces is None else Pieces.of(pieces, info)
    moved = parts.moved * info.time_base
    own_times = like is None or (source is not None and _same_clock(like, probe(source)))
    last = parts.last_duration(source) if own_times else None  # before: of .mp4 every reader holds an index
    with ExitStack() as stack:
        part = stack.enter_context(atomic_path(target))
        given, heard = (path and stack.enter_context(open_media(path)) for path in (source, sound))
        output = stack.enter_context(opened_output(
            part, target, movflags='+faststart', movie_timescale=str(_timescale(info, given, heard))))
        video = _add_video(output, target, stack.enter_context(open_media(parts.paths[0])), info)
        others = []
        if given:
            main = video_stream(given, source)
            _copy_tags(main, video)
            kept = [stream for stream in given.streams
                    if stream != main and not (heard and stream.type == 'audio')]
            others.append(_Others(given, output, target, kept, until, moved))
            _copy_container(given, output, until, moved)
        if heard:
            ahead = info.start - clock_zero(sound)
            end = None if until is None else until - ahead
            others.append(_Others(heard, output, target, heard.streams.audio, end, moved + ahead))
        _start(output, target)
        _copy_all(parts.packets(last), info, video, output, others)


def _same_clock(one: VideoInfo, other: VideoInfo) -> bool:
    """Whether frames have the same time stamps in both, however large they are."""
    return (one.frame_rate, one.time_base, one.start) == (other.frame_rate, other.time_base, other.start)


def _copy_all(
    packets: Iterable[Packet], info: VideoInfo, video: Stream, output: OutputContainer,
    others: Sequence['_Others'],
) -> None:
    for number, packet in enumerate(packets):
        if number % _TIDIED == 0:
            give_back()  # .mp4's index moves as it grows, here and when it is read, and leaves gaps
        for other in others:
            other.copy_until(packet.dts * info.time_base)
        packet.stream = video
        output.mux(packet)
    for other in others:
        other.copy_until(None)


def _timescale(info: VideoInfo, *sources: InputContainer | None) -> int:
    """Ticks a second for the clock of an .mp4 file, on which streams start: as fine as its streams'."""
    ticks = info.time_base.denominator
    for stream in chain.from_iterable(source.streams.audio for source in sources if source):
        finer = lcm(ticks, exact(stream.time_base).denominator)
        ticks = finer if finer <= _LARGEST else ticks
    return ticks if ticks <= _LARGEST else 1000


def _add_video(output: OutputContainer, target: Path, piece: InputContainer, info: VideoInfo) -> Stream:
    template = video_stream(piece, target)
    name = template.codec_context.name
    video = added_stream(
        target, lambda: output.add_stream_from_template(template, opaque=True), f'{name} video')
    video.time_base = info.time_base
    if name == 'hevc' and output.format.name in ('mp4', 'mov'):
        video.codec_context.codec_tag = 'hvc1'  # some players know no other
    return video


def _start(output: OutputContainer, target: Path) -> None:
    try:
        output.start_encoding()
    except OSError:  # a full disk, say
        raise
    except av.FFmpegError as error:
        raise MediaError(
            f'{target}: cannot hold these streams together ({error.strerror}); write to .mkv') from error


def _copy_tags(stream: Stream, copy: Stream) -> None:
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition


def _copy_container(
    source: InputContainer, output: OutputContainer, until: Fraction | None, moved: Fraction,
) -> None:
    output.metadata.update({k: v for k, v in source.metadata.items() if k not in _CONTAINER_TAGS})
    end = inf if until is None else until
    chapters = []
    for chapter in source.chapters():
        base = exact(chapter['time_base'])
        if chapter['start'] * base < end:
            last, later = min(chapter['end'] * base, end), round(moved / base)
            chapters.append({**chapter, 'start': chapter['start'] + later, 'end': int(last / base) + later})
    output.set_chapters(chapters)


class _Others:
    """Streams of a file that are copied, on their way into an output."""

    def __init__(
        self, source: InputContainer, output: OutputContainer, target: Path, streams: Iterable[Stream],
        until: Fraction | None, moved: Fraction,
    ) -> None:
        self._source, self._output, self._target = source, output, target
        self._until, self._moved = inf if until is None else until, moved
        self._copies: dict[Stream, tuple[Stream, _Convert]] = {}
        self._last: dict[int, int] = {}  # decoding times, by stream of the output
        self._disordered: set[int] = set()
        for stream in streams:
            self._add(stream)
        self._packets = self._content()
        self._pending = next(self._packets, None)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Passes on packets up to a time, or all of them."""
        while self._pending is not None:
            packet = self._pending
            due = None if packet.dts is None else packet.dts * exact(packet.time_base)
            if None not in (seconds, due) and due > seconds:
                return
            copy, convert = self._copies[packet.stream]
            packet = convert(packet)
            if packet is not None and self._in_order(copy, packet):
                packet.stream = copy
                self._output.mux(packet)
            self._pending = next(self._packets, None)

    def _in_order(self, copy: Stream, packet: Packet) -> bool:
        """Whether a packet comes after the one before; no container takes one that does not."""
        if packet.dts is None:
            return True
        last = self._last.get(copy.index)
        if last is not None and packet.dts <= last:
            if copy.index not in self._disordered:
                _log.warning('%s: a %s stream runs back in time; what overlaps is left out',
                             self._source.name, copy.type)
                self._disordered.add(copy.index)
            return False
        self._last[copy.index] = packet.dts
        return True

    def _content(self) -> Iterator[Packet]:
        """Packets of the streams that are copied, without the empty ones that end each."""
        if not self._copies:
            return
        clocks = [] if self._until == inf else self._clocks()
        behind = {*clocks, *(stream for stream in self._copies if stream.type == 'audio')}
        for packet in self._source.demux(*clocks, *self._copies):
            time = inf if packet.pts is None else packet.pts * exact(packet.time_base)
            if packet.stream in behind and packet.size and self._until + _SPREAD <= time < inf:
                behind.remove(packet.stream)
                if not behind:
                    return
            late = packet.pts is not None and time >= self._until
            if packet.size and not late and packet.stream in self._copies:
                yield self._later(packet)

    def _clocks(self) -> list[Stream]:
        """The video, which is not copied, but tells how far we are."""
        main = self._source.streams.best('video')
        return [] if main is None or main in self._copies else [main]

    def _later(self, packet: Packet) -> Packet:
        ticks = round(self._moved / exact(packet.time_base))
        if ticks:
            packet.pts, packet.dts = (None if at is None else at + ticks for at in (packet.pts, packet.dts))
        return packet

    def _add(self, stream: Stream) -> None:
        what = f'stream {stream.index} ({stream.type})'
        if stream.type == 'attachment':
            self._attach(stream, what)
        elif stream.type == 'video' and not stream.disposition & Disposition.attached_pic:
            _log.warning('%s: %s is a second video and is not copied', self._source.name, what)
        elif stream.type not in ('audio', 'subtitle', 'video'):
            _log.warning('%s: %s is not copied: only sound, text and pictures are', self._source.name, what)
        elif stream.codec_context is None:
            _log.warning('%s: %s has an unknown codec and is not copied', self._source.name, what)
        else:
            self._copy(stream, what)

    def _copy(self, stream: Stream, what: str) -> None:
        name, convert = stream.codec_context.name, _unchanged
        try:
            if text := converted_to(stream, self._output):
                converter = TextConverter(stream, self._output, text)
                copy, convert = converter.stream, converter
                _log.info('%s: %s is written as %s', self._source.name, what, text)
            else:
                copy = added_stream(
                    self._target, lambda: self._output.add_stream_from_template(stream, opaque=True),
                    f'{name} {stream.type}')
            if stream.type == 'audio':
                _name_layout(copy, self._output)
        except MediaError as error:
            if stream.type == 'audio':
                raise MediaError(
                    f'{self._target}: its container cannot hold {name} sound ({self._source.name})\n'
                    f'write to .mkv, or, where that cannot either, convert the sound before: '
                    f'ffmpeg -i IN -c:v copy -c:a aac OUT.mkv') from error
            _log.warning('%s: %s is not copied: %s', self._source.name, what, error)
            return
        _copy_tags(stream, copy)
        self._copies[stream] = copy, convert

    def _attach(self, stream: Stream, what: str) -> None:
        if self._output.format.name != 'matroska':
            _log.warning('%s: %s is not copied: only .mkv holds attachments', self._source.name, what)
            return
        self._output.add_attachment(stream.name or 'attachment', stream.mimetype or '', stream.data)


def _name_layout(sound: Stream, output: OutputContainer) -> None:
    """Says which channels one or two are where a file does not, as plain .wav: .mp4 holds no PCM without.

    Raises MediaError where there are more of them.
    """
    codec = sound.codec_context
    if codec.layout.name != f'{codec.layout.nb_channels} channels':
        return
    if codec.layout.nb_channels in _LAYOUTS:
        codec.layout = _LAYOUTS[codec.layout.nb_channels]
    elif output.format.name == 'mp4' and codec.name.startswith('pcm'):
        raise MediaError('its channels have no names')


def _unchanged(packet: Packet) -> Packet:
    return packet
