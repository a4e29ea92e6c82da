"""Reads video files with PyAV: properties, and upright frames with time stamps."""
import logging
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
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
from gavn.media.decode import DecodedFrame, decode_and_replace
from gavn.media.frame import Frame, FrameIterator, ToBGR, Upright, depth, shown_size
from gavn.media.side_data import HDR10, Orientation

_MAX_BACKWARD = 5  # frames that a time stamp may go back; more means another recording
_HDR_TRANSFERS = {16, 18}  # PQ and HLG


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file."""

    path: Path  # the file
    # width, height: of the upright image, in pixels
    width: int
    height: int
    frame_rate: Fraction  # average frames per second; intervals may vary
    time_base: Fraction  # seconds per tick of time stamps
    frames: int | None  # number of frames; None if unknown
    duration: float  # in seconds
    start: Fraction  # time of the first frame on the clock of the container, in seconds
    rotation: int  # counter-clockwise rotation that makes the stored image upright: 0, 90, 180 or 270 degrees
    pixel_shape: Fraction  # pixel aspect ratio of the upright image
    pix_fmt: str  # pixel format of the stored image
    depth: int  # bits per sample
    hdr: bool  # whether the transfer function is PQ or HLG
    interlaced: bool  # whether the first frame is interlaced
    codec: str  # name of the codec
    # audio_tracks, subtitle_tracks: numbers of streams
    audio_tracks: int
    subtitle_tracks: int
    mirrored: bool = False  # whether the stored image is mirrored before it is rotated
    alpha: bool = False  # whether there is an alpha channel
    spherical: bool = False  # whether the video is spherical or stereoscopic
    chroma: str | None = None  # chroma location, by FFmpeg's names; None if unknown
    hdr10: HDR10 = field(default_factory=HDR10)  # mastering display and light levels

    @property
    def as_stored(self) -> bool:
        """Whether the stored image is upright."""
        return not self.rotation and not self.mirrored


def _average_rate(stream: VideoStream) -> Fraction:
    return exact(stream.average_rate or stream.guessed_rate or Fraction(25))


def average_step(frame_rate: Fraction, time_base: Fraction) -> int:
    """Returns the average ticks between frames, given the time base in seconds."""
    return max(1, round(1 / (frame_rate * time_base)))


def read_frames(path: StrPath, start: int = 0) -> FrameIterator:
    """Yields the frames of a video in presentation order, with a few frames in memory.

    Rotation and cropping from the container are applied. Undecodable frames are replaced by the previous
    frame, so that audio and video stay aligned. A truncated file ends with its last frame.

    Args:
        start: index of the first frame to yield; earlier frames are decoded, but not yielded.

    Raises:
        UnreadableMedia, NoVideo, EmptyVideo: when the first frame is requested.
    """
    path, failures = Path(path), 0

    def count_failure() -> None:
        nonlocal failures
        failures += 1

    time_base, step, crop = _layout(path)
    to_upright, to_bgr, first, last, repeated = Upright(crop), ToBGR(), None, None, 0
    for index, item in enumerate(decode_and_replace(path, count_failure)):
        _check_order(path, item.pts, last, step)
        last = next_pts(item.pts, last, step)
        first = last if first is None else first
        repeated += item.repeated
        if index == 0 or index >= start:  # the first determines the format of all
            av_frame = to_upright(item.frame)
        if index >= start:
            yield Frame(av_frame, last, float((last - first) * time_base), index, item.repeated,
                        to_bgr=to_bgr)
    failed = f'{failures} packets could not be decoded'
    if first is None:
        raise EmptyVideo(f'{path}: no frame of the video stream can be decoded ({failed}); use another file')
    if failures:
        logging.getLogger(__name__).warning(
            '%s: %s; %d frames were replaced by the previous frame', path, failed, repeated)


def _layout(path: Path) -> tuple[Fraction, int, tuple[int, int, int, int]]:
    """Returns the time base in seconds, the average ticks between frames, and the cropped edges."""
    with open_media(path) as container:
        stream = video_stream(container, path)
        time_base = exact(stream.time_base)
        return time_base, average_step(_average_rate(stream), time_base), hidden_edges(container, stream)


def _check_order(path: Path, pts: int | None, last: int | None, step: int) -> None:
    if pts is not None and last is not None and pts < last - _MAX_BACKWARD * step:
        raise MediaError(f'{path}: time stamps jump back, as between concatenated recordings\n'
                         'split it there, or remux it: ffmpeg -i IN -c copy OUT.mkv')


def next_pts(pts: int | None, last: int | None, step: int) -> int:
    """Returns the time stamp of a frame, or the next in order if it is missing or goes back a little."""
    if pts is None:
        return 0 if last is None else last + step
    return pts if last is None else max(pts, last + 1)


def probe(path: StrPath) -> VideoInfo:
    """Reads the properties of a video from its header and first frame; raises as `read_frames`."""
    path = Path(path)
    first = next(decode_and_replace(path), None)
    if first is None:
        raise EmptyVideo(f'{path}: no frame of the video stream can be decoded; use another file')
    with open_media(path) as container:
        return _video_info(path, container, video_stream(container, path), first)


def _video_info(path: Path, container: InputContainer, stream: VideoStream, first: DecodedFrame) -> VideoInfo:
    frame, orientation = first.frame, Orientation.from_frame(first.frame)
    facts, crop = StreamFacts.from_stream(container, stream), hidden_edges(container, stream)
    width, height = shown_size(frame, crop)
    rate, time_base = _average_rate(stream), exact(stream.time_base)
    start = (first.pts or 0) * time_base
    seconds = _seconds(container, stream, float(start))
    shape = exact(stream.sample_aspect_ratio or Fraction(1))
    if orientation.sideways:
        width, height, shape = height, width, 1 / shape
    return VideoInfo(
        path, width, height, rate, time_base, stream.frames or round(seconds * rate) or None,
        seconds, start, orientation.quarters * 90, shape,
        frame.format.name, depth(frame.format), frame.color_trc in _HDR_TRANSFERS, frame.interlaced_frame,
        stream.codec_context.name, len(container.streams.audio), len(container.streams.subtitles),
        mirrored=orientation.mirrored, alpha=_has_alpha(stream, frame), spherical=facts.spherical,
        chroma=facts.chroma, hdr10=HDR10.from_frame(frame))


def _has_alpha(stream: VideoStream, frame: VideoFrame) -> bool:
    """Returns whether there is an alpha channel, in the samples or (in .webm) in a separate stream."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    return tags.get('alpha_mode') == '1' or any(part.is_alpha for part in frame.format.components)


