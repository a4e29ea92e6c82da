"""What takes its time: a thread that restores videos one after the other, or looks for the faces of one."""
from __future__ import annotations

import logging
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from gavn.media import MediaError, fitting_ending
from gavn.restoration.choosing import TaskError
from gavn.restoration.comparison_video import before_and_after
from gavn.restoration.report import Report
from gavn.restoration.restore_video import restore_video
from gavn.restoration.settings import Settings
from gavn.restoration.video_source import VideoSource
from gavn.runtime.exit_codes import code_of
from gavn.web.images import before_and_after_pictures
from gavn.web.limits import RefusalError
from gavn.web.networks import Networks
from gavn.web.progress_tracker import CancelError, ProgressTracker
from gavn.web.videos import Result, Video, find_faces

KEPT = ('.mp4', '.mov', '.mkv')
EVEN_SO = 'even if the faces have another damage'
UNKNOWN = 'This failed for a reason that gavn does not know; the terminal says more.'
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestoreRequest:
    """What is asked for.

    Attributes:
        task: of `Networks`.
        faces: 'all', 'largest' or 'chosen': those that were chosen of each video, all of the others.
        strength, preview, scale, force_task: see `Settings`.
    """

    task: str = 'auto'
    faces: str = 'all'
    strength: float = 1.
    preview: float | None = None
    scale: str | None = None
    force_task: bool = False

    def settings(self, video: Video) -> Settings:
        """As the pipeline takes it.

        Raises ValueError for a strength that is none, RefusalError as `Video.which`.
        """
        faces = video.which(self.preview) if self.faces == 'chosen' else self.faces
        return Settings(strength=self.strength, faces=faces, preview=self.preview, scale=self.scale,
                        force_task=self.force_task)


Turn = Callable[[ProgressTracker], AbstractContextManager[None]]


class Job(ABC):
    """Work in a thread of its own.

    Args:
        turn: a context that is entered when it is this job's turn; it may raise CancelError.
        watch: is told how far the job is.
    """

    def __init__(self, turn: Turn, watch: ProgressTracker) -> None:
        self.watch, self._turn = watch, turn
        self._thread = threading.Thread(target=self._run, name='gavn web', daemon=True)

    def start(self) -> None:
        """Begins; once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is something to wait for."""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end early."""
        return self.watch.cancelled

    def cancel(self) -> None:
        """Ends the work soon."""
        self.watch.cancel()

    def join(self) -> None:
        """Waits for its end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._turn(self.watch):
                self._work()
        except CancelError:
            pass

    @abstractmethod
    def _work(self) -> None:
        """Raises CancelError where it was cancelled, and nothing else."""


class FaceJob(Job):
    """Looks for the faces of a video; says on the video what came of it."""

    def __init__(self, video: Video, turn: Turn, watch: ProgressTracker) -> None:
        super().__init__(turn, watch)
        self.video = video
        self.trouble: str | None = None

    def _work(self) -> None:
        video = self.video

        def find() -> None:
            video.found = find_faces(video, self.watch)
            video.chosen = frozenset(face.id for face in video.found.faces.faces)
        self.trouble = trouble_of(find, video)


class RestoreJob(Job):
    """Restores videos; says on each what became of it. One that fails does not stop the others."""

    def __init__(
        self,
        videos: Sequence[Video],
        order: RestoreRequest,
        networks: Networks,
        turn: Turn,
        watch: ProgressTracker,
    ) -> None:
        super().__init__(turn, watch)
        self.videos, self.order, self._networks = videos, order, networks

    def _work(self) -> None:
        count = len(self.videos)
        for number, video in enumerate(self.videos, 1):
            self.watch.about = f'{number} of {count}: {video.source.name}' if count > 1 else ''
            folder = video.source.with_name('restored')
            try:
                video.trouble = trouble_of(lambda video=video, folder=folder: self._one(video, folder), video)
            finally:
                if video.result is None:
                    shutil.rmtree(folder, ignore_errors=True)

    def _one(self, video: Video, folder: Path) -> None:
        self.watch.begin('reading the weights')
        folder.mkdir()
        restorer = self._networks.restorer(self.order.task)
        self.watch.begin('reading the video')
        target = folder / f'{video.source.stem}_gavn{_ending(video.source)}'
        settings = self.order.settings(video)
        found = video.found and video.found.first(self.order.preview)
        report = restore_video(video.source, target, restorer, settings, resume=False, progress=self.watch,
                               found=found if found and found.faces else None)
        self.watch.begin('choosing a picture')
        films = VideoSource.of(video.source).enlarged(self.order.scale), VideoSource.of(target)
        before, after = before_and_after_pictures(*films, report, folder)
        side = self._side(*films, report)
        self.watch.check()
        report, notes = plain(report, video.source, folder), target.with_name(f'{target.name}.json')
        report.write(notes)
        video.result = Result(target, notes, before, after, side, report, self.order.preview)

    def _side(self, before: VideoSource, after: VideoSource, report: Report) -> Path | None:
        side = after.path.with_name(f'{after.path.stem}_compare.mp4')
        try:
            before_and_after(before, after, side, 'side', self.watch)
        except MediaError as error:
            report.notice(f'No video of before and after could be made: {error}')
            return None
        return side


def _ending(source: Path) -> str:
    """The source's, where its container can hold the sound, else one that can."""
    return fitting_ending(source, source.suffix if source.suffix in KEPT else '.mkv')


def trouble_of(work: Callable[[], None], video: Video) -> str | None:
    """Does something about a video; returns in words why it failed, None if it did not.

    Raises CancelError. What gavn does not know goes to the log.
    """
    try:
        work()
    except CancelError:
        raise
    except Exception as error:
        if isinstance(error, TaskError):
            return f'{error.found}\nChoose auto, or tick "{EVEN_SO}".'
        if code_of(error) is None and not isinstance(error, RefusalError):
            _log.exception('%s failed', video.source.name)
            return UNKNOWN
        return without_paths(str(error), video.source, video.source.with_name('restored'))
    return None


def without_paths(words: str, source: Path, folder: Path | None = None) -> str:
    """The words with the names of files alone: where the server keeps them is nobody's concern."""
    words = words.removeprefix(f'{source}: ')
    for place in filter(None, (folder, source.parent)):
        words = words.replace(f'{place}/', '')
    return words


def plain(report: Report, source: Path, folder: Path) -> Report:
    """The report without the server's folders."""
    def short(words: str) -> str:
        return without_paths(words, source, folder)

    return replace(report, source=short(report.source), target=short(report.target),
                   weights={Path(name).name: digest for name, digest in report.weights.items()},
                   notices=[short(words) for words in report.notices])
