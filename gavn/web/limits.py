"""What the page takes: videos up to a size and a length; all else is refused in words, before any work."""
from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gavn.errors import GavnError
from gavn.media import VideoInfo, probe, read_frames


class RefusalError(GavnError):
    """What was asked for is not done; the message says why, and what to do."""


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        megabytes: the largest video, in millions of bytes.
        seconds: the longest video.
        videos: how many of them one page may hold.
        total_megabytes: all files of all pages together, results included; None: ten of the largest videos.
        idle: seconds after which the files of a page that was left open are removed.

    Raises ValueError for limits that let nothing through.
    """

    megabytes: float = 500
    seconds: float = 600
    videos: int = 20
    total_megabytes: float | None = None
    idle: float = 3600

    def __post_init__(self) -> None:
        total = self.total_megabytes
        if not (self.megabytes > 0 and self.seconds > 0 and self.videos > 0 and self.idle > 0
                and (total is None or total >= self.megabytes)):
            raise ValueError('limits are above 0, and the sum of all files is no less than that of one')

    @property
    def bytes(self) -> int:
        """The largest file."""
        return round(self.megabytes * 1e6)

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return round((self.total_megabytes or 10 * self.megabytes) * 1e6)

    def in_words(self) -> str:
        """As the page says it."""
        return f'up to {self.megabytes:g} MB and {length(self.seconds)}'

    def check_size(self, size: int) -> None:
        """Raises RefusalError for a file of `size` bytes that is beyond the limit, or empty."""
        if size > self.bytes:
            raise RefusalError(f'This file is too large: {size / 1e6:.1f} MB. '
                               f'This page takes {self.in_words()}.')
        if size <= 0:
            raise RefusalError('This file is empty.')

    def check(self, path: Path) -> VideoInfo:
        """What the video is.

        Raises RefusalError for one beyond a limit, or a picture; MediaError as `probe`.
        """
        self.check_size(path.stat().st_size)
        info = probe(path)
        with closing(read_frames(path)) as frames:
            next(frames)
            if next(frames, None) is None:
                raise RefusalError('This is a single picture, not a video. Give a video of a talking person.')
        if info.duration > self.seconds:
            raise RefusalError(f'This video is too long: {length(info.duration)}. '
                          f'This page takes {self.in_words()}.')
        return info

    def most_frames(self, info: VideoInfo) -> int:
        """How many frames a video may turn out to have whose header says that it is short enough."""
        return round(2 * self.seconds * max(info.frame_rate, 25))


def length(seconds: float) -> str:
    """`40 s`, `2 min`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f'{rest} s' if rest else f'{seconds:.1f} s'
    return f'{minutes} min {rest} s' if rest else f'{minutes} min'