def hidden_edges(container: InputContainer, stream: VideoStream) -> tuple[int, int, int, int]:
    """Returns the samples to crop at the top, bottom, left and right; zeros if nothing would remain."""
    crop = StreamFacts.from_stream(container, stream).crop
    return crop if min(shown_size(stream.codec_context, crop)) > 0 else (0, 0, 0, 0)


def last_duration(path: StrPath, pts: int, frames: int) -> int | None:
    """Returns the duration of the frame at `pts`, the last of `frames`, in ticks; None if unknown.

    If these are all frames of the stream, the stream duration determines it, else the packet duration. In
    .mp4 both follow the decoding order, so that they are an estimate for B-frames at irregular times.
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
        except av.FFmpegError:  # not every file is seekable
            return None
        return found.duration or None if found else None


def missing_end(path: StrPath) -> float:
    """Returns how many seconds before the end in the header all streams end: above 0 in truncated files."""
    with open_media(path) as container:
        ends = [(packet.pts + (packet.duration or 0)) * exact(packet.time_base)
                for packet in container.demux() if packet.pts is not None]
        return max(0., (container.duration or 0) / av.time_base - float(max(ends, default=0)))


def _seconds(container: InputContainer, stream: VideoStream, start: float) -> float:
    """Returns the duration of a stream that begins at `start` seconds.

    Matroska has no duration of streams but their ends as tags, "00:01:02.500000000". Without a tag the end of
    the file counts, where audio and subtitles may last longer.
    """
    if stream.duration is not None:
        return float(stream.duration * exact(stream.time_base))
    if found := re.fullmatch(r'(\d+):(\d\d):(\d\d\.\d+)', stream.metadata.get('DURATION', '')):
        hours, minutes, seconds = map(float, found.groups())
        end = 3600 * hours + 60 * minutes + seconds
    else:
        end = (container.duration or 0) / av.time_base
    return max(0., end - max(0., start))
