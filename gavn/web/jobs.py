"""Jobs of the page: restoring videos, and finding the faces of a video, in a thread."""
from __future__ import annotations

import logging
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gavn.media import MediaError, VideoReader, fitting_ending
from gavn.restoration.comparison_video import before_and_after
from gavn.restoration.report import Report
from gavn.restoration.restore_video import restore_video
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import TaskError
from gavn.runtime.exit_codes import code_of
from gavn.runtime.file_names import output_ending
from gavn.web.job_queue import Turn
from gavn.web.limits import RefusalError
from gavn.web.networks import Networks
from gavn.web.progress_tracker import CancelError, ProgressTracker
from gavn.web.videos import RestoredVideo, Video, find_faces, write_comparison_images

FORCE_LABEL = 'even if the faces have another degradation'
UNKNOWN = 'An unexpected error occurred; see the terminal.'
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestoreRequest:
    """The settings on the page.

    Attributes:
        task: one of `Networks.tasks`.
        faces: 'all', 'largest' or 'chosen' (the selected faces of each video; all if none were selected).
        strength, preview, scale, force_task: see `Settings`.
    """

    task: str = 'auto'
    faces: str = 'all'
    strength: float = 1.
    preview: float | None = None
    scale: str | None = None
    force_task: bool = False

    def settings(self, video: Video) -> Settings:
        """Returns the settings for a video.

        Raises:
            ValueError: a value is out of range.
            RefusalError: see `Video.which`.
        """
        faces = video.which(self.preview) if self.faces == 'chosen' else self.faces
        return Settings(strength=self.strength, faces=faces, preview=self.preview, scale=self.scale,
                        force_task=self.force_task)


class WebJob(ABC):
    """Work in a thread of its own.

    Args:
        turn: see `JobQueue.admit`.
        tracker: receives the progress.
    """

    def __init__(self, turn: Turn, tracker: ProgressTracker) -> None:
        self.tracker, self._turn = tracker, turn
        self._thread = threading.Thread(target=self._run, name='gavn web', daemon=True)

    def start(self) -> None:
        """Starts the thread; call it once.

        Raises:
            RefusalError: the system starts no more threads. The job has left the queue.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            self._turn.give_back()
            _log.exception('a job has no thread')
            raise RefusalError('The server cannot start a job now. Try again later.') from error

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self.tracker.cancelled

    def cancel(self) -> None:
        """Stops the job at its next step."""
        self.tracker.cancel()

    def join(self) -> None:
        """Waits for the end of the job."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._turn(self.tracker) as worker:
                self._work(worker)
        except CancelError:
            pass
        except RefusalError as error:
            self._refuse(str(error))

    @abstractmethod
    def _work(self, worker: int) -> None:
        """Does the work; raises nothing but CancelError."""

    @abstractmethod
    def _refuse(self, reason: str) -> None:
        """Stores why the job did not start."""


class FaceJob(WebJob):
    """Finds the faces of a video and stores them in the video."""

    def __init__(self, video: Video, turn: Turn, tracker: ProgressTracker) -> None:
        super().__init__(turn, tracker)
        self.video = video
        self.failure: str | None = None

    def _work(self, worker: int) -> None:
        video = self.video

        def find() -> None:
            video.found = find_faces(video, self.tracker)
            video.chosen = frozenset(face.id for face in video.found.faces.faces)
        self.failure = failure_of(find, video)

    def _refuse(self, reason: str) -> None:
        self.failure = reason


class RestoreJob(WebJob):
    """Restores videos and stores each result in its video. A failure does not stop the others."""

    def __init__(self, videos: Sequence[Video], request: RestoreRequest, networks: Networks, turn: Turn,
                 tracker: ProgressTracker) -> None:
        super().__init__(turn, tracker)
        self.videos, self.request, self._networks = videos, request, networks

    def _refuse(self, reason: str) -> None:
        for video in self.videos:
            video.failure = reason

    def _work(self, worker: int) -> None:
        count = len(self.videos)
        for number, video in enumerate(self.videos, 1):
            self.tracker.about = f'{number} of {count}: {video.source.name}' if count > 1 else ''
            folder = video.source.with_name('restored')
            try:
                video.failure = failure_of(partial(self._restore, video, folder, worker), video)
            finally:
                if video.result is None:
                    shutil.rmtree(folder, ignore_errors=True)

    def _restore(self, video: Video, folder: Path, worker: int) -> None:
        self.tracker.begin('loading the weights')
        folder.mkdir()
        restorer = self._networks.restorer(self.request.task, worker)
        self.tracker.begin('reading the video')
        target = folder / f'{video.source.stem}_gavn{_ending(video.source)}'
        settings = self.request.settings(video)
        found = video.found and video.found.first(self.request.preview)
        report = restore_video(video.source, target, restorer, settings, resume=False, progress=self.tracker,
                               found=found if found and found.faces else None)
        self.tracker.begin('comparing')
        both = VideoReader.from_path(video.source).enlarged(self.request.scale), VideoReader.from_path(target)
        before, after = write_comparison_images(*both, report, folder)
        side = self._comparison_video(*both, report)
        self.tracker.check()
        report, notes = plain(report, video.source, folder), target.with_name(f'{target.name}.json')
        report.write(notes)
        video.result = RestoredVideo(target, notes, before, after, side, report, self.request.preview)

    def _comparison_video(self, before: VideoReader, after: VideoReader, report: Report) -> Path | None:
        side = after.path.with_name(f'{after.path.stem}_compare.mp4')
        try:
            before_and_after(before, after, side, 'side', self.tracker)
        except MediaError as error:
            report.notices.append(f'No comparison video could be written: {error}')
            return None
        return side


def _ending(source: Path) -> str:
    """Returns the extension of the source if its container can hold the audio, else another."""
    return fitting_ending(source, output_ending(source))


def failure_of(work: Callable[[], None], video: Video) -> str | None:
    """Runs `work` and returns the error message for the page; None if it succeeds.

    Unexpected errors are logged.

    Raises:
        CancelError: the work was cancelled.
    """
    try:
        work()
    except CancelError:
        raise
    except Exception as error:
        if isinstance(error, TaskError):
            return f'{error.found}\nSelect auto, or tick "{FORCE_LABEL}".'
        if code_of(error) is None and not isinstance(error, RefusalError):
            _log.exception('%s failed', video.source.name)
            return UNKNOWN
        return without_paths(str(error), video.source, video.source.with_name('restored'))
    return None


def without_paths(message: str, source: Path, folder: Path | None = None) -> str:
    """Removes the folders of the server from a message."""
    message = message.removeprefix(f'{source}: ')
    for parent in filter(None, (folder, source.parent)):
        message = message.replace(f'{parent}/', '')
    return message


def plain(report: Report, source: Path, folder: Path) -> Report:
    """Returns the report without the folders of the server."""
    def short(message: str) -> str:
        return without_paths(message, source, folder)

    return replace(report, source=short(report.source), target=short(report.target),
                   weights={Path(name).name: digest for name, digest in report.weights.items()},
                   notices=[short(notice) for notice in report.notices])
