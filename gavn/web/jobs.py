"""One restoration: what is asked for, the thread that does it, and what comes of it."""
from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from gavn.pipeline.compare import before_and_after
from gavn.pipeline.face_tracker import NoFace
from gavn.pipeline.face_tracks import ChoiceError
from gavn.pipeline.film import Film
from gavn.pipeline.recipe import DeviceError, RestoreError
from gavn.pipeline.report import Report
from gavn.pipeline.settings import Settings
from gavn.pipeline.target import TargetError
from gavn.pipeline.video import restore_video
from gavn.utils.checkpoint import CheckpointError
from gavn.utils.media import MediaError
from gavn.utils.model_store import ModelError
from gavn.web.limits import RefusalError
from gavn.web.networks import Networks
from gavn.web.pictures import before_and_after_pictures
from gavn.web.watch import CancelError, Watch

TOLD = (RefusalError, NoFace, MediaError, ChoiceError, RestoreError, CheckpointError, ModelError, DeviceError,
        TargetError, OSError)
"""Errors whose message is meant for whoever gave the video."""
KEPT = ('.mp4', '.mov', '.mkv')
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is asked for: a task of `Networks`, which faces, how much, and how many seconds (None: all)."""

    task: str = 'auto'
    faces: str = 'all'
    strength: float = 1.
    preview: float | None = None

    def settings(self) -> Settings:
        """As the pipeline takes it. Raises ValueError for a strength that is none."""
        return Settings(strength=self.strength, faces=self.faces, preview=self.preview)


@dataclass(frozen=True)
class Result:
    """Files of a finished job: the video, its report, two pictures of a face, both videos side by side.

    `side` is None where such a video could not be made; the report then has a notice.
    """

    video: Path
    notes: Path
    before: Path
    after: Path
    side: Path | None
    report: Report


class Job:
    """A restoration in a thread of its own; its folder goes with it unless it ends with a result.

    Args:
        source: the video; it stays as it is.
        order: what is asked for.
        folder: for its files, not there yet.
        networks: what restores.
        turn: a context that is entered when it is this job's turn; it may raise CancelError.
        watch: is told how far the job is.
    """

    def __init__(self, source: Path, order: Order, folder: Path, networks: Networks,
                 turn: Callable[[Watch], AbstractContextManager[None]], watch: Watch) -> None:
        self.source, self.order, self.folder, self.watch = source, order, folder, watch
        self.result: Result | None = None
        self.trouble: str | None = None
        self._networks, self._turn = networks, turn
        self._thread = threading.Thread(target=self._run, name='restoration', daemon=True)

    def start(self) -> None:
        """Begins; once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is something to wait for."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Ends the work soon, without a result."""
        self.watch.cancel()

    def join(self) -> None:
        """Waits for its end."""
        self._thread.join()

    def remove(self) -> None:
        """Ends the job and removes what it made."""
        self.cancel()
        self.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            with self._turn(self.watch):
                self.folder.mkdir(parents=True)
                self.result = self._work()
        except CancelError:
            pass
        except TOLD as error:
            self.trouble = without_paths(str(error), self.source, self.folder)
        except Exception:
            _log.exception('a restoration failed')
            self.trouble = 'This failed for a reason that gavn does not know; the terminal says more.'
        if self.result is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _work(self) -> Result:
        source, watch = self.source, self.watch
        ending = source.suffix if source.suffix in KEPT else '.mkv'
        target = self.folder / f'{source.stem}_gavn{ending}'
        watch.begin('reading the weights')
        restorer = self._networks.restorer(self.order.task)
        watch.begin('reading the video')
        report = restore_video(source, target, restorer, self.order.settings(), resume=False, progress=watch)
        watch.begin('choosing a picture')
        before, after = before_and_after_pictures(source, target, report, self.folder)
        side = self._side(target, report)
        watch.check()
        report = plain(report, self.source, self.folder)
        notes = target.with_name(f'{target.name}.json')
        report.write(notes)
        return Result(target, notes, before, after, side, report)

    def _side(self, target: Path, report: Report) -> Path | None:
        side = target.with_stem(f'{target.stem}_compare')
        try:
            before_and_after(Film.of(self.source), Film.of(target), side, 'side', self.watch)
        except MediaError as error:
            report.notice(f'No video of before and after could be made: {error}')
            return None
        return side


def without_paths(words: str, source: Path, folder: Path | None = None) -> str:
    """The words with the names of files alone: where the server keeps them is nobody's concern."""
    words = words.removeprefix(f'{source}: ')
    for place in filter(None, (source.parent, folder)):
        words = words.replace(f'{place}/', '')
    return words


def plain(report: Report, source: Path, folder: Path) -> Report:
    """The report without the server's folders."""
    def short(words: str) -> str:
        return without_paths(words, source, folder)

    return replace(report, source=short(report.source), target=short(report.target),
                   weights={Path(name).name: digest for name, digest in report.weights.items()},
                   notices=[short(words) for words in report.notices])
