"""Progress reports of a restoration."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from tqdm import tqdm

from gavn.media import Frame


class Progress(Protocol):
    """Receives progress for every frame. An exception from `step` stops the restoration (resumable)."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """Reports that `done` of `total` frames (None: unknown) have passed the step `what`."""


class SilentProgress:
    """Ignores progress."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """Does nothing."""


class ProgressBars:
    """Shows a progress bar for each step in the terminal. Use it as a context manager."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def step(self, what: str, done: int, total: int | None) -> None:
        """Advances the bar; another `what` starts another bar."""
        if self._bar is None or self._bar.desc != what:
            self.__exit__()
            self._bar = tqdm(desc=what, total=total, unit='frame', initial=done - 1)
        self._bar.update(done - self._bar.n)


def counted(frames: Iterable[Frame], what: str, total: int | None, progress: Progress) -> Iterator[Frame]:
    """Yields the frames and reports each to `progress` after the caller has used it."""
    for done, frame in enumerate(frames, 1):
        yield frame
        progress.step(what, done, total)
