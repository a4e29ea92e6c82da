"""Runs a comparison: plan, trainings, tests, report."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from gavn.experiments.compare import report
from gavn.experiments.compare.calibration import calibrate
from gavn.experiments.compare.experiments import (
    DETECTOR,
    Method,
    check_titles,
    load_detector,
    load_method,
    option_files,
    size_warning,
)
from gavn.experiments.compare.folder import LOCK, forget, open_folder, write_options
from gavn.experiments.compare.generated_options import check_unchanged, write
from gavn.experiments.compare.jobs import JobOutcome, JobSpec, Runner, locked, log_of
from gavn.experiments.compare.plan import ComparePlan
from gavn.experiments.compare.settings import CompareError, CompareSettings
from gavn.runtime.executors import Executor, TasksError

Command = Sequence[str]
"""The command that trains or tests, to which `-opt FILE` is added."""


def compare(settings: CompareSettings, trainer: Command, tester: Command, fresh: Sequence[str] | None = None,
            executor: Executor | None = None, report_only: bool = False) -> bool:
    """Plans, trains, tests and reports.

    Finished work of an interrupted call is not repeated. A failed method does not stop others.

    Args:
        fresh: methods to start anew. An empty list means all, None means none.
        executor: runs each method as a task; None = processes of this call.
        report_only: run nothing; report what is finished.

    Returns:
        Whether all of it was done, or submitted.

    Raises:
        CompareError, OptionError: an error that is found before training.
    """
    known = (*settings.methods, DETECTOR) if settings.detectors else settings.methods
    if unknown := [token for token in fresh or () if token not in known]:
        raise CompareError(f'--fresh {unknown[0]}: this comparison has {", ".join(known)}')
    if fresh is not None and report_only:
        raise CompareError('--fresh deletes and --report runs nothing: omit one of them')
    if executor is not None and settings.budget.unit == 'min':
        raise CompareError('a budget in minutes is timed on this machine, not on a cluster\n'
                           'give iterations, as in --budget 4000it')
    methods = [load_method(settings, token) for token in settings.methods]
    check_titles(methods)
    open_folder(settings.out)
    with locked(settings.out / LOCK) as lock:
        if fresh is not None:
            forget(settings, fresh)
        return Comparison(settings, methods, trainer, tester, lock).run(executor, report_only)


def _environment(settings: CompareSettings, slot: int) -> dict[str, str]:
    """Environment of a process: threads, and its GPU in turn or the GPUs of the cluster's task."""
    threads, gpus = str(settings.threads), settings.gpus
    visible = {} if gpus is None else {'CUDA_VISIBLE_DEVICES': gpus[slot % len(gpus)] if gpus else ''}
    return {**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads, 'GAVN_PROGRESS': '0',
            'PYTHONUNBUFFERED': '1', **visible}


