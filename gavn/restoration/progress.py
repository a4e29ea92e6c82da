"""Who is told how far a restoration has come."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from tqdm import tqdm

from gavn.media import Frame


class Progress(Protocol):
    """Is told of every frame. What `step` raises ends the restoration, which can be gone on with later."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` frames (None: it is not known) are through with `what`, as in 'restoring'."""


class SilentProgress:
    """Tells nobody."""

    def step(self, what: str, done: int, total: int | None) -> None:
        """Does nothing."""


class ProgressBars:
    """A bar in the terminal for each thing that is done; to be used as a context, which ends the last."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def step(self, what: str, done: int, total: int | None) -> None:
        """Moves the bar on; another `what` begins another bar."""
        if self._bar is None or self._bar.desc != what:
            self.__exit__()
            self._bar = tqdm(desc=what, total=total, unit='frame', initial=done - 1)
        self._bar.update(done - self._bar.n)


def counted(frames: Iterable[Frame], what: str, total: int | None, progress: Progress) -> Iterator[Frame]:
    """The frames, each of which is told of when it has been dealt with."""
    for done, frame in enumerate(frames, 1):
        yield frame
        progress.step(what, done, total)
