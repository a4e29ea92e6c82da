"""Runs commands that depend on each other, several in parallel, and records finished ones for resuming."""
from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gavn.experiments.compare.generated_options import digest
from gavn.experiments.compare.settings import CompareError
from gavn.runtime.files import write_text

State = Literal['waiting', 'running', 'done', 'failed', 'skipped']
Environment = Callable[[int], Mapping[str, str]]
"""Environment variables of the process in a slot: 0, 1 ... of the parallel ones."""

LOCK_PATIENCE = 10.0  # seconds for the processes of a killed run to end
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_PAUSE = 0.2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class JobSpec:
    """One command."""

    name: str  # of its log and its record
    command: tuple[str, ...]  # the process
    inputs: tuple[Path, ...]  # files that determine the result; if one changes, the job is not done
    outputs: tuple[Path, ...]  # files that exist after success
    needs: tuple[str, ...] = ()  # names of the jobs that make its inputs
    resumes: bool = False  # the command resumes, so its inputs may not change between starts
    cleared: Path | None = None  # a folder that is removed before the start


@dataclass
class JobOutcome:
    """State of a job, its seconds over all starts, and why it failed or was skipped.

    `alone` is whether no other job of the comparison ran at the same time, so that its speed is meaningful.
    """

    state: State = 'waiting'
    seconds: float = 0.0
    reason: str = ''
    alone: bool = True


class Process:
    """A command in its own session, with its output in a log.

    It ends with this process: by `stop`, or by a signal from Linux if this process is killed. It holds the
    lock of the comparison, so no other run can use the folder until it has ended.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path,
                 lock: int | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.began = log, time.monotonic()
        with log.open('ab') as output:
            self._start = output.tell()
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                env=dict(environment), start_new_session=True, preexec_fn=_end_with_parent,
                pass_fds=() if lock is None else (lock,))

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._popen.poll()

    def stop(self) -> None:
        """Terminates the process and its children, and kills them after a grace period."""
        for how, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            if self._popen.poll() is not None:
                return
            os.killpg(self._popen.pid, how)
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                continue

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def lines(self) -> list[str]:
        """Its output so far, after that of earlier starts."""
        with self.log.open('rb') as file:
            file.seek(self._start)
            return file.read().decode(errors='replace').splitlines()

    def failure_reason(self) -> str:
        """Why it ended: its last `error:`, else its last line."""
        lines = [line.strip() for line in self.lines() if line.strip()]
        errors = [line for line in lines if line.startswith('error:')] or lines or ['it wrote nothing']
        hint = ' (give fewer --jobs)' if 'out of memory' in errors[-1] else ''
        return f'{errors[-1].removeprefix("error: ")}{hint}; see {self.log}'


_libc = ctypes.CDLL(None) if sys.platform == 'linux' else None


def _end_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Holds a lock file, and yields its descriptor for child processes.

    Raises:
        CompareError: another process holds it for more than `LOCK_PATIENCE` seconds.
    """
    with path.open('a') as file:
        until = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise CompareError(f'{path.parent} is at work: another start of this comparison, or a '
                                       'training that it began, still runs\nwait for it, or end it') from None
                time.sleep(_PAUSE)
        yield file.fileno()


