"""Copies a video without encoding."""
from __future__ import annotations

import shutil
from contextlib import closing
from itertools import islice, zip_longest
from pathlib import Path

import av

from gavn.media.container import MediaError, StrPath, exact, open_media, video_stream
from gavn.media.frame import Frame
from gavn.media.mux import join
from gavn.media.other_streams import Notice, warn
from gavn.media.reader import probe, read_frames
from gavn.media.segments import unique_stamps
from gavn.runtime.files import atomic_path

_COMPARED = 8  # first frames that are compared
_OWN_CONTAINER = ('gif', 'apng', 'webp')  # animated images, which players do not find inside a video
_ROUNDING = 0.0011  # seconds; .mkv has milliseconds


def copied(source: StrPath, target: StrPath, audio: StrPath | None = None, notice: Notice = warn) -> None:
    """Copies a video: the whole file if the container stays the same, else its packets.

    Args:
        target: the file to write; it is complete or absent.
        audio: a file whose audio replaces that of the video.
        notice: receives messages about dropped and converted streams; by default they are logged.

    Raises:
        MediaError: the container of the target does not support the streams, or the decoded copy differs, or
            the video is an animated image.
    """
    if audio is None and Path(source).suffix.lower() == Path(target).suffix.lower():
        with atomic_path(target) as part:
            shutil.copyfile(source, part)
        return
    if (codec := probe(source).codec) in _OWN_CONTAINER:
        raise MediaError(f'{source}: {codec} is not copied into {target}; players do not show it there')
    try:
        join(target, None, source, audio=audio, notice=notice)
    except av.FFmpegError as error:
        raise MediaError(f'{source}: cannot be copied into {target} ({error.strerror})') from error
    if not is_same_video(source, target):
        Path(target).unlink()
        raise MediaError(f'{source}: the copy in {target} differs when it is decoded')


def is_same_video(one: StrPath, other: StrPath) -> bool:
    """Returns whether two files agree in size, rotation, packet times and first frames."""
    try:
        first, second = probe(one), probe(other)
        properties = [(info.width, info.height, info.rotation, info.pixel_shape, info.pix_fmt, info.codec)
                      for info in (first, second)]
        return properties[0] == properties[1] and _same_times(one, other) and all(
            _same_frame(*pair) for pair in zip_longest(_beginning(one), _beginning(other)))
    except (MediaError, av.FFmpegError):
        return False


def _same_times(one: StrPath, other: StrPath) -> bool:
    times = [_times(path) for path in (one, other)]
    return len(times[0]) == len(times[1]) and all(
        abs(a - b) <= _ROUNDING for a, b in zip(*times, strict=True))


def _times(path: StrPath) -> list[float]:
    """Returns the presentation times of packets, in seconds after the first, in decoding order."""
    with open_media(path) as container:
        time_base = exact(video_stream(container, path).time_base)
    stamps = unique_stamps(Path(path))
    first = min(stamps)
    return [float((stamp - first) * time_base) for stamp in stamps]


def _beginning(path: StrPath) -> list[Frame]:
    with closing(read_frames(path)) as frames:
        return list(islice(frames, _COMPARED))


def _same_frame(one: Frame | None, other: Frame | None) -> bool:
    return (one is not None and other is not None and abs(one.time - other.time) <= _ROUNDING
            and bool((one.image == other.image).all()))
