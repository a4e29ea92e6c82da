"""Reading video files through PyAV: what they are, and their frames, upright and with their time stamps."""
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from numbers import Rational
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av import AudioFrame, VideoFrame
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

StrPath = str | PathLike[str]

# swscale flags: bicubic, accurate rounding, full chroma interpolation (PyAV 17 has no names for two of them).
# Without them a conversion to RGB and back darkens a picture by one to two levels.
TO_BGR = 4 | 0x40000 | 0x2000
_THREADS = 4


class MediaError(Exception):
    """A file that cannot be used as asked; the message says what, where and what to do next."""


class UnreadableMedia(MediaError):  # noqa: N818
    """The file is missing, or no demuxer or decoder understands it."""


class NoVideo(MediaError):  # noqa: N818
    """The file holds no video stream."""


class EmptyVideo(MediaError):  # noqa: N818
    """The file has a video stream of which no frame can be decoded."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is. Width and height are those of the upright picture, in pixels.

    `frame_rate` is the average in frames a second (the true intervals may vary), `start` the time of the
    first frame on the container's clock and `duration` the length in seconds; `rotation` says how many
    degrees counter-clockwise the stored picture was turned to stand upright (0, 90, 180 or 270); `frames`
    is None where the container does not tell.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    frames: int | None
    duration: float
    start: Fraction
    rotation: int
    pix_fmt: str
    codec: str
    has_audio: bool


@dataclass(frozen=True)
class Frame:
    """One frame: `image` uint8 BGR (h, w, 3), upright; `time` in seconds since the first frame of the video.

    `pts` is the time stamp in the stream's own time base, strictly increasing.
    """

    image: np.ndarray
    pts: int
    time: float
    index: int


@contextmanager
def open_media(path: StrPath) -> Iterator[InputContainer]:
    """The opened container, closed at the end; UnreadableMedia if there is none to open."""
    path = Path(path)
    if not path.is_file():
        raise UnreadableMedia(f'{path}: no such file; check the path')
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise UnreadableMedia(f'{path}: no readable media file ({error.strerror}); does it play?') from error
    with container:
        yield container


def video_stream(container: InputContainer, path: StrPath) -> VideoStream:
    """The container's main video stream (cover pictures do not count); NoVideo if there is none."""
    stream = container.streams.best('video')
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise NoVideo(f'{path}: no video stream; give a file that has one')
    return stream


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turns a picture (h, w, c) counter-clockwise by the degrees its display matrix asks for, to quarters."""
    return np.ascontiguousarray(np.rot90(image, round(rotation / 90) % 4))


def exact(ratio: Rational) -> Fraction:
    """PyAV's ratios as fractions; from version 19 on they are of a type of its own."""
    return Fraction(ratio.numerator, ratio.denominator)


def _average_rate(stream: VideoStream) -> Fraction:
    return exact(stream.average_rate or stream.guessed_rate or Fraction(25))


def decoded(
    container: InputContainer, stream: Stream, failed: Callable[[], None],
) -> Iterator[VideoFrame | AudioFrame]:
    """Every frame of a stream that can be decoded; calls `failed` once for each packet that cannot.

    A container that breaks off counts as one more, and ends the stream.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            failed()
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            failed()
            continue
        yield from frames


class FrameReader(Iterator[Frame]):
    """The frames of a video; see `read_frames`. `undecodable` counts the packets skipped so far."""

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.undecodable = 0
        self._frames = self._read()

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Closes the file before its end."""
        self._frames.close()

    def _count_failure(self) -> None:
        self.undecodable += 1

    def _read(self) -> Iterator[Frame]:
        with open_media(self.path) as container:
            stream = video_stream(container, self.path)
            stream.thread_type = 'AUTO'
            time_base = exact(stream.time_base)
            step = max(1, round(1 / (_average_rate(stream) * time_base)))
            to_bgr, size, first, last = VideoReformatter(), {}, None, None
            for index, frame in enumerate(decoded(container, stream, self._count_failure)):
                size = size or {'width': frame.width, 'height': frame.height}
                bgr = to_bgr.reformat(frame, **size, format='bgr24', interpolation=TO_BGR, threads=_THREADS)
                last = _next_pts(frame.pts, last, step)
                first = last if first is None else first
                image = upright(bgr.to_ndarray(), frame.rotation)
                yield Frame(image, last, float((last - first) * time_base), index)
        self._report(empty=first is None)

    def _report(self, empty: bool) -> None:
        skipped = f'{self.undecodable} packets could not be decoded'
        if empty:
            raise EmptyVideo(f'{self.path}: its video stream yields no frame ({skipped}); give another file')
        if self.undecodable:
            logging.getLogger(__name__).warning('%s: %s and were skipped', self.path, skipped)


def _next_pts(pts: int | None, last: int | None, step: int) -> int:
    """The frame's own time stamp, or the nearest in order where it is missing or runs backwards."""
    if pts is None:
        return 0 if last is None else last + step
    return pts if last is None else max(pts, last + 1)


def read_frames(path: StrPath) -> FrameReader:
    """Iterates over the frames of a video file in the order they are shown, a few in memory at a time.

    Rotation from the container's metadata is applied. A packet that cannot be decoded is skipped and
    counted in the iterator's `undecodable`; all other frames keep their own time stamps, so that nothing
    shifts against the sound. Raises UnreadableMedia, NoVideo or EmptyVideo when the first frame is asked
    for.
    """
    return FrameReader(path)


def probe(path: StrPath) -> VideoInfo:
    """Reads what the header and the first frame tell about a video file; raises as `read_frames` does."""
    path = Path(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        frame = next(decoded(container, stream, lambda: None), None)
        if frame is None:
            raise EmptyVideo(f'{path}: its video stream yields no frame; give another file')
        rotation = round(frame.rotation / 90) % 4 * 90
        width, height = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
        rate, time_base, seconds = _average_rate(stream), exact(stream.time_base), _seconds(container, stream)
        return VideoInfo(
            path, width, height, rate, time_base, stream.frames or round(seconds * rate) or None,
            seconds, (frame.pts or 0) * time_base, rotation, frame.format.name,
            stream.codec_context.name, bool(container.streams.audio))


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


class Ticks:
    """A clock that ticks at k / rate seconds, k = 0, 1 ...: what shows a frame takes the one that is on then.

    A frame is on from its own time to that of the next; a tenth of an interval is allowed for rounded times.
    """

    def __init__(self, rate: float | Fraction) -> None:
        self._interval = 1 / Fraction(rate)
        self._count = 0

    def before(self, time: float) -> int:
        """How many ticks lie before `time` (in seconds) that were not counted yet."""
        counted = self._count
        while self._count * self._interval + self._interval / 10 < time:
            self._count += 1
        return self._count - counted


def resample_frames(path: StrPath, frame_rate: float | Fraction = 25) -> Iterator[np.ndarray]:
    """Upright pictures (h, w, 3) uint8 BGR at a constant rate, for networks that know only that rate.

    Picture k is the frame shown at k / frame_rate seconds after the first: the latest not later than that
    (a tenth of an interval is allowed for rounded time stamps). Frames are repeated or left out, never
    blended. The last frame lasts one average interval. Raises as `read_frames` does.
    """
    ticks, lasts = Ticks(frame_rate), float(1 / probe(path).frame_rate)
    shown = None
    for frame in read_frames(path):
        if shown is not None:
            yield from repeat(shown.image, ticks.before(frame.time))
        shown = frame
    yield from repeat(shown.image, ticks.before(shown.time + lasts))
