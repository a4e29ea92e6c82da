"""Muxes encoded segments with the other streams of their source."""
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from math import inf, lcm
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from gavn.media.audio import clock_zero
from gavn.media.container import MediaError, StrPath, exact, has_parameters, open_media, video_stream
from gavn.media.other_streams import Notice, OtherStreams, warn
from gavn.media.output import added_stream, opened_output, stream_as_it_is
from gavn.media.reader import VideoInfo, probe
from gavn.media.segments import Segments
from gavn.runtime.files import atomic_path
from gavn.runtime.memory import trim_memory

if TYPE_CHECKING:
    from av.container.core import Chapter

_CONTAINER_TAGS = {'major_brand', 'minor_version', 'compatible_brands', 'encoder'}  # of the container
_LOST_TAGS = {'alpha_mode'}  # not valid for encoded video
_MAX_TICKS = 2 ** 31 - 1
_RELEASE_INTERVAL = 10_000  # video packets between releases of freed memory


def join(target: StrPath, segments: Sequence[StrPath] | None, source: StrPath | None,
         until: Fraction | None = None, like: VideoInfo | None = None, audio: StrPath | None = None,
         notice: Notice = warn) -> None:
    """Muxes encoded segments with the audio, subtitles, chapters and tags of their source.

    Packets keep their exact times in .mp4 and .mov; .mkv rounds them to milliseconds. All streams are shifted
    together if the video starts before zero, and in .mkv also if the audio does. Text subtitles and audio
    with unsupported codecs are converted, other unsupported streams dropped; `notice` receives messages.

    Args:
        target: appears when it is complete; its extension selects the container (.mp4, .mkv, .mov).
        segments, source: files of SegmentWriter, in order, and their video. Either may be None.
        until: end in seconds on the clock of the source; later packets are dropped.
        like: the properties that the segments were encoded with; None = those of the source.
        audio: a file whose audio replaces that of the source; it starts with the first frame (`clock_zero`).

    Raises:
        MediaError: the segments or the container do not suit the video, or the source cannot be read.
    """
    info, parts, last = _video_parts(segments, source, like)
    target, moved = Path(target), parts.moved * info.time_base
    with atomic_path(target) as part, ExitStack() as stack:
        video_input, audio_input = (
            None if path is None else stack.enter_context(open_media(path)) for path in (source, audio))
        options = _output_options(target, info, video_input, audio_input)
        output = stack.enter_context(opened_output(part, target, **options))
        video = _add_video(output, target, stack.enter_context(open_media(parts.paths[0])), info)
        others: list[OtherStreams] = []
        if source is not None and video_input is not None:
            main = video_stream(video_input, source)
            _copy_tags(main, video, () if segments is None else _LOST_TAGS)
            kept = _others(main, video_input, '' if audio is None else 'audio')
            others.append(OtherStreams(source, video_input, output, target, kept, until, moved, notice))
            _copy_container(video_input, output, until, moved)
        if audio is not None and audio_input is not None:
            ahead = info.start - clock_zero(audio)
            others.append(OtherStreams(audio, audio_input, output, target, audio_input.streams.audio,
                                       None if until is None else until - ahead, moved + ahead, notice))
        with _mux_errors(target):
            _copy_all(parts.packets(last), info, video, output, others)


def _others(main: VideoStream, container: InputContainer, replaced: str) -> list[Stream]:
    """The streams beside the video, without those of a kind that another file replaces."""
    return [stream for stream in container.streams if stream != main and stream.type != replaced]


def _output_options(target: Path, info: VideoInfo, video: InputContainer | None, audio: InputContainer | None
                    ) -> dict[str, str]:
    options = {'movflags': _movflags(video), 'movie_timescale': str(_timescale(info, video, audio))}
    no_random_numbers = {'fflags': '+bitexact'} if target.suffix.lower() == '.mkv' else {}
    return options | no_random_numbers


