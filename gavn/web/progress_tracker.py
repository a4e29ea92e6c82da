"""Progress and cancellation of a job."""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from gavn.errors import GavnError
from gavn.web.limits import RefusalError


class CancelError(GavnError):
    """The job was cancelled."""


@dataclass(frozen=True)
class State:
    """Progress of a job.

    Attributes:
        what: the current step.
        done, total: frames; `total` is None if unknown.
        seconds: time since the start of the step.
        about: which of several videos.
    """

    what: str = 'reading the video'
    done: int = 0
    total: int | None = None
    seconds: float = 0.
    about: str = ''

    @property
    def rate(self) -> float | None:
        """Frames per second; None at the start."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Remaining seconds of the step; None if unknown."""
        return max(self.total - self.done, 0) / self.rate if self.total and self.rate else None


class ProgressTracker:
    """Receives progress (see `gavn.restoration.progress.Progress`) and stops a cancelled job.

    Args:
        max_frames: a video with more frames is refused.
    """

    def __init__(self, max_frames: int | None = None) -> None:
        self.max_frames = max_frames
        self.about = ''
        self.state = State()
        self._began = self._latest = time.monotonic()
        self._cancelled = threading.Event()

    def begin(self, what: str) -> None:
        """Starts a step without frame counts. Raises CancelError."""
        self.check()
        self._began = self._latest = time.monotonic()
        self.state = State(what, about=self.about)

    def step(self, what: str, done: int, total: int | None) -> None:
        """Reports a frame. Raises CancelError, or RefusalError if there are too many frames."""
        self.check()
        if self.max_frames is not None and done > self.max_frames:
            raise RefusalError('This video is longer than its header states, and too long for this page.')
        now = time.monotonic()
        if (what, self.about) != (self.state.what, self.state.about):  # started when the last ended
            self._began = self._latest
        self._latest = now
        self.state = State(what, done, total, now - self._began, self.about)

    def cancel(self) -> None:
        """Stops the job at its next step."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises CancelError if the job was cancelled."""
        if self.cancelled:
            raise CancelError
