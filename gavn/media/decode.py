"""Decodes streams with PyAV; undecodable frames are replaced by the previous frame."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple, overload

import av
from av import AudioFrame, Packet, VideoFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from gavn.media.container import StrPath, guesses_times, open_media, video_stream


class DecodedFrame(NamedTuple):
    """A decoded frame, its time stamp, and whether it replaces an undecodable frame."""

    frame: VideoFrame
    pts: int | None  # in the time base of the stream
    repeated: bool = False


class _UndecodableError(Exception):
    pass


def _packets(container: InputContainer, stream: Stream, failed: Callable[[], None]) -> Iterator[Packet]:
    """Yields the packets of a stream and an empty one at the end, which flushes the decoder.

    A truncated container counts as a failure and ends the stream.
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


@overload
def decoded(container: InputContainer, stream: VideoStream, failed: Callable[[], None]
            ) -> Iterator[VideoFrame]: ...


@overload
def decoded(container: InputContainer, stream: AudioStream, failed: Callable[[], None]
            ) -> Iterator[AudioFrame]: ...


def decoded(container: InputContainer, stream: VideoStream | AudioStream, failed: Callable[[], None]
            ) -> Iterator[VideoFrame] | Iterator[AudioFrame]:
    """Yields the decodable frames of a stream; calls `failed` for each undecodable packet.

    A truncated container counts as one more and ends the stream.
    """
    for packet in _packets(container, stream, failed):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            failed()
            continue
        yield from frames


@contextmanager
def decoder_threads(stream: VideoStream, kind: str = 'AUTO') -> Iterator[None]:
    """Decodes a stream in threads inside the block, and waits for them at its end.

    PyAV frees a decoder while it holds the GIL, and waits for threads of the decoder that may wait for the
    GIL to log a message.
    """
    stream.thread_type = kind
    try:
        yield
    finally:
        stream.codec_context.flush_buffers()  # without the GIL


def decode_and_replace(path: StrPath, failed: Callable[[], None] = lambda: None) -> Iterator[DecodedFrame]:
    """Yields the frames of the main video stream in presentation order.

    Undecodable frames are replaced by the previous frame, at the beginning by the first good frame. `failed`
    is called for each undecodable packet. Nothing is yielded if no frame can be decoded.

    Raises:
        UnreadableMedia, NoVideo: when the first frame is requested.
    """
    yielded = 0
    try:
        for item in _decode_and_replace(path, _raise_undecodable, threads=True):
            yield item
            yielded += 1
        return
    except _UndecodableError:
        pass
    # A multi-threaded decoder silently drops good frames after a bad one at the end of a file: decode again.
    yield from islice(_decode_and_replace(path, failed, threads=False), yielded, None)


def _raise_undecodable() -> None:
    raise _UndecodableError


def _decode_and_replace(path: StrPath, failed: Callable[[], None], threads: bool) -> Iterator[DecodedFrame]:
    with open_media(path) as container:
        stream = video_stream(container, path)
        if not threads:
            stream.codec_context.thread_count = 1
        with decoder_threads(stream, 'AUTO' if threads else 'SLICE'):
            yield from _frames_of(container, stream, failed, threads)


def _frames_of(container: InputContainer, stream: Stream, failed: Callable[[], None], threads: bool
               ) -> Iterator[DecodedFrame]:
    replacer = _FrameReplacer(guesses_times(container))
    for packet in _packets(container, stream, failed):
        replacer.expect(packet)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            failed()
            yield from replacer.undecodable(packet)
            continue
        for frame in frames:
            yield from replacer.decoded(frame)
    if threads and replacer.missing():
        raise _UndecodableError
    yield from replacer.rest()


class _FrameReplacer:
    """Tracks the time stamps of packets, and puts the previous frame where a packet gave none."""

    def __init__(self, guessed: bool) -> None:
        self._guessed = guessed
        self._pending: list[int] = []  # a heap
        self._filled: set[int] = set()
        self._unstamped = 0  # undecodable packets without time stamps before the first good frame
        self._damaged = False
        self._before: VideoFrame | None = None

    def expect(self, packet: Packet) -> None:
        if packet.size and packet.pts is not None and not packet.is_discard:
            heappush(self._pending, packet.pts)

    def undecodable(self, packet: Packet) -> Iterator[DecodedFrame]:
        """Records an undecodable packet; replaces one without a time stamp at once."""
        self._damaged = True
        if packet.size and packet.pts is None:
            if self._before is None:
                self._unstamped += 1
            else:
                yield DecodedFrame(self._before, None, repeated=True)

    def decoded(self, frame: VideoFrame) -> Iterator[DecodedFrame]:
        if frame.pts in self._filled:
            return
        for _ in range(self._unstamped):
            yield DecodedFrame(frame, None, repeated=True)
        self._unstamped = 0
        if frame.pts is not None:
            yield from self._fill(frame.pts, self._before or frame)
        self._before = frame
        yield DecodedFrame(frame, frame.dts if self._guessed else frame.pts)

    def missing(self) -> bool:
        """Returns whether there are packets without a frame."""
        return bool(self._pending)

    def rest(self) -> Iterator[DecodedFrame]:
        if self._before is not None and self._pending:
            yield from self._fill(max(self._pending) + 1, self._before)

    def _fill(self, end: int, frame: VideoFrame) -> Iterator[DecodedFrame]:
        """Removes the time stamps up to and including `end`; fills those before it."""
        while self._pending and self._pending[0] <= end:
            stamp = heappop(self._pending)
            if self._damaged and stamp < end and stamp not in self._filled:
                self._filled.add(stamp)
                yield DecodedFrame(frame, stamp, repeated=True)