def _video_parts(segments: Sequence[StrPath] | None, source: StrPath | None, like: VideoInfo | None
                 ) -> tuple[VideoInfo, Segments, int | None]:
    """Returns properties and segments of the video, and the duration of its last frame in ticks if known."""
    if source is None:
        if segments is None or like is None:
            raise ValueError('without a source, segments and their properties are needed')
        return like, Segments.from_files(segments, like), None
    own = probe(source)
    info = own if like is None else like
    parts = Segments.from_video(source) if segments is None else Segments.from_files(segments, info)
    same_clock = (info.frame_rate, info.time_base, info.start) == (own.frame_rate, own.time_base, own.start)
    return info, parts, parts.last_duration(source) if same_clock else None


def _copy_all(
    packets: Iterable[Packet], info: VideoInfo, video: VideoStream, output: OutputContainer,
    others: Sequence[OtherStreams],
) -> None:
    output.start_encoding()
    for number, packet in enumerate(packets):
        if number % _RELEASE_INTERVAL == 0:
            trim_memory()  # the growing index of .mp4 fragments the memory
        assert packet.dts is not None, 'Segments.packets sets decoding times'
        for other in others:
            other.copy_until(packet.dts * info.time_base)
        packet.stream = video
        output.mux(packet)
    for other in others:
        other.copy_until(None)
    output.close()


def _movflags(source: InputContainer | None) -> str:
    """Returns options for .mp4 and .mov; keeps QuickTime metadata keys (location, make, date)."""
    keys = source is not None and any(name.startswith('com.apple.quicktime.') for name in source.metadata)
    return '+faststart' + '+use_metadata_tags' * keys


def _timescale(info: VideoInfo, *sources: InputContainer | None) -> int:
    """Returns ticks per second of the movie clock of .mp4, fine enough for the start times of all streams."""
    ticks = info.time_base.denominator
    for stream in chain.from_iterable(source.streams.audio for source in sources if source):
        rate = stream.codec_context.sample_rate if has_parameters(stream) else 1  # for a conversion
        for clock in (exact(stream.time_base).denominator, rate):
            ticks = lcm(ticks, clock) if lcm(ticks, clock) <= _MAX_TICKS else ticks
    return ticks if ticks <= _MAX_TICKS else 1000


def _add_video(output: OutputContainer, target: Path, segment: InputContainer, info: VideoInfo
               ) -> VideoStream:
    template = video_stream(segment, target)
    name = template.codec_context.name
    video = added_stream(target, lambda: _copied_stream(output, template), f'{name} video')
    video.time_base = info.time_base
    if name == 'hevc' and output.format.name in ('mp4', 'mov'):
        video.codec_context.codec_tag = 'hvc1'  # required by some players
    return video


def _copied_stream(output: OutputContainer, template: VideoStream) -> VideoStream:
    try:
        return output.add_stream_from_template(template, opaque=True)
    except ValueError:
        return stream_as_it_is(output, template)


@contextmanager
def _mux_errors(target: Path) -> Iterator[None]:
    """Converts muxing errors, such as gaps of hours in .mp4 and .mov."""
    try:
        yield
    except OSError:  # a full disk, say
        raise
    except av.FFmpegError as error:
        raise MediaError(
            f'{target}: the container does not support these streams together ({error.strerror}); write to '
            '.mkv') from error


def _copy_tags(stream: VideoStream, copy: VideoStream, but: Collection[str]) -> None:
    copy.metadata.update({name: value for name, value in stream.metadata.items()
                          if name.lower() not in but})
    copy.disposition = stream.disposition


def _copy_container(
    source: InputContainer, output: OutputContainer, until: Fraction | None, moved: Fraction,
) -> None:
    output.metadata.update({k: v for k, v in source.metadata.items() if k not in _CONTAINER_TAGS})
    end = inf if until is None else until
    chapters: list[Chapter] = []
    for chapter in source.chapters():
        base = exact(chapter['time_base'])
        if chapter['start'] * base < end:
            last, later = min(chapter['end'] * base, end), round(moved / base)
            chapters.append({**chapter, 'start': chapter['start'] + later, 'end': int(last / base) + later})
    output.set_chapters(chapters)
