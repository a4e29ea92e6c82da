"""Decoding through PyAV: every frame that a stream shows, also where some of it cannot be decoded."""
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

import av
from av import AudioFrame, Packet, VideoFrame
from av.container import InputContainer
from av.stream import Stream

from gavn.media.container import StrPath, open_media, video_stream

# Containers that store no presentation times: what FFmpeg guesses of B-frames jumps to and fro, whereas its
# decoding times, passed on with each frame, are in order and one frame interval apart.
_GUESSED = {'avi'}

class Shown(NamedTuple):
    """A decoded frame as it is stored, when it is shown, and whether it stands in for one that is lost."""

    frame: VideoFrame
    pts: int | None  # in the stream's time base
    repeated: bool = False


class _Damaged(Exception):  # noqa: N818
    pass


def _packets(container: InputContainer, stream: Stream, failed: Callable[[], None]) -> Iterator[Packet]:
    """The packets of a stream, with an empty one at its end, which makes a decoder give what it holds back.

    A container that breaks off counts as a failure, and ends the stream.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            failed()
            packet = Packet()
            packet.stream = stream
            yield packet
            return
        if packet is None:
            return
        yield packet


def decoded(
    container: InputContainer, stream: Stream, failed: Callable[[], None],
) -> Iterator[VideoFrame | AudioFrame]:
    """Every frame of a stream that can be decoded; calls `failed` once for each packet that cannot.

    A container that breaks off counts as one more, and ends the stream.
    """
    for packet in _packets(container, stream, failed):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            failed()
            continue
        yield from frames


def shown(path: StrPath, failed: Callable[[], None] = lambda: None) -> Iterator[Shown]:
    """Every frame of the main video stream in the order of time, with repeats for those that are lost.

    After a packet that cannot be decoded (`failed` is called for each), the time stamps of packets that no
    frame came of are filled with the frame shown before, at the beginning with the first good one. Raises
    UnreadableMedia or NoVideo when the first is asked for; nothing is yielded if no frame can be decoded.
    """
    given = 0
    try:
        for item in _shown(path, _give_up, threads=True):
            yield item
            given += 1
        return
    except _Damaged:
        pass
    # At the end of a file a decoder with many threads drops good frames together with a bad one, in silence.
    yield from islice(_shown(path, failed, threads=False), given, None)


def _give_up() -> None:
    raise _Damaged


def _shown(path: StrPath, failed: Callable[[], None], threads: bool) -> Iterator[Shown]:
    with open_media(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = 'AUTO' if threads else 'SLICE'
        if not threads:
            stream.codec_context.thread_count = 1
        stamps = _Stamps(container.format.name in _GUESSED)
        for packet in _packets(container, stream, failed):
            stamps.fed(packet)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                failed()
                yield from stamps.lost(packet)
                continue
            for frame in frames:
                yield from stamps.delivered(frame)
        if threads and stamps.missing():
            raise _Damaged
        yield from stamps.rest()


class _Stamps:
    """Which packets' time stamps have been shown, and what to show at those that were lost."""

    def __init__(self, guessed: bool) -> None:
        self._guessed = guessed
        self._waiting: list[int] = []  # a heap
        self._filled: set[int] = set()
        self._unstamped = 0  # lost before the first good frame, by packets without time stamps
        self._damaged = False
        self._before: VideoFrame | None = None

    def fed(self, packet: Packet) -> None:
        if packet.size and packet.pts is not None and not packet.is_discard:
            heappush(self._waiting, packet.pts)

    def lost(self, packet: Packet) -> Iterator[Shown]:
        """Notes a packet that failed; one without a time stamp is stood in for at once."""
        self._damaged = True
        if packet.size and packet.pts is None:
            if self._before is None:
                self._unstamped += 1
            else:
                yield Shown(self._before, None, repeated=True)

    def delivered(self, frame: VideoFrame) -> Iterator[Shown]:
        if frame.pts in self._filled:
            return
        for _ in range(self._unstamped):
            yield Shown(frame, None, repeated=True)
        self._unstamped = 0
        if frame.pts is not None:
            yield from self._fill(frame.pts, self._before or frame)
        self._before = frame
        yield Shown(frame, frame.dts if self._guessed else frame.pts)

    def missing(self) -> bool:
        """Whether packets are left of which no frame came."""
        return bool(self._waiting)

    def rest(self) -> Iterator[Shown]:
        if self._before is not None and self._waiting:
            yield from self._fill(max(self._waiting) + 1, self._before)

    def _fill(self, end: int, frame: VideoFrame) -> Iterator[Shown]:
        """Closes all time stamps up to `end` (in); only those before it can have been lost."""
        while self._waiting and self._waiting[0] <= end:
            stamp = heappop(self._waiting)
            if self._damaged and stamp < end and stamp not in self._filled:
                self._filled.add(stamp)
                yield Shown(frame, stamp, repeated=True)