class Comparison:
    """One call of `compare`, which holds the lock of its folder."""

    def __init__(self, settings: CompareSettings, methods: Sequence[Method], trainer: Command,
                 tester: Command, lock: int) -> None:
        self.settings, self.methods, self.lock = settings, methods, lock
        self.trainer, self.tester = trainer, tester
        self.plan = ComparePlan.load_or_create(settings, methods)
        self.outcomes: dict[str, JobOutcome] = {}
        self._shown: dict[str, str] = {}
        self.environment = partial(_environment, settings)

    def run(self, executor: Executor | None, report_only: bool) -> bool:
        """Does what is not done yet; returns whether all of it is."""
        if words := size_warning(self.methods):
            print(f'warning: {words}')
        self._share_out()
        write_options(self.methods, self.settings, self.plan)
        planned = [method for method in self.methods if method.token in self.plan.shares]
        detector, groups = self._detector(), [self._jobs(method) for method in planned]
        if executor is not None and not report_only:
            self._run_tasks(executor, detector, groups)
            if executor.returns_at_once:
                print('submitted; the same command with --report makes tables from what is finished')
                return True
        idle = executor is not None or report_only
        self._do([*detector, *chain.from_iterable(groups)], 0 if idle else self.settings.jobs)
        for name, outcome in self.outcomes.items():
            if outcome.state == 'waiting':
                outcome.reason = f'not finished; see {log_of(self.settings.out, name)}'
        return self._report()

    def _run_tasks(self, executor: Executor, detector: Sequence[JobSpec], groups: Sequence[Sequence[JobSpec]]
                   ) -> None:
        """Runs a task for each group. After lost tasks the report says what is missing."""
        from gavn.experiments.compare.cluster import run_on
        try:
            run_on(executor, detector, groups, self.settings.out, self.environment, self.settings.root)
        except TasksError as error:
            print(f'warning: {error}')

    def _share_out(self) -> None:
        """Gives each method without a share its share of the budget. One that cannot be timed has failed."""
        lacking = [method for method in self.methods if method.token not in self.plan.shares]
        seconds = self._time(lacking) if lacking and not self.plan.clips else {}
        for method in lacking:
            if self.plan.clips or method.token in seconds:
                self.plan.give(method, self.settings, seconds.get(method.token, ()))
                print(f'{method.token}: {self.plan.shares[method.token].iterations:,} iterations')
        self.plan.write(self.settings.out)

    def _time(self, lacking: Sequence[Method]) -> dict[str, list[float]]:
        """Seconds per iteration in each phase, of methods that can be timed.

        Methods with the same work, such as one with audio and one with silence, are timed once, so that noise
        in the timing gives none of them more training.
        """
        self._do(self._detector(), 1)
        outcome = self.outcomes.get(f'train_{DETECTOR}')
        if outcome and outcome.state != 'done':  # some methods cannot be timed without it
            raise CompareError(f'the landmark detector could not be trained: {outcome.reason}')
        known = {token: share.seconds for token, share in self.plan.shares.items()}
        known_first = sorted(self.methods, key=lambda method: method.token not in known)
        patterns = {method.token: next(other for other in known_first if other.work == method.work)
                    for method in lacking}
        asked = {pattern.token: pattern for pattern in patterns.values() if pattern.token not in known}
        timed, failed = calibrate(list(asked.values()), self.methods, self.settings, self.trainer,
                                  self.environment, self.lock) if asked else ({}, {})
        for token, pattern in patterns.items():
            if reason := failed.get(pattern.token):
                self.outcomes[f'train_{token}'] = JobOutcome('failed', reason=f'could not be timed: {reason}')
        known |= timed
        return {token: known[pattern.token] for token, pattern in patterns.items() if pattern.token in known}

    def _do(self, jobs: Sequence[JobSpec], parallel: int) -> None:
        settings = self.settings
        runner = Runner(jobs, settings.out, parallel, self.environment, settings.root, self.lock, self.show)
        self.outcomes |= runner.run()

    def show(self, outcomes: Mapping[str, JobOutcome]) -> None:
        """Prints a line for each job whose state has changed."""
        for name, outcome in outcomes.items():
            if self._shown.get(name, 'waiting') != outcome.state:
                details = {'running': f'see {log_of(self.settings.out, name)}',
                           'done': f'{outcome.seconds / 60:.1f} min'}
                detail = details.get(outcome.state, outcome.reason)
                print(f'{name:28} {outcome.state:9} {detail}', flush=True)
            self._shown[name] = outcome.state

    def _detector(self) -> list[JobSpec]:
        """The job that trains the landmark detector, if it is selected and needed."""
        settings = self.settings
        if not settings.detectors or not any(method.needs_detector for method in self.methods):
            return []
        file, options = settings.file('train', DETECTOR), load_detector(settings)
        origin = option_files(settings, 'train', DETECTOR)[0]
        check_unchanged(file, options, origin)
        write(file, options, origin)
        return [self._training(DETECTOR, file, settings.weights(DETECTOR, 'l'))]

    def _training(self, token: str, file: Path, weights: Path, detector: Path | None = None) -> JobSpec:
        needs = (f'train_{DETECTOR}',) if detector and self.settings.detectors else ()
        return JobSpec(f'train_{token}', (*self.trainer, '-opt', str(file), '--auto_resume'),
                       (file, detector) if detector else (file,), (weights,), needs, resumes=True)

    def _jobs(self, method: Method) -> list[JobSpec]:
        """Training and tests of a method."""
        settings = self.settings
        weights, detector = settings.weights(method.token), None
        if method.needs_detector:
            detector = settings.root / method.train['path']['pretrain_network_l']
        jobs = [self._training(method.token, settings.file('train', method.token), weights, detector)]
        for test in method.tests(settings):
            jobs.append(JobSpec(f'test_{test.token}', (*self.tester, '-opt', str(test.file)),
                                (test.file, weights), tuple(test.results(settings)),
                                (f'train_{method.token}',),
                                cleared=settings.out / 'tested' / settings.name(test.token)))
        return jobs

    def _report(self) -> bool:
        """Writes results, tables, curves and the page; reports failures."""
        settings, outcomes = self.settings, self.outcomes
        files = report.gather(settings, self.methods, outcomes)
        made = {'tables': report.tabulate(settings, files, self.methods),
                'curves': report.draw_curves(settings, self.methods, outcomes)}
        missing = {what: reason for what, reason in made.items() if reason}
        page = report.write_page(settings, self.plan, self.methods, outcomes, missing)
        if 'tables' not in missing:
            print((settings.out / 'tables' / report.TABLE).read_text(encoding='utf-8'))
        failed = [f'{name} {outcome.state}: {outcome.reason}' for name, outcome in outcomes.items()
                  if outcome.state != 'done']
        for words in [*failed, *(f'no {what}: {reason}' for what, reason in missing.items())]:
            print(words)
        print(f'{len(files)} files of results in {settings.out / "results"}; {page} says how they came '
              'about')
        return not failed and not missing
