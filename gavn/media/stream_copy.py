"""A video as it is, in a file of another name: nothing of it is encoded again."""
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
from gavn.runtime.files import atomic_path

_COMPARED = 8  # frames from the beginning
_ROUNDING = 0.0011  # seconds: .mkv knows milliseconds


def copied(source: StrPath, target: StrPath, sound: StrPath | None = None, notice: Notice = warn) -> None:
    """Writes a video as it is: byte by byte into a file of the same kind, else packet by packet.

    Args:
        source: the video.
        target: the file to write; it is whole or absent.
        sound: a file whose sound tracks take the place of its own.
        notice: takes words about streams that are left out or converted; by default they are logged.

    Raises MediaError where the packets do not go into the container of the target, or would not show there
    what they show here.
    """
    if sound is None and Path(source).suffix.lower() == Path(target).suffix.lower():
        with atomic_path(target) as part:
            shutil.copyfile(source, part)
        return
    try:
        join(target, None, source, sound=sound, notice=notice)
    except av.FFmpegError as error:
        raise MediaError(f'{source}: cannot be copied into {target} ({error.strerror})') from error
    if not is_same_video(source, target):
        Path(target).unlink()
        raise MediaError(f'{source}: what is copied into {target} does not show the same')


def is_same_video(one: StrPath, other: StrPath) -> bool:
    """Whether two files show the same: size, turning, number of packets, their times, the first pictures."""
    try:
        first, second = probe(one), probe(other)
        looks = [(info.width, info.height, info.rotation, info.pixel_shape, info.pix_fmt, info.codec)
                 for info in (first, second)]
        return looks[0] == looks[1] and _same_times(one, other) and all(
            _same_picture(*pair) for pair in zip_longest(_beginning(one), _beginning(other)))
    except (MediaError, av.FFmpegError):
        return False


def _same_times(one: StrPath, other: StrPath) -> bool:
    times = [_times(path) for path in (one, other)]
    return len(times[0]) == len(times[1]) and all(
        abs(a - b) <= _ROUNDING for a, b in zip(*times, strict=True))


def _times(path: StrPath) -> list[float]:
    """Seconds of each packet after the first that is shown, in the order of time."""
    with open_media(path) as container:
        stream = video_stream(container, path)
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.size)
        return [float((stamp - stamps[0]) * exact(stream.time_base)) for stamp in stamps]


def _beginning(path: StrPath) -> list[Frame]:
    with closing(read_frames(path)) as frames:
        return list(islice(frames, _COMPARED))


def _same_picture(one: Frame | None, other: Frame | None) -> bool:
    return None not in (one, other) and (one.image == other.image).all()
