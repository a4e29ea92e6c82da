"""datatrove's executors of this machine and of Ray, for tasks whose processes may be killed.

datatrove runs tasks in multiprocessing pools. A pool waits forever for a process that was killed, for example
by the kernel because memory is short.
"""
from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import multiprocess
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor
from multiprocess.connection import Connection, wait

_RETRIES = 3  # of a Ray task whose process or node is lost


class LocalExecutor(LocalPipelineExecutor):
    """Continues with other tasks if a process is killed. The killed task stays incomplete."""

    def run(self) -> None:
        """Runs all incomplete tasks; raises the first error of a task, and ends the others then."""
        if self.workers == 1:
            super().run()
            return
        self.save_executor_as_json()
        ranks = iter(self.get_incomplete_ranks())
        idle = [_Process(self._run_for_rank, number) for number in range(self.workers)]
        busy: dict[Connection, _Process] = {}
        try:
            while True:
                while idle and (rank := next(ranks, None)) is not None:
                    process = idle.pop()
                    process.start(rank)
                    busy[process.connection] = process
                if not busy:
                    return
                for connection in wait(list(busy)):
                    idle.append(busy.pop(connection))
                    if not idle[-1].finish():
                        idle.append(_Process(self._run_for_rank, idle.pop().number))
        finally:
            for process in (*idle, *busy.values()):
                process.stop()


class _Process:
    """A process that runs tasks, one after the other. It starts with the first one.

    Args:
        run: runs a task, given its rank and `number`.
        number: of the process; number 0 logs to the console.
    """

    def __init__(self, run: Callable[[int, int], Any], number: int) -> None:
        context = multiprocess.get_context('spawn')
        self.number = number
        self.rank: int | None = None
        self.connection, self._other = context.Pipe()
        self._process = context.Process(target=_run_tasks, args=(self._other, run, number), daemon=True)

    def start(self, rank: int) -> None:
        """Begins a task."""
        if self.rank is None:
            self._process.start()
            self._other.close()
        self.rank = rank
        self.connection.send(rank)

    def finish(self) -> bool:
        """Raises the error of the task; returns False if the process was killed."""
        try:
            error = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            print(f'task {self.rank} is lost: its process {_end(self._process.exitcode)}', file=sys.stderr)
            return False
        if error is not None:
            raise error
        return True

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        if self.rank is not None:
            self._process.terminate()
            self._process.join()


def _run_tasks(connection: Connection, run: Callable[[int, int], Any], number: int) -> None:
    """Runs the tasks whose ranks arrive; sends the error of each, or None. Ends with the parent process."""
    while True:
        try:
            rank = connection.recv()
        except EOFError:
            return
        try:
            run(rank, number)
        except Exception as error:
            connection.send(error)
        else:
            connection.send(None)


def _end(code: int) -> str:
    if code != -signal.SIGKILL:
        return f'ended with exit code {code}'
    return 'was killed by SIGKILL, as the kernel does when memory is short'


class RayExecutor(RayPipelineExecutor):
    """Runs tasks of datatrove as tasks of Ray, which repeats those of lost processes and nodes."""

    def run(self) -> None:
        """Returns when no incomplete task can be run; failed ones stay incomplete."""
        import ray
        self.save_executor_as_json()
        task = ray.remote(num_cpus=self.cpus_per_task, num_gpus=self.gpus_per_task, max_retries=_RETRIES
                          )(_run_quietly)
        executor = ray.put(self)
        running: list[Any] = []
        for rank in self.get_incomplete_ranks():
            if len(running) == self.workers:
                _, running = ray.wait(running)
            running.append(task.remote(executor, rank))
        if running:
            ray.wait(running, num_returns=len(running))


def _run_quietly(executor: RayExecutor, rank: int) -> None:
    """Runs a task; it logs to its file only."""
    executor._run_for_rank(rank, local_rank=1)
