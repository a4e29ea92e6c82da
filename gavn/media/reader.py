"""Reading video files through PyAV: what they are, and their frames, upright and with their time stamps."""
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import av
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from gavn.media.container import (
    EmptyVideo,
    MediaError,
    StreamFacts,
    StrPath,
    exact,
    open_media,
    video_stream,
)
from gavn.media.decode import Shown, shown
from gavn.media.frame import Frame, ToBGR, Upright, depth, shown_size
from gavn.media.side_data import HDR10, Orientation

_FAR = 5  # frames that a time stamp may lie before the last one; more is another recording
_HDR_TRANSFERS = {16, 18}  # tags of PQ and HLG


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is. Width and height are those of the upright picture, in pixels.

    `frame_rate` is the average in frames a second (the true intervals may vary), `start` the time of the
    first frame on the container's clock and `duration` the length in seconds; `rotation` says how many
    degrees counter-clockwise the stored picture was turned to stand upright (0, 90, 180 or 270), after it
    was `mirrored` where that is so; `frames` is None where the container does not tell. `pixel_shape` is the
    width of an upright picture's pixel by its height, `depth` the bits of a sample; `hdr` says that the
    transfer is PQ or HLG, `interlaced` that the first frame is made of two fields, `alpha` that it is partly
    transparent, `spherical` that it is a projection of a sphere or stereoscopic; `chroma` is where chroma
    samples lie, in FFmpeg's words, `hdr10` for which display the video was graded.
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
    pixel_shape: Fraction
    pix_fmt: str
    depth: int
    hdr: bool
    interlaced: bool
    codec: str
    audio_tracks: int
    subtitle_tracks: int
    mirrored: bool = False
    alpha: bool = False
    spherical: bool = False
    chroma: str | None = None
    hdr10: HDR10 = field(default_factory=HDR10)

    @property
    def as_stored(self) -> bool:
        """Whether the image is upright as it is stored."""
        return not self.rotation and not self.mirrored

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound track."""
        return self.audio_tracks > 0


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turns a picture (h, w, c) counter-clockwise by the degrees its display matrix asks for, to quarters."""
    return np.ascontiguousarray(np.rot90(image, round(rotation / 90) % 4))


def _average_rate(stream: VideoStream) -> Fraction:
    return exact(stream.average_rate or stream.guessed_rate or Fraction(25))


def average_step(frame_rate: Fraction, time_base: Fraction) -> int:
    """Ticks of a time base (in seconds) from frame to frame, on average."""
    return max(1, round(1 / (frame_rate * time_base)))


class FrameReader(Iterator[Frame]):
    """The frames of a video; see `read_frames`. `undecodable` counts the packets that failed so far."""

    def __init__(self, path: StrPath, start: int = 0) -> None:
        self.path = Path(path)
        self.undecodable = 0
        self._frames = self._read(start)

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Closes the file before its end."""
        self._frames.close()

    def _count_failure(self) -> None:
        self.undecodable += 1

    def _read(self, start: int) -> Iterator[Frame]:
        time_base, step, crop = self._layout()
        frame_from_image, to_bgr, first, last, repeated = Upright(crop), ToBGR(), None, None, 0
        for index, item in enumerate(shown(self.path, self._count_failure)):
            self._refuse_jump(item.pts, last, step)
            last = _next_pts(item.pts, last, step)
            first = last if first is None else first
            repeated += item.repeated
            if index == 0 or index >= start:  # the first sets the format of all
                picture = frame_from_image(item.frame)
            if index >= start:
                yield Frame(picture, last, float((last - first) * time_base), index, item.repeated,
                            to_bgr=to_bgr)
        self._report(first is None, repeated)

    def _layout(self) -> tuple[Fraction, int, tuple[int, int, int, int]]:
        """The stream's time base in seconds, ticks of it between two frames on average, what is hidden."""
        with open_media(self.path) as container:
            stream = video_stream(container, self.path)
            time_base = exact(stream.time_base)
            return time_base, average_step(_average_rate(stream), time_base), hidden_edges(container, stream)

    def _refuse_jump(self, pts: int | None, last: int | None, step: int) -> None:
        if None not in (pts, last) and pts < last - _FAR * step:
            raise MediaError(f'{self.path}: time stamps jump back midway, as in recordings strung together\n'
                             'split it there, or write it anew: ffmpeg -i IN -c copy OUT.mkv')

    def _report(self, empty: bool, repeated: int) -> None:
        failed = f'{self.undecodable} packets could not be decoded'
        if empty:
            raise EmptyVideo(f'{self.path}: its video stream yields no frame ({failed}); give another file')
        if self.undecodable:
            logging.getLogger(__name__).warning(
                '%s: %s; %d frames are repeats of the one before', self.path, failed, repeated)