class Runner:
    """Runs jobs, at most `parallel` at a time, each as soon as its needs are done.

    Args:
        jobs: to run, except those that a record and their outputs show as done.
        folder: of records (`jobs/<name>.json`) and logs (`logs/<name>.log`).
        parallel: number of jobs at a time.
        place: their working directory.
        lock: descriptor that they hold (see `locked`).
        show: called several times a second with the outcomes so far.
    """

    def __init__(self, jobs: Sequence[JobSpec], folder: Path, parallel: int, environment: Environment,
                 place: Path, lock: int | None = None,
                 show: Callable[[Mapping[str, JobOutcome]], None] = lambda _: None) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.folder, self.parallel, self.environment, self.place = folder, parallel, environment, place
        self.lock, self.show = lock, show
        self.outcomes = {job.name: JobOutcome() for job in jobs}
        self._running: dict[str, tuple[int, Process]] = {}

    def run(self) -> dict[str, JobOutcome]:
        """Runs until no job is left. A failed job only skips the jobs that need it.

        An interrupt stops the processes, records their time and raises KeyboardInterrupt again.
        """
        try:
            self._start_ready()
            while self._running:
                self.show(self.outcomes)
                time.sleep(_PAUSE)
                if self._collect_ended():
                    self._start_ready()
        finally:
            for name, (_, process) in self._running.items():
                process.stop()
                self._record(name, 'begun', process.seconds)
        self.show(self.outcomes)
        return self.outcomes

    def _start_ready(self) -> None:
        """Starts jobs while there is a free slot, and jobs that depend on one that is already done."""
        waiting = [job for job in self.jobs.values() if self.outcomes[job.name].state == 'waiting']
        for job in waiting:
            states = {need: self.outcomes[need].state for need in job.needs}
            if lost := [need for need, state in states.items() if state in ('failed', 'skipped')]:
                self.outcomes[job.name] = JobOutcome('skipped', reason=f'{lost[0]} is missing')
            elif all(state == 'done' for state in states.values()):
                self._start(job)
        if any(self.outcomes[job.name].state not in ('waiting', 'running') for job in waiting):
            self._start_ready()

    def _start(self, job: JobSpec) -> None:
        """Starts a job if it is not done and there is a free slot."""
        file, inputs = self._record_of(job.name), self._digests(job.inputs)
        record = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
        outcome = self.outcomes[job.name]
        outcome.seconds, outcome.alone = record.get('seconds', 0.0), record.get('alone', False)
        if record and job.resumes and record['inputs'] != inputs:
            changed = next(path for path, digest in inputs.items() if record['inputs'].get(path) != digest)
            outcome.state = 'failed'
            outcome.reason = f'{changed} has changed since it began: give --fresh to begin anew'
        elif record.get('state') == 'done' and record['inputs'] == inputs and not _missing(job.outputs):
            outcome.state = 'done'
        elif len(self._running) < self.parallel:
            if job.cleared:
                shutil.rmtree(job.cleared, ignore_errors=True)
            if not job.resumes:
                outcome.seconds = 0.0
            slot = min(set(range(self.parallel)) - {slot for slot, _ in self._running.values()})
            for other in (job.name, *self._running):
                self.outcomes[other].alone = not self._running
            self._record(job.name, 'begun', 0.0)
            self._running[job.name] = slot, Process(
                job.command, log_of(self.folder, job.name), self.environment(slot), self.place, self.lock)
            outcome.state = 'running'

    def _collect_ended(self) -> bool:
        """Records the outcome of ended processes; returns whether there were any."""
        before = len(self._running)
        for name, (_, process) in list(self._running.items()):
            status = process.poll()
            if status is None:
                continue
            del self._running[name]
            outcome, missing = self.outcomes[name], _missing(self.jobs[name].outputs)
            succeeded = status == 0 and not missing
            self._record(name, 'done' if succeeded else 'begun', process.seconds)
            outcome.state = 'done' if succeeded else 'failed'
            if not succeeded:
                outcome.reason = f'{missing[0]} was not written' if status == 0 else process.failure_reason()
        return len(self._running) < before

    def _record(self, name: str, state: str, seconds: float) -> None:
        outcome = self.outcomes[name]
        outcome.seconds += seconds
        inputs = self._digests(self.jobs[name].inputs)
        record = {'state': state, 'seconds': outcome.seconds, 'alone': outcome.alone, 'inputs': inputs}
        write_text(self._record_of(name), json.dumps(record, indent=2))

    def _digests(self, paths: Sequence[Path]) -> dict[str, str]:
        """Digests by path, relative to the comparison's folder, which may be moved; '' for a missing file."""
        return {os.path.relpath(path, self.folder): digest(path) if path.is_file() else '' for path in paths}

    def _record_of(self, name: str) -> Path:
        return self.folder / 'jobs' / f'{name}.json'


def log_of(folder: Path, name: str) -> Path:
    """The log of a job."""
    return folder / 'logs' / f'{name}.log'


def _missing(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if not path.is_file()]
