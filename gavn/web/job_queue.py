"""Queue of jobs: each worker runs one at a time, in order of arrival."""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from gavn.web.limits import Limits, RefusalError
from gavn.web.progress_tracker import ProgressTracker

_POLL = 0.1  # seconds
STOPPING = 'The server is stopping. Try again in a minute.'


class Turn:
    """A job's place in the queue. The job enters it once, or gives it back; see `JobQueue.admit`."""

    def __init__(self, queue: JobQueue, client: str) -> None:
        self._queue, self.client = queue, client

    def __call__(self, tracker: ProgressTracker) -> AbstractContextManager[int]:
        """Waits for a worker; a context manager that returns its number.

        Raises:
            CancelError: the job is cancelled.
            RefusalError: the queue is closed before the job's turn.
        """
        return self._queue.worker_for(self, tracker)

    def give_back(self) -> None:
        """Removes a job that cannot start."""
        self._queue.remove(self)


class JobQueue:
    """Admits jobs and gives each a worker.

    Args:
        workers: how many jobs run at a time.
        limits: on waiting jobs, and on the jobs of a client.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self.workers, self.limits = workers, limits
        self._free = list(range(workers))
        self._waiting: list[Turn] = []
        self._clients: Counter[str] = Counter()
        self._closed = False
        self._changed = threading.Condition()

    def admit(self, client: str = '') -> Turn:
        """Adds a job of the address `client`, which must enter the returned turn or give it back.

        Raises:
            RefusalError: the queue is full or closed, or the client has too many jobs.
        """
        with self._changed:
            if self._closed:
                raise RefusalError(STOPPING)
            if self._clients[client] >= self.limits.jobs:
                raise RefusalError(f'{self.limits.jobs} jobs from this computer are waiting or running. '
                                   'Wait for one of them.')
            if len(self._waiting) - len(self._free) >= self.limits.waiting:
                raise RefusalError(f'The queue is full: {len(self._waiting)} jobs are waiting. '
                                   'Try again later.')
            turn = Turn(self, client)
            self._waiting.append(turn)
            self._clients[client] += 1
        return turn

    def close(self) -> None:
        """Refuses new and waiting jobs. Running jobs continue."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def status(self) -> dict[str, str | int]:
        """Returns the state for the health endpoint."""
        with self._changed:
            return {'status': 'stopping' if self._closed else 'ok', 'workers': self.workers,
                    'running': self.workers - len(self._free), 'waiting': len(self._waiting)}

    @contextmanager
    def worker_for(self, turn: Turn, tracker: ProgressTracker) -> Iterator[int]:
        """See `Turn`."""
        worker = None
        try:
            while worker is None:
                worker = self._take(turn, tracker)
            yield worker
        finally:
            self.remove(turn, worker)

    def remove(self, turn: Turn, worker: int | None = None) -> None:
        """Removes a job that waits, or one that has a worker, which is free again."""
        with self._changed:
            if worker is None:
                self._waiting.remove(turn)
            else:
                self._free.append(worker)
            self._clients[turn.client] -= 1
            self._clients += Counter()  # forgets clients without jobs
            self._changed.notify_all()

    def _take(self, turn: Turn, tracker: ProgressTracker) -> int | None:
        """Takes a worker if it is the job's turn, else waits a moment."""
        with self._changed:
            if self._closed:
                raise RefusalError(STOPPING)
            ahead = self._waiting.index(turn)
            if self._free and not ahead:
                del self._waiting[0]
                self._changed.notify_all()
                return self._free.pop()
            what = f'waiting: {ahead} job{"s" * (ahead != 1)} before this one'
            if tracker.state.what != what:
                tracker.begin(what)
            self._changed.wait(_POLL)
        tracker.check()
        return None
