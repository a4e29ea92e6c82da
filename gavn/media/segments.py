"""Encodes a video in segments, so that an interrupted run can be resumed, and joins their packets."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
from av import Packet, VideoFrame
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from gavn.media.container import MediaError, StrPath, exact, guesses_times, open_media, video_stream
from gavn.media.decode import decoded
from gavn.media.filters import copy_colour_tags
from gavn.media.output import REPEATABLE, Writer, added_video
from gavn.media.reader import VideoInfo, average_step, last_duration, next_pts

_FIRST = 'first_pts'  # tag with the offset of all time stamps of a segment
# The output of an encoder depends on its number of threads, which is therefore fixed.
_PARAMETERS = {'libx264': ('x264-params', REPEATABLE), 'libx265': ('x265-params', 'log-level=error')}
_HDR10 = {'libx264': ('mastering-display', 'cll'), 'libx265': ('master-display', 'max-cll')}


class SegmentWriter(Writer):
    """Encodes consecutive frames of a video into a file for `join`; a context manager.

    The container is always NUT, which supports any time base. The output is repeatable. Size, pixel format
    and colour tags are those of the first frame; pixel aspect ratio and time base are those of the video.
    Interlaced video stays interlaced with libx264. The file appears when the block ends without an error.

    Args:
        crf: encoder quality (x264: 0 lossless, 51 worst).
        codec: the encoder; libx264 and libx265 are repeatable.

    Raises:
        MediaError: the codec is unknown.
        EmptyVideo: no frame was written.
    """

    form = 'nut'
    container_options: ClassVar[dict[str, str]] = {'avoid_negative_ts': 'disabled'}

    def __init__(
        self, path: StrPath, like: VideoInfo, crf: float = 18, preset: str = 'medium', codec: str = 'libx264',
    ) -> None:
        super().__init__(path)
        self._like, self._codec = like, codec
        self._options = {'crf': str(crf), 'preset': preset} | _encoder_options(codec, like)
        self._stamps: list[int] = []  # of the frames so far, relative to the first
        self._first = 0
        self._step = average_step(like.frame_rate, like.time_base)

    def _prepare(self) -> None:
        self._stream = added_video(self.path, self._output, self._codec, self._like.frame_rate, self._options)
        encoder = self._stream.codec_context
        # The encoder counts frames. With true time stamps, the stream would declare the time base as its
        # frame rate, which readers use if the container has no frame rate.
        encoder.time_base, encoder.sample_aspect_ratio = 1 / self._like.frame_rate, self._like.pixel_shape
        self._stream.time_base = self._like.time_base

    def write(self, av_frame: VideoFrame, pts: int) -> None:
        """Appends a frame.

        Args:
            av_frame: from `Frame.av_frame` or `changed`.
            pts: time stamp in the time base of the video.

        Raises:
            ValueError: the time stamp is out of order, or the frame has another size or format.
        """
        if not self._stamps:
            self._start(av_frame, pts)
        elif pts - self._first <= self._stamps[-1]:
            raise ValueError(f'time stamps must rise: {pts} after {self._first + self._stamps[-1]}')
        encoder = self._stream.codec_context
        found = av_frame.width, av_frame.height, av_frame.format.name
        if found != (encoder.width, encoder.height, encoder.pix_fmt):
            raise ValueError(f'expected a frame {encoder.width} x {encoder.height} {encoder.pix_fmt}, '
                             f'got {found}')
        av_frame.pts, av_frame.time_base = self.frames, 1 / self._like.frame_rate
        self._stamps.append(pts - self._first)
        self.frames += 1
        self._mux(self._encode(av_frame))

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None and packet.dts is not None, '_encode sets both'
            packet.pts, packet.dts = self._stamp(packet.pts), self._stamp(packet.dts)
            packet.time_base = self._like.time_base
            self._output.mux(packet)

    def _stamp(self, count: int) -> int:
        return self._stamps[count] if count >= 0 else self._step * count

    def _start(self, av_frame: VideoFrame, pts: int) -> None:
        encoder = self._stream.codec_context
        encoder.width, encoder.height = av_frame.width, av_frame.height
        encoder.pix_fmt = av_frame.format.name
        copy_colour_tags(av_frame, encoder)
        if self._like.interlaced and self._like.as_stored:
            encoder.flags |= Flags.interlaced_dct  # each frame has its field order
        self._first = pts
        self._output.metadata[_FIRST] = str(pts)


@dataclass(frozen=True, eq=False)
class Segments:
    """Consecutive segments."""

    paths: tuple[Path, ...]  # the files, in order
    time_base: Fraction  # of the video, in seconds
    step: int  # average ticks between frames
    shown: np.ndarray  # presentation times in ticks, int64 (n,), in decoding order
    moved: int  # shift of all time stamps in ticks, so that none is negative

    @classmethod
    def from_files(cls, paths: Sequence[StrPath], like: VideoInfo) -> 'Segments':
        """Checks that segments fit together.

        Raises:
            MediaError: there are no segments, or they overlap or differ in their encoding.
        """
        if not paths:
            raise MediaError('there are no segments to join; encode the video first')
        files = tuple(map(Path, paths))
        shown = _checked_stamps(files, like.time_base)
        moved = max(0, -int(shown[0]))
        return cls(files, like.time_base, average_step(like.frame_rate, like.time_base), shown + moved, moved)

    @classmethod
    def from_video(cls, path: StrPath) -> 'Segments':
        """Returns a whole stored video as one segment.

        Raises:
            MediaError: packets have no unique time stamps.
        """
        path = Path(path)
        with open_media(path) as container:
            stream = video_stream(container, path)
            time_base = exact(stream.time_base)
            step = average_step(exact(stream.average_rate or Fraction(25)), time_base)
        shown = np.array(unique_stamps(path), np.int64)
        moved = max(0, -int(shown.min()))
        return cls((path,), time_base, step, shown + moved, moved)

    def last_duration(self, source: StrPath) -> int | None:
        """Returns the duration of the last frame in the source, in ticks; None if unknown."""
        return last_duration(source, int(self.shown.max()) - self.moved, len(self.shown))

    def packets(self, last: int | None = None) -> Iterator[Packet]:
        """Yields all packets in decoding order, with times and durations in `time_base`.

        Args:
            last: duration of the last frame in ticks; None = the average.
        """
        times = _packet_times(self.shown, self.step, last or self.step)
        packets = chain.from_iterable(map(_packets, self.paths))
        for packet, shown, decoding, duration in zip(packets, self.shown, *times, strict=True):
            packet.time_base = self.time_base
            packet.pts, packet.dts, packet.duration = int(shown), int(decoding), int(duration)
            yield packet


def _encoder_options(codec: str, like: VideoInfo) -> dict[str, str]:
    """Returns encoder options for repeatability and for the metadata of the video."""
    if codec not in _PARAMETERS:
        return {}
    (key, parameters), display = _PARAMETERS[codec], (like.hdr10.mastering, like.hdr10.light)
    metadata = [f'{name}={value}' for name, value in zip(_HDR10[codec], display, strict=True) if value]
    location = {'chroma_sample_location': like.chroma} if like.chroma and like.as_stored else {}
    captions = {'a53cc': '1'}  # default only of libx264
    return {'threads': '4', key: ':'.join([parameters, *metadata]), **location, **captions}


def _packets(path: Path) -> Iterator[Packet]:
    with open_media(path) as segment:
        yield from (packet for packet in segment.demux(video_stream(segment, path)) if packet.size)


def unique_stamps(path: Path) -> list[int]:
    """Returns the presentation times of packets in decoding order; raises MediaError if they are unusable."""
    found = [packet.pts for packet in _packets(path)]
    with open_media(path) as container:
        if guesses_times(container):
            times = _times_of_guesses(container, video_stream(container, path))
            found = [times.get(stamp) for stamp in found]
    stamps = [stamp for stamp in found if stamp is not None]
    if not found or len(set(stamps)) < len(found):
        raise MediaError(f'{path}: its packets have no unique time stamps and cannot be copied')
    return stamps


def _times_of_guesses(container: InputContainer, stream: VideoStream) -> dict[int | None, int]:
    """Maps the guessed time stamps of packets to the times of their frames."""
    step = average_step(exact(stream.average_rate or Fraction(25)), exact(stream.time_base))
    times: dict[int | None, int] = {}
    last: int | None = None
    for frame in decoded(container, stream, lambda: None):
        times[frame.pts] = last = next_pts(frame.dts, last, step)
    return times


def _checked_stamps(paths: Sequence[Path], time_base: Fraction) -> np.ndarray:
    """Returns presentation times in ticks of the source (n,); raises MediaError for a mismatch."""
    heads: set[tuple[bytes, int, int]] = set()
    stamps: list[np.ndarray] = []
    for path in paths:
        with open_media(path) as segment:
            stream = video_stream(segment, path)
            heads.add((bytes(stream.codec_context.extradata or b''), stream.width, stream.height))
            first, ratio = _first_pts(segment, path), exact(stream.time_base) / time_base
        stamps.append(np.array([first + round(pts * ratio) for pts in unique_stamps(path)], np.int64))
        if len(heads) > 1 or (len(stamps) > 1 and stamps[-1].min() <= stamps[-2].max()):
            raise MediaError(f'{path} does not continue the previous segment; encode all segments again')
    return np.concatenate(stamps)


def _first_pts(segment: InputContainer, path: Path) -> int:
    tags = {name.lower(): value for name, value in segment.metadata.items()}
    if _FIRST not in tags:
        raise MediaError(f'{path} is not a segment; use files of SegmentWriter')
    return int(tags[_FIRST])


def _packet_times(shown: np.ndarray, step: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes decoding times and durations of packets.

    Args:
        shown: unique presentation times, int64 (n,), in decoding order.
        step: average ticks between frames.
        last: duration of the last frame in ticks.

    Returns:
        Increasing decoding times, none after the presentation time, and durations; int64 (n,) each.
    """
    order = np.argsort(shown)
    rising, place = shown[order], np.empty_like(order)
    place[order] = np.arange(len(order))
    delay = int((np.arange(len(place)) - place).max())
    lead = rising[0] - step * np.arange(delay, 0, -1, dtype=np.int64)
    return np.concatenate([lead, rising])[:len(shown)], np.diff(rising, append=rising[-1] + last)[place]
