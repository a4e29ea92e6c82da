"""Limits on the videos that the page accepts."""
from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gavn.errors import ArgumentError, GavnError
from gavn.media import VideoInfo, probe, read_frames


class RefusalError(GavnError):
    """A request is refused; the message says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        megabytes: largest video, in 10^6 bytes.
        seconds: longest video.
        videos: largest number of videos per page.
        total_megabytes: all files of all pages, results included; None = ten times `megabytes`.
        waiting: largest number of jobs that wait for a worker.
        jobs: largest number of jobs of one client, running or waiting.
        idle: seconds after which the files of an unused page are removed.

    Raises:
        ArgumentError: the limits accept nothing.
    """

    megabytes: float = 500
    seconds: float = 600
    videos: int = 20
    total_megabytes: float | None = None
    idle: float = 3600
    waiting: int = 100
    jobs: int = 3

    def __post_init__(self) -> None:
        total = self.total_megabytes
        if not (self.megabytes > 0 and self.seconds > 0 and self.videos > 0 and self.idle > 0
                and self.waiting >= 0 and self.jobs > 0 and (total is None or total >= self.megabytes)):
            raise ArgumentError('limits must be above 0, and the total must not be less than the largest '
                                'video')

    @property
    def bytes(self) -> int:
        """Size of the largest file in bytes."""
        return round(self.megabytes * 1e6)

    @property
    def total_bytes(self) -> int:
        """Size of all files in bytes."""
        return round((self.total_megabytes or 10 * self.megabytes) * 1e6)

    def describe(self) -> str:
        """Returns text such as `up to 500 MB and 10 min`."""
        return f'up to {self.megabytes:g} MB and {length(self.seconds)}'

    def check_size(self, size: int) -> None:
        """Raises RefusalError if a file of `size` bytes is too large or empty."""
        if size > self.bytes:
            raise RefusalError(f'This file is too large: {size / 1e6:.1f} MB. '
                               f'The limit is {self.describe()}.')
        if size <= 0:
            raise RefusalError('This file is empty.')

    def check(self, path: Path) -> VideoInfo:
        """Probes a video.

        Raises:
            RefusalError: the video exceeds a limit, or is a single image.
            MediaError: see `probe`.
        """
        self.check_size(path.stat().st_size)
        info = probe(path)
        with closing(read_frames(path)) as frames:
            next(frames)
            if next(frames, None) is None:
                raise RefusalError('This is a single image, not a video. Upload a video of a talking person.')
        if info.duration > self.seconds:
            raise RefusalError(f'This video is too long: {length(info.duration)}. '
                               f'The limit is {self.describe()}.')
        return info

    def max_frames(self, info: VideoInfo) -> int:
        """Returns how many frames a video may have, even if its header states a shorter duration."""
        return round(2 * self.seconds * max(float(info.frame_rate), 25.))


def length(seconds: float) -> str:
    """Formats a duration: `40 s`, `2 min`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f'{rest} s' if rest else f'{seconds:.1f} s'
    return f'{minutes} min {rest} s' if rest else f'{minutes} min'
