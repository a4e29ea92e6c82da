"""How far a job has come, for those who wait for it, and how they end it."""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from gavn.errors import GavnError
from gavn.web.limits import RefusalError


class CancelError(GavnError):
    """Whoever asked for the work does not want it any more."""


@dataclass(frozen=True)
class State:
    """What is done at a moment: `done` of `total` frames (None: not known), `seconds` since it began.

    `about` says with which of several videos.
    """

    what: str = 'reading the video'
    done: int = 0
    total: int | None = None
    seconds: float = 0.
    about: str = ''

    @property
    def rate(self) -> float | None:
        """Frames a second; None at the beginning."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that remain of what is done now, at this rate; None where that is not known."""
        return max(self.total - self.done, 0) / self.rate if self.total and self.rate else None


class ProgressTracker:
    """Is told of every frame (`gavn.restoration.progress.Progress`), and ends the work when it is cancelled.

    Args:
        most_frames: what a video may have; one with more is refused when they are reached.
    """

    def __init__(self, most_frames: int | None = None) -> None:
        self.most_frames = most_frames
        self.about = ''
        self.state = State()
        self._began = self._latest = time.monotonic()
        self._cancelled = threading.Event()

    def begin(self, what: str) -> None:
        """Something without frames is done now. Raises CancelError."""
        self.check()
        self._began = self._latest = time.monotonic()
        self.state = State(what, about=self.about)

    def step(self, what: str, done: int, total: int | None) -> None:
        """One more frame. Raises CancelError, or RefusalError for a video longer than its header says."""
        self.check()
        if self.most_frames is not None and done > self.most_frames:
            raise RefusalError('This video is longer than its header says, and too long for this page.')
        now = time.monotonic()
        if (what, self.about) != (self.state.what, self.state.about):  # it began as the last ended
            self._began = self._latest
        self._latest = now
        self.state = State(what, done, total, now - self._began, self.about)

    def cancel(self) -> None:
        """Ends the work at its next step."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises CancelError if it was."""
        if self.cancelled:
            raise CancelError
