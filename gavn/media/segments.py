"""A video encoded in pieces, so that a run that was interrupted can go on, and the joining of them."""
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

from gavn.media.container import MediaError, StrPath, exact, open_media, video_stream
from gavn.media.output import REPEATABLE, Writer, added_stream
from gavn.media.reader import VideoInfo, average_step, last_duration

_DEEPEST = 64  # frames that an encoder may hold back
_FIRST = 'first_pts'  # name of the tag that holds what was taken from all time stamps of a piece
# What an encoder writes depends on its number of threads, which is therefore not left to the machine.
_PARAMETERS = {'libx264': ('x264-params', REPEATABLE), 'libx265': ('x265-params', 'log-level=error')}
_HDR10 = {'libx264': ('mastering-display', 'cll'), 'libx265': ('master-display', 'max-cll')}


class SegmentWriter(Writer):
    """Encodes consecutive pictures of a video into a file of its own, for `join`; a context manager.

    The container is NUT, whatever the name, which keeps time stamps in any time base. Two runs over the same
    pictures write the same bytes. Size, pixel format and colour tags are those of the first picture, pixel
    shape and time base those of the video; fields stay fields with libx264. The file has its name only when
    the block ends without an error. Raises MediaError for an unknown codec, EmptyVideo if nothing is written.

    Args:
        path: of the piece.
        like: the video whose pictures these are.
        crf: the encoder's quality (x264: 0 lossless, 51 worst).
        preset: the encoder's speed by name.
        codec: of the encoder: libx264 or libx265 are repeatable.
    """

    form = 'nut'
    container_options: ClassVar[dict[str, str]] = {'avoid_negative_ts': 'disabled'}

    def __init__(
        self, path: StrPath, like: VideoInfo, crf: float = 18, preset: str = 'medium', codec: str = 'libx264',
    ) -> None:
        super().__init__(path)
        self._like, self._codec = like, codec
        self._options = {'crf': str(crf), 'preset': preset} | _encoder_options(codec, like)
        self._stamps: list[int] = []  # of the frames so far, the first one's taken off
        self._first = 0
        self._step = average_step(like.frame_rate, like.time_base)

    def _prepare(self) -> None:
        self._stream = added_stream(
            self.path, lambda: self._output.add_stream(
                self._codec, rate=self._like.frame_rate, options=self._options), f'{self._codec} video')
        encoder = self._stream.codec_context
        # The encoder counts frames. Were it told the true times, the stream would announce the time base as
        # its frame rate, and what reads it from a container without rates would believe that.
        encoder.time_base, encoder.sample_aspect_ratio = 1 / self._like.frame_rate, self._like.pixel_shape
        self._stream.time_base = self._like.time_base

    def write(self, picture: VideoFrame, pts: int) -> None:
        """Appends a picture as `Frame.picture` or `changed` give it, shown at `pts` as in `Frame.pts`.

        Raises ValueError for a time stamp out of order, or a picture of another size or format.
        """
        if not self._stamps:
            self._start(picture, pts)
        elif pts - self._first <= self._stamps[-1]:
            raise ValueError(f'time stamps must rise: {pts} after {self._first + self._stamps[-1]}')
        encoder = self._stream.codec_context
        found = picture.width, picture.height, picture.format.name
        if found != (encoder.width, encoder.height, encoder.pix_fmt):
            raise ValueError(f'expected a picture {encoder.width} x {encoder.height} {encoder.pix_fmt}, '
                             f'got {found}')
        picture.pts, picture.time_base = self.frames, 1 / self._like.frame_rate
        self._stamps.append(pts - self._first)
        self.frames += 1
        self._mux(self._stream.encode(picture))

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            # of a single frame x265 gives a decoding time that is no number of ours
            sane = packet.dts is not None and packet.pts - _DEEPEST <= packet.dts <= packet.pts
            packet.pts, packet.dts = (self._stamp(packet.pts),
                                      self._stamp(packet.dts if sane else packet.pts))
            packet.time_base = self._like.time_base
            self._output.mux(packet)

    def _stamp(self, count: int) -> int:
        return self._stamps[count] if count >= 0 else self._step * count

    def _start(self, picture: VideoFrame, pts: int) -> None:
        encoder = self._stream.codec_context
        encoder.width, encoder.height = picture.width, picture.height
        encoder.pix_fmt = picture.format.name
        encoder.colorspace, encoder.color_range = picture.colorspace, picture.color_range
        encoder.color_primaries, encoder.color_trc = picture.color_primaries, picture.color_trc
        if self._like.interlaced and not self._like.rotation % 180:
            encoder.flags |= Flags.interlaced_dct  # which of its fields is first, each picture tells
        self._first = pts
        self._output.metadata[_FIRST] = str(pts)


