"""Sessions of the page: each has its videos and at most one job."""
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
from gavn.web.job_queue import JobQueue
from gavn.web.jobs import FaceJob, RestoreJob, RestoreRequest, WebJob, without_paths
from gavn.web.limits import Limits, RefusalError, length
from gavn.web.networks import Networks
from gavn.web.progress_tracker import ProgressTracker
from gavn.web.uploads import Uploads
from gavn.web.videos import Video, open_video

_POLL = 0.1  # seconds
_EXPIRED = 1000  # expired sessions that are remembered, to inform their pages


@dataclass
class Session:
    """An open page: its folder, its videos (key -> video, in order) and its latest job."""

    folder: Path
    videos: dict[str, Video] = field(default_factory=dict)
    job: WebJob | None = None
    touched: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # held while a job starts

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.running

    @property
    def unfinished(self) -> bool:
        """Whether a job is running, or the page holds a result."""
        with self.lock:
            return self.busy or any(video.result is not None for video in list(self.videos.values()))

    def video(self, key: str | None) -> Video:
        """Returns a video. Raises RefusalError if there is none."""
        video = self.videos.get(key or '')
        if video is None:
            raise RefusalError('Add a video first.')
        return video

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Lets one caller check the videos and begin a job. Raises RefusalError if a job is running."""
        with self.lock:
            if self.busy:
                raise RefusalError('A job of this page is running. Wait, or cancel it.')
            yield

    def begin(self, job: WebJob) -> WebJob:
        """Starts a job inside `starting`. Raises RefusalError as `WebJob.start`."""
        job.start()
        self.job = job
        return job

    def cancel(self, *removed: str) -> WebJob | None:
        """Cancels the latest job and returns it. No later job starts with the videos `removed`."""
        with self.lock:
            for key in removed:
                self.videos.pop(key, None)
            if self.job is not None:
                self.job.cancel()
            return self.job

    def remove(self, *keys: str) -> None:
        """Removes videos; cancels the latest job and waits for its end."""
        if (job := self.cancel(*keys)) is not None:
            job.join()


class SessionManager:
    """Manages the videos and jobs of all sessions.

    Args:
        folder: holds the uploads and the folders of sessions.
        networks: the restorers.
        limits: limits on the videos.
    """

    def __init__(self, folder: Path, networks: Networks, limits: Limits) -> None:
        self.folder, self.networks, self.limits = folder.resolve(), networks, limits
        self.uploads, self.files = Uploads(self.folder, limits), Files()
        self._sessions: dict[str, Session] = {}
        self._expired: dict[str, None] = {}
        self.queue, self._guard = JobQueue(networks.workers, limits), threading.Lock()

    def take(self, session: str, token: str) -> Video:
        """Adds an uploaded file to a session; the file is removed if it is refused.

        Raises:
            RefusalError: the token is unknown, the file is not a video or exceeds a limit, or the session has
                too many videos.
        """
        own, upload = self._session(session), self.uploads.claim(token)
        try:
            return self._admit(own, upload)
        finally:
            shutil.rmtree(upload.parent)

    def take_example(self, session: str, example: Path) -> Video:
        """Adds an example to a session, unless the session has it already."""
        own = self._session(session)
        same = (video for video in own.videos.values() if video.source.samefile(example))
        return next(same, None) or self._admit(own, example)

    def _admit(self, own: Session, file: Path) -> Video:
        if len(own.videos) >= self.limits.videos:
            raise RefusalError(f'{file.name}: a page holds at most {self.limits.videos} videos. '
                               'Remove one first.')
        folder = own.folder / token_hex(4)
        folder.mkdir(parents=True)
        source = folder / file.name
        os.link(file, source)
        try:
            video = open_video(source, self.limits.check(source))
        except (RefusalError, MediaError, OSError) as error:
            shutil.rmtree(folder)
            raise RefusalError(f'{file.name}: {without_paths(str(error), source)}') from error
        own.videos[video.key] = video
        return video

    def videos(self, session: str) -> Sequence[Video]:
        """Returns the videos of a session, in order."""
        return list(self._session(session).videos.values())

    def busy(self, session: str) -> bool:
        """Returns whether a job of the session is running."""
        return self._session(session).busy

    def restore(self, session: str, request: RestoreRequest, keys: Sequence[str | None], client: str = ''
                ) -> WebJob:
        """Starts restoring videos of a session at the address `client`; removes their earlier results.

        Raises:
            RefusalError: there is no video, a job of the session is running, the request is invalid, or the
                queue admits no job.
        """
        own = self._session(session)
        with own.starting():
            videos = [own.video(key) for key in keys]
            self._check(request, videos)
            tracker = ProgressTracker(max(self.limits.max_frames(video.info) for video in videos))
            turn = self.queue.admit(client)
            for video in videos:  # whose earlier results are removed
                video.result = video.failure = None
                shutil.rmtree(video.source.with_name('restored'), ignore_errors=True)
            return own.begin(RestoreJob(videos, request, self.networks, turn, tracker))

    def _check(self, request: RestoreRequest, videos: Sequence[Video]) -> None:
        if not videos:
            raise RefusalError('Add a video first.')
        if request.task not in self.networks.tasks and self.networks.tasks:
            raise RefusalError(f'There is no task {request.task}.')
        for video in videos:
            try:
                request.settings(video)
            except (ValueError, TypeError) as error:
                raise RefusalError(str(error)) from error

    def find_faces(self, session: str, key: str | None, client: str = '') -> WebJob | None:
        """Starts face detection in a video; returns None if it was done. Raises RefusalError."""
        own = self._session(session)
        if own.video(key).found is not None:
            return None
        with own.starting():
            video = own.video(key)
            tracker = ProgressTracker(self.limits.max_frames(video.info))
            return own.begin(FaceJob(video, self.queue.admit(client), tracker))

    def choose(self, session: str, key: str | None, ids: Sequence[int]) -> int:
        """Selects faces of a video; see `Video.choose`. Returns how many are selected."""
        return len(self._session(session).video(key).choose(frozenset(ids)))

    def cancel(self, session: str) -> None:
        """Cancels the job of a session."""
        self._session(session).cancel()

    def drop(self, session: str, key: str | None) -> None:
        """Removes a video and its results; cancels a running job."""
        own = self._session(session)
        video = own.video(key)
        own.remove(video.key)
        shutil.rmtree(video.source.parent, ignore_errors=True)

    def leave(self, session: str) -> None:
        """Removes a session."""
        with self._guard:
            own = self._sessions.pop(session, None)
        if own is not None:
            own.remove(*own.videos)
            shutil.rmtree(own.folder, ignore_errors=True)

    def sweep(self, now: float) -> None:
        """Removes expired sessions and unclaimed uploads; `now` is `time.monotonic()`."""
        self.uploads.expire(now)
        for name, own in list(self._sessions.items()):
            if own.busy:
                own.touched = now
            elif now - own.touched > self.limits.idle:
                if own.videos:
                    self._expired[name] = None
                self.leave(name)
        for name in list(self._expired)[:-_EXPIRED]:
            del self._expired[name]

    def drain(self, seconds: float) -> None:
        """Refuses new and waiting jobs. Waits until none runs and no open page holds a result.

        Args:
            seconds: the longest time to wait.
        """
        self.queue.close()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(own.unfinished for own in list(self._sessions.values())):
            time.sleep(_POLL)

    def close(self) -> None:
        """Removes all sessions when the server stops; takes as long as the slowest step of a running job."""
        self.queue.close()
        for own in list(self._sessions.values()):
            own.cancel()
        for session in list(self._sessions):
            self.leave(session)

    def _session(self, name: str) -> Session:
        with self._guard:
            if name in self._expired:
                del self._expired[name]
                raise RefusalError(f'This page was not used for {length(self.limits.idle)}: its videos '
                                   'were removed. Upload them again.')
            if name not in self._sessions:
                self._sessions[name] = Session(self.folder / 'sessions' / token_hex(16))
            self._sessions[name].touched = time.monotonic()
            return self._sessions[name]
