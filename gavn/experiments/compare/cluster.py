"""The jobs of a comparison as tasks of an executor: the detector first, then a task for each method."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from gavn.experiments.compare.jobs import Environment, JobSpec, Runner, locked
from gavn.runtime.executors import Executor, TasksError, TaskStage


class RunJobs(PipelineStep):
    """Runs one group of jobs in each task, one job after the other. Finished jobs are skipped.

    Args:
        groups: jobs of each task, with those that they need.
        folder, environment, place: see `Runner`; the rank of a task is its slot.
        required: a failed job fails the task, so that the stages after it do not run.
    """

    type, name = 'comparison', 'jobs'

    def __init__(self, groups: Sequence[Sequence[JobSpec]], folder: Path, environment: Environment,
                 place: Path, required: bool = False) -> None:
        super().__init__()
        self.groups, self.folder, self.environment, self.place = groups, folder, environment, place
        self.required = required

    def run(self, data: Iterable[Any] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yields nothing. Raises CompareError if another task, of an earlier submission, runs these jobs."""
        jobs = self.groups[rank]
        training = next((job for job in reversed(jobs) if job.resumes), jobs[0])
        with locked(self.folder / f'{training.name}.lock') as lock:
            outcomes = Runner(jobs, self.folder, 1, lambda _: self.environment(rank), self.place, lock).run()
        failed = [f'{name} failed: {outcome.reason}' for name, outcome in outcomes.items()
                  if outcome.state == 'failed']
        if failed and self.required:
            raise TasksError(failed[0])
        yield from ()


def run_on(executor: Executor, detector: Sequence[JobSpec], groups: Sequence[Sequence[JobSpec]], folder: Path,
           environment: Environment, place: Path) -> None:
    """Runs the detector, then each group of jobs as a task; raises as `Executor.run`."""
    first = RunJobs([detector], folder, environment, place, required=True)
    stages = [TaskStage('detector', [first], 1, True)]
    groups = [[*detector, *group] for group in groups]
    methods = TaskStage('methods', [RunJobs(groups, folder, environment, place)], len(groups), True)
    executor.run('compare', [*(stages if detector else []), methods], folder / 'executor')
