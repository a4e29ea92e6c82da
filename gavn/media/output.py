"""Output containers, streams and tracks, and their error messages."""
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar, cast

import av
from av import Packet, VideoFrame
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from gavn.media.container import TAGS, EmptyVideo, MediaError, StrPath, file_url
from gavn.runtime.files import atomic_path

# x264's macroblock tree reads past its rows with AVX2 and AVX-512, so that two runs over the same smooth
# frames differ. With SSE2 the result is repeatable and equal to that of the C code; it is slightly slower.
REPEATABLE = 'asm=MMX2,SSE2' if platform.machine() in ('x86_64', 'AMD64') else 'asm=0'

_TAKES_ANY = int(av.__version__.split('.')[0]) >= 18  # earlier versions crash

_MAX_DELAY = 64  # frames that an encoder may hold back

_W = TypeVar('_W', bound='Writer')
_S = TypeVar('_S', bound=Stream)


def opened_output(part: Path, path: Path, form: str | None = None, **options: str) -> OutputContainer:
    """Opens a container for writing, by the extension of `part` or by the muxer `form`.

    Raises:
        MediaError: there is no such container; the message names `path`.
    """
    try:
        return av.open(file_url(part), 'w', format=form, container_options=options, **TAGS)
    except ValueError as error:
        raise MediaError(f'{path}: no container has this extension; use .mp4 or .mkv') from error


def added_stream(path: Path, add: Callable[[], _S], what: str) -> _S:
    """Returns the stream that `add` adds; raises MediaError if the container does not support it."""
    try:
        return add()
    except ValueError as error:  # also raised for an unknown codec
        raise MediaError(f'{path}: the container does not support {what} ({error}); write to .mkv') from error


def added_video(path: Path, output: OutputContainer, codec: str, rate: Fraction, options: dict[str, str]
                ) -> VideoStream:
    """Adds an encoded video stream; raises MediaError if the container does not support the codec."""
    stream = added_stream(
        path, lambda: output.add_stream(codec, rate=rate, options=options), f'{codec} video')
    if not isinstance(stream, VideoStream):
        raise MediaError(f'{path}: {codec} is not a video codec; use libx264 or libx265')
    return stream


def stream_as_it_is(output: OutputContainer, stream: _S) -> _S:
    """Adds a stream with all parameters of another one, whatever PyAV knows of codecs and containers.

    Raises:
        ValueError: this version of PyAV cannot do it.
    """
    if not _TAKES_ANY:
        raise ValueError('this PyAV version cannot write such codecs')
    copy = cast('_S', output.add_mux_stream('aac' if stream.type == 'audio' else 'h264'))
    BitStreamFilterContext('null', stream, copy)
    copy.time_base = stream.time_base
    return copy


class Writer(ABC):
    """Writes a file with one encoded video stream. The file appears when it is complete."""

    _stream: VideoStream
    form: str | None = None  # muxer; None = by the extension
    container_options: ClassVar[dict[str, str]] = {'movflags': '+faststart'}

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.frames = 0

    def __enter__(self: _W) -> _W:
        with ExitStack() as stack:
            part = stack.enter_context(atomic_path(self.path))
            self._output: OutputContainer = stack.enter_context(
                opened_output(part, self.path, self.form, **self.container_options))
            self._prepare()
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @abstractmethod
    def _prepare(self) -> None:
        """Adds the streams; sets `_stream` to the video stream."""

    def _encode(self, frame: VideoFrame | None) -> Iterator[Packet]:
        """Encodes a frame, or the rest (None)."""
        for packet in self._stream.encode(frame):
            assert packet.pts is not None, 'encoders set presentation times'
            if packet.dts is None or not packet.pts - _MAX_DELAY <= packet.dts <= packet.pts:
                packet.dts = packet.pts  # x265 does not set the decoding times of one or two frames in all
            yield packet

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self._output.mux(packet)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if not self.frames:
            raise EmptyVideo(f'{self.path}: no frame was written; the file is not created')
        self._mux(self._encode(None))


class OutputTrack:
    """An output stream that receives the packets of an input stream; subclasses convert them."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __call__(self, packet: Packet) -> Sequence[Packet]:
        """Takes a packet of the source; returns the packets that are complete."""
        return (packet,)

    def rest(self) -> Sequence[Packet]:
        """Returns the remaining packets at the end."""
        return ()