@dataclass(frozen=True, eq=False)
class Segments:
    """Pieces one after the other, whose packets fit together.

    Attributes:
        paths: in the order of time.
        time_base: of the video that they are of, in seconds.
        step: average ticks from frame to frame.
        shown: when each packet is shown, in ticks: int64 (n,), in the order of decoding.
        moved: ticks by which all times are later than the source's, so that none is below zero.
    """

    paths: tuple[Path, ...]
    time_base: Fraction
    step: int
    shown: np.ndarray
    moved: int

    @classmethod
    def of(cls, paths: Sequence[StrPath], like: VideoInfo) -> 'Segments':
        """Raises MediaError if there are none, or they were encoded in different ways or overlap."""
        if not paths:
            raise MediaError('there are no pieces to join; encode the video first')
        paths = tuple(map(Path, paths))
        shown = _checked_stamps(paths, like.time_base)
        moved = max(0, -int(shown[0]))
        return cls(paths, like.time_base, average_step(like.frame_rate, like.time_base), shown + moved, moved)

    @classmethod
    def stored(cls, path: StrPath) -> 'Segments':
        """A whole video as it is stored, as one piece. MediaError if its packets do not tell their times."""
        path = Path(path)
        with open_media(path) as container:
            stream = video_stream(container, path)
            time_base = exact(stream.time_base)
            step = average_step(exact(stream.average_rate or Fraction(25)), time_base)
        stamps = [packet.pts for packet in _packets(path)]
        if not stamps or None in stamps or len(set(stamps)) < len(stamps):
            raise MediaError(f'{path}: its packets do not tell their times, so that they cannot be copied')
        shown = np.array(stamps, np.int64)
        moved = max(0, -int(shown.min()))
        return cls((path,), time_base, step, shown + moved, moved)

    def last_duration(self, source: StrPath) -> int | None:
        """Ticks for which a video shows the last frame of these, whose time stamps it has; None = unknown."""
        return last_duration(source, int(self.shown.max()) - self.moved, len(self.shown))

    def packets(self, last: int | None = None) -> Iterator[Packet]:
        """All packets in the order of decoding, with presentation and decoding times in `time_base`.

        Each lasts until the next is shown, the last one `last` ticks; None = an average step.
        """
        times = _packet_times(self.shown, self.step, last or self.step)
        packets = chain.from_iterable(map(_packets, self.paths))
        for packet, shown, decoding, duration in zip(packets, self.shown, *times, strict=True):
            packet.time_base = self.time_base
            packet.pts, packet.dts, packet.duration = int(shown), int(decoding), int(duration)
            yield packet


def _encoder_options(codec: str, like: VideoInfo) -> dict[str, str]:
    """What an encoder is told beside quality and speed: to be repeatable, and what the video tells of."""
    if codec not in _PARAMETERS:
        return {}
    (key, parameters), display = _PARAMETERS[codec], (like.hdr10.mastering, like.hdr10.light)
    told = [f'{name}={value}' for name, value in zip(_HDR10[codec], display, strict=True) if value]
    place = {'chroma_sample_location': like.chroma} if like.chroma and like.as_stored else {}
    captions = {'a53cc': '1'}  # the default of libx264 alone
    return {'threads': '4', key: ':'.join([parameters, *told]), **place, **captions}


def _packets(path: Path) -> Iterator[Packet]:
    with open_media(path) as piece:
        yield from (packet for packet in piece.demux(video_stream(piece, path)) if packet.size)


def _checked_stamps(paths: Sequence[Path], time_base: Fraction) -> np.ndarray:
    """When the packets of pieces are shown in the source's ticks, (n,); MediaError if they do not fit."""
    heads, stamps = set(), []
    for path in paths:
        with open_media(path) as piece:
            stream = video_stream(piece, path)
            heads.add((bytes(stream.codec_context.extradata or b''), stream.width, stream.height))
            first, ratio = _first_pts(piece, path), exact(stream.time_base) / time_base
        stamps.append(np.array([first + round(packet.pts * ratio) for packet in _packets(path)], np.int64))
        if len(heads) > 1 or (len(stamps) > 1 and stamps[-1].min() <= stamps[-2].max()):
            raise MediaError(f'{path} does not go on where the piece before it ends; encode all anew')
    return np.concatenate(stamps)


def _first_pts(piece: InputContainer, path: Path) -> int:
    tags = {name.lower(): value for name, value in piece.metadata.items()}
    if _FIRST not in tags:
        raise MediaError(f'{path} is no piece of a video; give files that PieceWriter wrote')
    return int(tags[_FIRST])


def _packet_times(shown: np.ndarray, step: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """When to decode packets, and how long each is shown.

    Args:
        shown: int64 (n,), when, all different, in the order of decoding.
        step: average ticks from frame to frame.
        last: ticks that the last one is shown for.

    Returns int64 (n,) each: rising times, none after its packet is shown, and the times to the next shown.
    """
    order = np.argsort(shown)
    rising, place = shown[order], np.empty_like(order)
    place[order] = np.arange(len(order))
    delay = int((np.arange(len(place)) - place).max())
    lead = rising[0] - step * np.arange(delay, 0, -1, dtype=np.int64)
    return np.concatenate([lead, rising])[:len(shown)], np.diff(rising, append=rising[-1] + last)[place]
