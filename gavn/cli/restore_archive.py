"""`gavn restore ARCHIVE/ -o OUT/ --executor ...`: restores all videos of an archive in independent tasks."""
from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gavn.errors import ArgumentError, ExitCode
from gavn.runtime.executors import Executor, check_datatrove

if TYPE_CHECKING:
    from gavn.restoration.restorer_spec import RestorerSpec
    from gavn.restoration.settings import Settings

_REFUSED = {'audio': '--audio', 'force': '--force', 'compare': '--compare', 'no_report': '--no-report'}


def restore_archive(args: argparse.Namespace, spec: RestorerSpec, settings: Settings) -> int:
    """Restores an archive, or submits it to Slurm; prints a summary. Returns the exit code.

    Raises:
        ArgumentError: the arguments do not suit an archive.
        MissingPackageError: datatrove is not installed.
        RunError: tasks did not complete.
    """
    _check(args)
    check_datatrove()
    from gavn.restoration.archive import Archive
    from gavn.restoration.archive_report import read_summary
    from gavn.restoration.archive_steps import stages
    executor = Executor.from_arguments(args, args.workers)
    if spec.weights:
        spec = replace(spec, weights=os.path.abspath(spec.weights))
    archive = Archive(args.input[0], args.output, spec, settings, args.suffix,
                      piece=args.piece_frames).listed(args.tasks, executor.workers)
    print(f'{archive.count} videos, {archive.tasks} tasks', flush=True)
    logs = archive.outputs.resolve_paths(f'{archive.work}/logs')
    executor.run('restore', stages(archive, executor.threads, args.no_resume), logs, persist=True)
    if executor.returns_at_once:
        print(f'submitted; {archive.outputs.resolve_paths("report.csv")} has the result of each video')
        return ExitCode.OK
    summary = read_summary(archive)
    counts = [f'{summary[key]} {key}' for key in ('done', 'failed', 'skipped', 'unfinished')
              if key in summary]
    print(f'{", ".join(counts)}; {summary["hours"]:.2f} hours of video, '
          f'{summary.get("frames_per_second", 0):.1f} frames/s a task; '
          f'{archive.outputs.resolve_paths("report.csv")} has the result of each video')
    return ExitCode.FAILED if {'failed', 'unfinished'} & summary.keys() else ExitCode.OK


def _check(args: argparse.Namespace) -> None:
    if len(args.input) != 1 or args.output is None:
        raise ArgumentError('--executor needs one folder and an output folder\n'
                              'gavn restore ARCHIVE/ -o OUT/ --executor local')
    if used := [flag for name, flag in _REFUSED.items() if getattr(args, name)]:
        raise ArgumentError(f'{used[0]} does not go with --executor\nomit one of them')
    if args.ext != 'auto':
        raise ArgumentError('--ext does not go with --executor: the containers of the inputs are kept\n'
                              'omit one of them')