def _next_pts(pts: int | None, last: int | None, step: int) -> int:
    """The frame's own time stamp, or the nearest in order where it is missing or runs backwards a little."""
    if pts is None:
        return 0 if last is None else last + step
    return pts if last is None else max(pts, last + 1)


def read_frames(path: StrPath, start: int = 0) -> FrameReader:
    """Iterates over the frames of a video file in the order they are shown, a few in memory at a time.

    Rotation from the container's metadata is applied. Frames that are lost because packets cannot be
    decoded (counted in the iterator's `undecodable`) are stood in for by the one before, so that nothing
    shifts against the sound; a file that breaks off ends with the last frame it holds. Frames before index
    `start` are decoded, but not yielded. Raises UnreadableMedia, NoVideo or EmptyVideo when the first frame
    is asked for.
    """
    return FrameReader(path, start)


def probe(path: StrPath) -> VideoInfo:
    """Reads what the header and the first frame tell about a video file; raises as `read_frames` does."""
    path = Path(path)
    first = next(shown(path), None)
    if first is None:
        raise EmptyVideo(f'{path}: its video stream yields no frame; give another file')
    with open_media(path) as container:
        return _described(path, container, video_stream(container, path), first)


def _described(path: Path, container: InputContainer, stream: VideoStream, first: Shown) -> VideoInfo:
    frame, orientation = first.frame, Orientation.of(first.frame)
    facts, crop = StreamFacts.of(container, stream), hidden_edges(container, stream)
    width, height = shown_size(frame, crop)
    rate, time_base, seconds = _average_rate(stream), exact(stream.time_base), _seconds(container, stream)
    shape = _pixel_shape(stream)
    if orientation.sideways:
        width, height, shape = height, width, 1 / shape
    return VideoInfo(
        path, width, height, rate, time_base, stream.frames or round(seconds * rate) or None,
        seconds, (first.pts or 0) * time_base, orientation.quarters * 90, shape,
        frame.format.name, depth(frame.format), frame.color_trc in _HDR_TRANSFERS, frame.interlaced_frame,
        stream.codec_context.name, len(container.streams.audio), len(container.streams.subtitles),
        mirrored=orientation.mirrored, alpha=_has_alpha(stream, frame), spherical=facts.spherical,
        chroma=facts.chroma, hdr10=HDR10.of(frame))


def _has_alpha(stream: VideoStream, frame: VideoFrame) -> bool:
    """Whether there is transparency, in the samples or, as in .webm, beside them."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    return tags.get('alpha_mode') == '1' or any(part.is_alpha for part in frame.format.components)


def hidden_edges(container: InputContainer, stream: VideoStream) -> tuple[int, int, int, int]:
    """Samples hidden at the top, bottom, left and right; none where nothing would be left."""
    crop = StreamFacts.of(container, stream).crop
    return crop if min(shown_size(stream.codec_context, crop)) > 0 else (0, 0, 0, 0)


def last_duration(path: StrPath, pts: int, frames: int) -> int | None:
    """Ticks of the stream's time base for which the frame at `pts`, the last of `frames`, is shown.

    Where these are all the frames of a stream that tells its length, that counts; else what the frame's own
    packet says. None where neither tells. In .mp4 both follow the order of decoding: of B-frames at odd times
    they are an estimate.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        if stream.duration and stream.frames == frames:
            left = (stream.start_time or 0) + stream.duration - pts
            if left > 0:
                return left
        try:
            container.seek(pts, stream=stream)
            found = next((packet for packet in container.demux(stream) if packet.pts == pts), None)
        except av.FFmpegError:  # not every file can be entered midway
            return None
        return found.duration or None if found else None


def _pixel_shape(stream: VideoStream) -> Fraction:
    shape = stream.sample_aspect_ratio
    return exact(shape) if shape else Fraction(1)


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


class Ticks:
    """A clock that ticks at k / rate seconds, k = 0, 1 ...: what shows a frame takes the one that is on then.

    A frame is on from its own time to that of the next; `slack` seconds are allowed for rounded times (None:
    a tenth of an interval).
    """

    def __init__(self, rate: float | Fraction, slack: Fraction | None = None) -> None:
        self._interval = 1 / Fraction(rate)
        self._slack = self._interval / 10 if slack is None else slack
        self._count = 0

    def before(self, time: float) -> int:
        """How many ticks lie before `time` (in seconds) that were not counted yet."""
        counted = self._count
        while self._count * self._interval + self._slack < time:
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
