"""The pieces of a restored video put together with everything else that its source holds."""
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from math import inf, lcm
from pathlib import Path

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from gavn.media.audio import clock_zero
from gavn.media.container import MediaError, StrPath, exact, has_parameters, open_media, video_stream
from gavn.media.other_streams import Notice, OtherStreams, warn
from gavn.media.output import added_stream, opened_output
from gavn.media.reader import VideoInfo, probe
from gavn.media.segments import Segments
from gavn.runtime.files import atomic_path
from gavn.runtime.memory import give_back

_CONTAINER_TAGS = {'major_brand', 'minor_version', 'compatible_brands', 'encoder'}  # not about the content
_LOST_TAGS = {'alpha_mode'}  # of what a video does not have that was encoded again
_LARGEST = 2 ** 31 - 1
_TIDIED = 10_000  # packets of video from which to which freed memory is given back


def join(
    target: StrPath, pieces: Sequence[StrPath] | None, source: StrPath | None, until: Fraction | None = None,
    like: VideoInfo | None = None, sound: StrPath | None = None, notice: Notice = warn,
) -> None:
    """Makes one video of encoded pieces and of the sound, subtitles, chapters and tags of their source.

    Nothing is encoded again: packets of video, sound and subtitles are copied bit for bit with their own time
    stamps (exactly in .mp4 and .mov; .mkv rounds to milliseconds and moves all streams together where the
    sound has a lead-in before zero; so does any container where the video itself starts below zero, which
    none can tell). Text subtitles and sound of a kind that the container does not know are converted to one
    that it does; streams for which it has no place are left out. Images are upright, so no rotation is
    written. The file has its name only when it is complete.

    Args:
        target: the file to write; its ending chooses the container (.mp4, .mkv, .mov).
        pieces: what PieceWriter wrote, in the order of time; None = the packets that the source itself holds.
        source: the video they are of; None where they are of no video.
        until: seconds on the source's clock; packets from then on are left out.
        like: the video as the pieces were told of it; None = what the source is.
        sound: a file whose sound tracks take the place of the source's; its beginning (see `clock_zero`) is
            heard with the first frame.
        notice: takes words about streams that are left out or converted; by default they are logged.

    Raises MediaError if the pieces do not fit together or the container cannot hold the video, and what
    `probe` raises for the source.
    """
    target = Path(target)
    info = probe(source) if like is None else like
    parts = Segments.stored(source) if pieces is None else Segments.of(pieces, info)
    moved = parts.moved * info.time_base
    own_times = like is None or (source is not None and _same_clock(like, probe(source)))
    last = parts.last_duration(source) if own_times else None  # before: of .mp4 every reader holds an index
    with ExitStack() as stack:
        part = stack.enter_context(atomic_path(target))
        given, heard = (path and stack.enter_context(open_media(path)) for path in (source, sound))
        output = stack.enter_context(opened_output(
            part, target, movflags=_movflags(given), movie_timescale=str(_timescale(info, given, heard))))
        video = _add_video(output, target, stack.enter_context(open_media(parts.paths[0])), info)
        others = []
        if given:
            main = video_stream(given, source)
            _copy_tags(main, video, () if pieces is None else _LOST_TAGS)
            kept = [stream for stream in given.streams
                    if stream != main and not (heard and stream.type == 'audio')]
            others.append(OtherStreams(source, given, output, target, kept, until, moved, notice))
            _copy_container(given, output, until, moved)
        if heard:
            ahead = info.start - clock_zero(sound)
            end = None if until is None else until - ahead
            others.append(OtherStreams(
                sound, heard, output, target, heard.streams.audio, end, moved + ahead, notice))
        with _told(target):
            output.start_encoding()
            _copy_all(parts.packets(last), info, video, output, others)
            output.close()


def _same_clock(one: VideoInfo, other: VideoInfo) -> bool:
    """Whether frames have the same time stamps in both, however large they are."""
    return (one.frame_rate, one.time_base, one.start) == (other.frame_rate, other.time_base, other.start)


def _copy_all(
    packets: Iterable[Packet], info: VideoInfo, video: Stream, output: OutputContainer,
    others: Sequence[OtherStreams],
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


def _movflags(source: InputContainer | None) -> str:
    """How .mp4 and .mov are written: with QuickTime's keys (place, maker, date) where the source has such."""
    keys = source is not None and any(name.startswith('com.apple.quicktime.') for name in source.metadata)
    return '+faststart' + '+use_metadata_tags' * keys


def _timescale(info: VideoInfo, *sources: InputContainer | None) -> int:
    """Ticks a second for the clock of an .mp4 file, on which streams start: as fine as its streams'."""
    ticks = info.time_base.denominator
    for stream in chain.from_iterable(source.streams.audio for source in sources if source):
        rate = stream.codec_context.sample_rate if has_parameters(stream) else 1  # where it is converted
        for clock in (exact(stream.time_base).denominator, rate):
            ticks = lcm(ticks, clock) if lcm(ticks, clock) <= _LARGEST else ticks
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


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """What a container refuses, in words; .mp4 and .mov, for one, cannot leave hours without a frame."""
    try:
        yield
    except OSError:  # a full disk, say
        raise
    except av.FFmpegError as error:
        raise MediaError(
            f'{target}: cannot hold these streams together ({error.strerror}); write to .mkv') from error


def _copy_tags(stream: VideoStream, copy: VideoStream, but: Collection[str]) -> None:
    copy.metadata.update({name: value for name, value in stream.metadata.items()
                          if name.lower() not in but})
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
