"""Runs stages of datatrove steps on this machine, on a Slurm cluster or on a Ray cluster."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gavn.errors import RunError
from gavn.runtime.arguments import whole
from gavn.runtime.optional_packages import require_packages

CLUSTERS = ('slurm', 'ray')
EXECUTORS = ('local', *CLUSTERS)
MAX_TASKS = 1000  # by default
_MEMORY = 4  # GB for each task and core on Slurm


class TasksError(RunError):
    """Tasks did not complete; others may have."""


@dataclass(frozen=True)
class TaskStage:
    """Steps that run in independent tasks, after the stage before.

    Attributes:
        name: of its folder of logs and completion markers.
        steps: datatrove steps.
        tasks: number of tasks. Each task receives its rank and this number.
        again: run tasks that an earlier run completed.
    """

    name: str
    steps: Sequence[Any]
    tasks: int
    again: bool = False


@dataclass(frozen=True)
class Executor:
    """Where and how stages run.

    Attributes:
        kind: 'local', 'slurm' (submits the jobs and returns) or 'ray' (a running cluster).
        workers: tasks that run at the same time.
        cpus, gpus: for each task of a cluster.
        time, partition: of Slurm jobs.
    """

    kind: str = 'local'
    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    time: str = '12:00:00'
    partition: str = 'cpu'

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, workers: int) -> Executor:
        """Reads the arguments of `add_executor_arguments`."""
        return cls(args.executor, workers, args.cpus_per_task, args.gpus_per_task, args.slurm_time,
                   args.slurm_partition)

    @property
    def returns_at_once(self) -> bool:
        """Whether the stages are only submitted."""
        return self.kind == 'slurm'

    @property
    def threads(self) -> int:
        """Threads for each task."""
        return max(1, (os.cpu_count() or 1) // self.workers) if self.kind == 'local' else self.cpus

    def run(self, name: str, stages: Sequence[TaskStage], logs: str | Path, persist: bool = False) -> None:
        """Runs the stages one after the other. Completed tasks of an earlier run are skipped.

        Args:
            name: of the jobs.
            stages: the stages, in order.
            logs: folder of logs and completion markers; all machines must reach it.
            persist: on Slurm, continue after a stage with failed tasks.

        Raises:
            TasksError: tasks of a stage did not complete. A local task raises its own errors.
            RunError: there is no Ray cluster.
        """
        if self.kind == 'ray':
            _join_ray(self.cpus, self.gpus)
        previous = None
        for stage in stages:
            executor = self._executor(name, stage, f'{logs}/{stage.name}', previous, persist)
            if stage.again and executor.logging_dir.isdir('completions'):
                executor.logging_dir.rm('completions', recursive=True)
            if self.returns_at_once:
                previous = executor
                continue
            with _kept_threads():
                executor.run()
            if left := len(executor.get_incomplete_ranks()):
                raise TasksError(f'{left} of {stage.tasks} tasks did not complete; their logs are in {logs}/'
                                 f'{stage.name}/logs\nrerun the same command to resume')
        if previous is not None:
            previous.run()  # submits the stages before it too

    def _executor(self, name: str, stage: TaskStage, logs: str, previous: Any, persist: bool) -> Any:
        from datatrove.executor import SlurmPipelineExecutor

        from gavn.runtime.datatrove_executors import LocalExecutor, RayExecutor
        shared: dict[str, Any] = {'tasks': stage.tasks, 'workers': min(self.workers, stage.tasks),
                                  'logging_dir': logs}
        steps = list(stage.steps)
        if self.kind == 'local':
            return LocalExecutor(steps, **shared)
        shared |= {'cpus_per_task': self.cpus, 'gpus_per_task': self.gpus}
        if self.kind == 'ray':  # its workers run in folders of their own; relative paths mean the user's
            return RayExecutor([partial(_enter, os.getcwd()), *steps], **shared)
        return SlurmPipelineExecutor(
            steps, time=self.time, partition=self.partition, job_name=f'gavn_{name}_{stage.name}',
            depends=previous, run_on_dependency_fail=persist, mem_per_cpu_gb=_MEMORY, **shared,
            sbatch_args={'kill-on-invalid-dep': 'yes'},  # else it waits for ever after a failed stage
            env_command=f'export PATH="{Path(sys.executable).parent}:$PATH"')


def check_datatrove() -> None:
    """Raises MissingPackageError if the extra of `--executor` is not installed."""
    require_packages(['datatrove'], 'cluster', '--executor')


@contextmanager
def _kept_threads() -> Iterator[None]:
    """Restores the numbers of threads that tasks in this process set."""
    import cv2
    import torch
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def _enter(folder: str, data: Any, rank: int, world_size: int) -> Any:
    if os.path.isdir(folder):  # a worker without it can only have paths that do not depend on it
        os.chdir(folder)
    return data


def _join_ray(cpus: int, gpus: int) -> None:
    """Connects to the cluster. Warns if tasks must wait for a larger node; Ray does not."""
    import ray
    try:
        ray.init(os.environ.get('RAY_ADDRESS', 'auto'), ignore_reinit_error=True, log_to_driver=False)
    except ConnectionError as error:
        raise RunError('no Ray cluster is running\nstart one (ray start --head), or set RAY_ADDRESS'
                       ) from error
    nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
    if not any(node.get('CPU', 0) >= cpus and node.get('GPU', 0) >= gpus for node in nodes):
        print(f'warning: no node of the Ray cluster has the {cpus} cores and {gpus} GPUs of a task; the '
              'tasks wait until one joins\nstop this command to give a smaller --cpus-per-task or '
              '--gpus-per-task', file=sys.stderr)


def add_executor_arguments(parser: argparse._ActionsContainer, default: str | None = 'local') -> None:
    """Adds the arguments about where the work runs."""
    add = parser.add_argument
    add('--executor', choices=EXECUTORS, default=default,
        help='where the work runs: local, slurm (submits jobs and returns) or ray (a running cluster)')
    add('--cpus-per-task', type=whole(1), default=1, metavar='N', help='cores of a task on Slurm and Ray')
    add('--gpus-per-task', type=whole(0), default=0, metavar='N', help='GPUs of a task on Slurm and Ray')
    add('--slurm-time', default='12:00:00', help='time limit of a Slurm job')
    add('--slurm-partition', default='cpu', help='partition of the Slurm jobs')


def add_task_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds the arguments about the number of tasks."""
    add = parser.add_argument
    add('--tasks', type=whole(1),
        help=f'number of tasks (default: one per video, {MAX_TASKS} at most; restoring: at least one per '
             'worker)')
    add('--workers', type=whole(1), default=1, help='tasks that run at the same time')
