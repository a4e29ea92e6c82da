"""The videos and jobs of all who have the page open: several videos each, one job at a time for all."""
from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from gavn.media import MediaError
from gavn.web.files import Files
from gavn.web.jobs import FaceJob, Job, RestoreJob, RestoreRequest, without_paths
from gavn.web.limits import Limits, RefusalError, length
from gavn.web.networks import Networks
from gavn.web.progress_tracker import ProgressTracker
from gavn.web.uploads import Uploads
from gavn.web.videos import Video, look_at

_POLL = 0.1  # seconds
_EXPIRED = 1000  # names of pages that are remembered, to tell them that their files are gone


@dataclass
class Session:
    """One open page: its folder, its videos by key in the order they came, its latest job."""

    folder: Path
    videos: dict[str, Video] = field(default_factory=dict)
    job: Job | None = None
    touched: float = field(default_factory=time.monotonic)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.job is not None and self.job.running


class SessionManager:
    """Takes videos in and gives jobs out.

    Args:
        folder: where uploads arrive, and where sessions have folders of their own.
        networks: what restores.
        limits: which videos are taken.
    """

    def __init__(self, folder: Path, networks: Networks, limits: Limits) -> None:
        self.folder, self.networks, self.limits = folder.resolve(), networks, limits
        self.uploads, self.files = Uploads(self.folder, limits), Files()
        self._sessions: dict[str, Session] = {}
        self._expired: dict[str, None] = {}
        self._turn, self._guard = threading.Lock(), threading.Lock()

    def take(self, session: str, token: str) -> Video:
        """The uploaded file that the token stands for, as a video of the session.

        Raises RefusalError for a token that is none, a file that is no video or beyond the limits, or one too
        many; the file is removed then.
        """
        own, upload = self._session(session), self.uploads.claim(token)
        try:
            return self._admit(own, upload)
        finally:
            shutil.rmtree(upload.parent)

    def take_example(self, session: str, example: Path) -> Video:
        """As `take`; the example stays. One that the session has already is that one."""
        own = self._session(session)
        same = (video for video in own.videos.values() if video.source.samefile(example))
        return next(same, None) or self._admit(own, example)

    def _admit(self, own: Session, file: Path) -> Video:
        if len(own.videos) >= self.limits.videos:
            raise RefusalError(f'{file.name}: a page holds {self.limits.videos} videos at most. '
                               'Remove one first.')
        folder = own.folder / token_hex(4)
        folder.mkdir(parents=True)
        source = folder / file.name
        os.link(file, source)
        try:
            video = look_at(source, self.limits.check(source))
        except (RefusalError, MediaError, OSError) as error:
            shutil.rmtree(folder)
            raise RefusalError(f'{file.name}: {without_paths(str(error), source)}') from error
        own.videos[video.key] = video
        return video

    def videos(self, session: str) -> Sequence[Video]:
        """The session's videos in the order they came."""
        return list(self._session(session).videos.values())

    def video(self, session: str, key: str | None) -> Video:
        """One of them. Raises RefusalError where it is not there."""
        video = self._session(session).videos.get(key or '')
        if video is None:
            raise RefusalError('Drop a video first.')
        return video

    def busy(self, session: str) -> bool:
        """Whether a job of the session runs."""
        return self._session(session).busy

    def restore(self, session: str, order: RestoreRequest, keys: Sequence[str | None]) -> Job:
        """Begins to restore videos of the session; what was made of them before is removed.

        Raises RefusalError without a video, while another job of the session runs, or for an order that is
        none.
        """
        own, videos = self._session(session), [self.video(session, key) for key in keys]
        if not videos:
            raise RefusalError('Drop a video first.')
        self._refuse_two(own)
        if order.task not in self.networks.tasks and self.networks.tasks:
            raise RefusalError(f'There is no task {order.task}.')
        for video in videos:
            _check(order, video)
        for video in videos:
            _forget(video)
        most = max(self.limits.most_frames(video.info) for video in videos)
        return self._begin(
            own, RestoreJob(videos, order, self.networks, self._turn_of, ProgressTracker(most))
        )

    def look_for_faces(self, session: str, key: str | None) -> Job | None:
        """Begins to look for the faces of a video; None where that was done. Raises RefusalError."""
        own, video = self._session(session), self.video(session, key)
        if video.found is not None:
            return None
        self._refuse_two(own)
        return self._begin(
            own, FaceJob(video, self._turn_of, ProgressTracker(self.limits.most_frames(video.info)))
        )

    def choose(self, session: str, key: str | None, ids: Sequence[int]) -> None:
        """Chooses the faces of a video by their ids. Raises RefusalError for some that are not there."""
        self.video(session, key).choose(frozenset(ids))

    def cancel(self, session: str) -> None:
        """Ends the session's job, if one runs."""
        if (job := self._session(session).job) is not None:
            job.cancel()

    def drop(self, session: str, key: str | None) -> None:
        """Forgets a video and what was made of it; ends a job that runs."""
        own, video = self._session(session), self.video(session, key)
        _end(own)
        del own.videos[video.key]
        shutil.rmtree(video.source.parent, ignore_errors=True)

    def leave(self, session: str) -> None:
        """The page was closed: all of it goes."""
        with self._guard:
            own = self._sessions.pop(session, None)
        if own is not None:
            _end(own)
            shutil.rmtree(own.folder, ignore_errors=True)

    def sweep(self, now: float) -> None:
        """Removes what pages that were left alone, and uploads that nobody took; `now` by monotonic clock."""
        self.uploads.expire(now)
        for name, own in list(self._sessions.items()):
            if own.busy:
                own.touched = now
            elif now - own.touched > self.limits.idle:
                self.leave(name)
                if own.videos:
                    self._expired[name] = None
        for name in list(self._expired)[:-_EXPIRED]:
            del self._expired[name]

    def close(self) -> None:
        """The server stops."""
        for session in list(self._sessions):
            self.leave(session)

    def _session(self, name: str) -> Session:
        with self._guard:
            if name in self._expired:
                del self._expired[name]
                raise RefusalError(f'This page was left alone for {length(self.limits.idle)}: its videos '
                                   'were removed. Drop them again.')
            if name not in self._sessions:
                self._sessions[name] = Session(self.folder / 'sessions' / token_hex(16))
            self._sessions[name].touched = time.monotonic()
            return self._sessions[name]

    @staticmethod
    def _refuse_two(own: Session) -> None:
        if own.busy:
            raise RefusalError('This page is at work already. Wait, or cancel it.')

    @staticmethod
    def _begin(own: Session, job: Job) -> Job:
        own.job = job
        job.start()
        return job

    @contextmanager
    def _turn_of(self, watch: ProgressTracker) -> Iterator[None]:
        """Waits until no other job runs. Raises CancelError."""
        if not self._turn.acquire(blocking=False):
            watch.begin('waiting for another page to end')
            while not self._turn.acquire(timeout=_POLL):
                watch.check()
        try:
            yield
        finally:
            self._turn.release()


def _check(order: RestoreRequest, video: Video) -> None:
    try:
        order.settings(video)
    except (ValueError, TypeError) as error:
        raise RefusalError(str(error)) from error


def _forget(video: Video) -> None:
    """Removes what was made of a video."""
    video.result = video.trouble = None
    shutil.rmtree(video.source.with_name('restored'), ignore_errors=True)


def _end(own: Session) -> None:
    if own.job is not None:
        own.job.cancel()
        own.job.join()
        own.job = None
