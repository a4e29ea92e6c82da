"""The videos and jobs of all who have the page open: one video each, one restoration at a time."""
from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from gavn.utils.media import MediaError
from gavn.web.jobs import Job, Order, without_paths
from gavn.web.limits import Limits, RefusalError
from gavn.web.networks import Networks
from gavn.web.watch import Watch

_LONGEST_NAME = 60
_POLL = 0.1  # seconds


@dataclass
class Session:
    """One open page: its folder, its video as it came and under its own name, its latest job."""

    folder: Path
    upload: Path | None = None
    source: Path | None = None
    job: Job | None = None


class Desk:
    """Takes videos in and gives jobs out.

    Args:
        folder: where uploads arrive, and where sessions have folders of their own.
        networks: what restores.
        limits: which videos are taken.
    """

    def __init__(self, folder: Path, networks: Networks, limits: Limits) -> None:
        self.folder, self.networks, self.limits = folder.resolve(), networks, limits
        self._sessions: dict[str, Session] = {}
        self._turn, self._guard = threading.Lock(), threading.Lock()

    def take(self, session: str, upload: Path) -> Path:
        """Links an uploaded file into the session's folder, under a name that is safe, and looks at it.

        The upload itself goes with the session's video: the browser may be about to show it. The video before
        is removed, and what was made of it. Raises RefusalError for one that is no video or beyond the
        limits.
        """
        upload = upload.absolute()
        if upload.parent.parent != self.folder or upload.is_symlink() or not upload.is_file():
            raise RefusalError('This file was not uploaded to this page.')
        self.drop(session)
        self._session(session).upload = upload
        return self._admit(session, upload)

    def take_example(self, session: str, example: Path) -> Path:
        """As `take`; the example stays."""
        self.drop(session)
        return self._admit(session, example)

    def _admit(self, session: str, file: Path) -> Path:
        own = self._session(session)
        folder = own.folder / token_hex(4)
        folder.mkdir(parents=True)
        source = folder / safe_name(file.name)
        os.link(file, source)
        try:
            self.limits.check(source)
        except (RefusalError, MediaError, OSError) as error:
            shutil.rmtree(folder)
            raise RefusalError(without_paths(str(error), source)) from error
        own.source = source
        return source

    def start(self, session: str, order: Order) -> Job:
        """Begins a job on the session's video; what the job before made is removed.

        Raises RefusalError without a video, while another job of the session runs, or for an order that is
        none.
        """
        own = self._session(session)
        if own.source is None or not own.source.is_file():
            raise RefusalError('Drop a video first.')
        if own.job is not None and own.job.running:
            raise RefusalError('This video is being restored already.')
        if order.task not in self.networks.tasks and self.networks.tasks:
            raise RefusalError(f'There is no task {order.task}.')
        try:
            order.settings()
        except (ValueError, TypeError) as error:
            raise RefusalError(str(error)) from error
        watch = Watch(self.limits.most_frames(self.limits.check(own.source)))
        self._forget_job(own)
        own.job = Job(own.source, order, own.folder / token_hex(4), self.networks, self._turn_of, watch)
        own.job.start()
        return own.job

    def cancel(self, session: str) -> None:
        """Ends the session's job, if one runs."""
        if (job := self._session(session).job) is not None:
            job.cancel()

    def drop(self, session: str) -> None:
        """Forgets the session's video and what was made of it; waits for a job to end."""
        own = self._session(session)
        self._forget_job(own)
        if own.source is not None:
            shutil.rmtree(own.source.parent, ignore_errors=True)
            own.source = None
        if own.upload is not None:
            own.upload.unlink(missing_ok=True)
            own.upload = None

    def leave(self, session: str) -> None:
        """The page was closed: all of it goes."""
        self.drop(session)
        with self._guard:
            own = self._sessions.pop(session)
        shutil.rmtree(own.folder, ignore_errors=True)

    def close(self) -> None:
        """The server stops."""
        for session in list(self._sessions):
            self.leave(session)

    def _session(self, name: str) -> Session:
        with self._guard:
            if name not in self._sessions:
                self._sessions[name] = Session(self.folder / 'sessions' / token_hex(16))
            return self._sessions[name]

    @staticmethod
    def _forget_job(own: Session) -> None:
        if own.job is not None:
            own.job.remove()
            own.job = None

    @contextmanager
    def _turn_of(self, watch: Watch) -> Iterator[None]:
        """Waits until no other restoration runs. Raises CancelError."""
        if not self._turn.acquire(blocking=False):
            watch.begin('waiting for another restoration to end')
            while not self._turn.acquire(timeout=_POLL):
                watch.check()
        try:
            yield
        finally:
            self._turn.release()


def safe_name(name: str) -> str:
    """A file name of letters, digits, `_` and `-` with an ending that says no more than it must."""
    path = Path(name)
    stem = re.sub(r'[^\w-]+', '_', path.stem)[:_LONGEST_NAME].strip('_-') or 'video'
    return stem + re.sub(r'[^a-z0-9.]', '', path.suffix.lower())[:6]
