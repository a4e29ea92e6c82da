"""The datatrove steps that restore an archive; see `gavn.restoration.archive`."""
from __future__ import annotations

import time
import traceback
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import cv2
import torch
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from gavn.errors import GavnError
from gavn.faces.tracker import NoFace
from gavn.media import VideoReader
from gavn.restoration import resume_state
from gavn.restoration.archive import Archive
from gavn.restoration.archive_records import Record
from gavn.restoration.archive_report import write_report
from gavn.restoration.output_path import OutputPathError
from gavn.restoration.protocols import VideoRestorer
from gavn.restoration.report import Report
from gavn.restoration.restore_video import join_pieces, plan_video, restore_piece, restore_video
from gavn.restoration.restorer_spec import load_restorer
from gavn.restoration.settings import Settings
from gavn.runtime.executors import TaskStage
from gavn.runtime.file_names import beside
from gavn.runtime.folders import check_readable, local_copy, local_target
from gavn.runtime.notices import NOTICES, show_notices

_PAUSE = 5.  # seconds between looks at a video that another process restores
_LOST = 'its task was stopped before the video was shared out; rerun the same command'


class _Step(PipelineStep):
    """Runs once for each task of a stage."""

    type = 'archive'

    def __init__(self, archive: Archive, threads: int) -> None:
        super().__init__()
        self.archive, self.threads = archive, threads

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
            ) -> Iterator[Document]:
        """Writes the records of a task; yields nothing."""
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        show_notices()
        with self.archive.records(self.name).writer(rank) as write:
            for record in self.work(rank):
                print(': '.join(filter(None, map(record.get, ('status', 'file', 'reason')))), flush=True)
                self.stat_update(record['status'])
                write(record)
        yield from ()

    @abstractmethod
    def work(self, rank: int) -> Iterator[Record]:
        """Does the work of a task; yields a record of each video or piece."""

    def failure(self, name: str, error: Exception, **facts: Any) -> Record:
        """Returns the record of a video that failed; raises errors that do not concern it alone."""
        if isinstance(error, OSError):
            try:
                check_readable(self.archive.inputs, name)
            except OSError as reason:
                return _record(name, 'failed', f'{name} cannot be read: {reason}', **facts)
            raise error
        if isinstance(error, GavnError):
            return _record(name, 'failed', error, **facts)
        traceback.print_exception(error)  # a damaged file may raise anything
        return _record(name, 'failed', f'{type(error).__name__}: {error}', **facts)


class RestoreVideos(_Step):
    """Restores short videos; plans videos that are longer than a piece."""

    name = 'videos'

    def work(self, rank: int) -> Iterator[Record]:
        """Yields the record of each video of the task."""
        yield from map(self.restore, self.archive.shard(rank))

    def restore(self, name: str) -> Record:
        """Restores or plans a video; returns its record. Errors of the machine are raised."""
        load_restorer(self.archive.spec)  # its errors concern all videos
        with NOTICES.about(name):
            try:
                return self._done(name) or self._restore(name)
            except NoFace as error:
                return _record(name, 'skipped', error)
            except Exception as error:  # other videos continue
                return self.failure(name, error)

    def _done(self, name: str) -> Record | None:
        """Returns the record of a video that has an output of this or an earlier run."""
        finished = self.archive.finished(name)
        if finished is None:
            return None
        target, report = finished
        try:
            job = self.archive.job(name)
        except FileNotFoundError:  # removed after it was restored
            return _done_record(name, target, report)
        made = report.get('job', {})
        differing = ', '.join(key for key in job if made.get(key) != job[key])
        return self._taken(name, target, f'was made with different {differing}') if differing \
            else _done_record(name, target, report)

    def _taken(self, name: str, target: str, why: str) -> Record:
        path = self.archive.outputs.resolve_paths(target)
        return _record(name, 'skipped', f'{path} exists and {why}\n'
                       'remove it, or use another output folder', target=target)

    def _restore(self, name: str) -> Record:
        job = self.archive.job(name)
        with local_copy(self.archive.inputs, name) as source, self._target(name, source) as (target, path):
            while True:
                if self.archive.outputs.exists(target):
                    return self._done(name) or self._taken(name, target, 'is of another video')
                try:
                    return self._restore_file(name, source, target, path, job)
                except OutputPathError as error:
                    if not isinstance(error.__cause__, resume_state.InUseError):
                        raise
                time.sleep(_PAUSE)  # a process of a lost machine may still be at work

    @contextmanager
    def _target(self, name: str, source: Path) -> Iterator[tuple[str, Path]]:
        """Yields the name of the output and the local path where it is written."""
        target = self.archive.target(name, source)
        with local_target(self.archive.outputs, target, beside(Path(target), '.gavn').name) as path:
            yield target, path

    def _restore_file(self, name: str, source: Path, target: str, path: Path, job: dict[str, Any]) -> Record:
        archive = self.archive
        if self._is_long(source) and (record := self.plan_pieces(name, source, target, path)):
            return record
        report = self.write(source, path, load_restorer(archive.spec), archive.settings)
        report = replace(report, source=archive.url(name), target=archive.outputs.resolve_paths(target),
                         job=job)
        report.write(beside(path, '.json'))
        return _done_record(name, target, asdict(report))

    def write(self, source: Path, path: Path, restorer: VideoRestorer, settings: Settings) -> Report:
        """Writes the output of a video to a local path."""
        return restore_video(source, path, restorer, settings)

    def plan_pieces(self, name: str, source: Path, target: str, path: Path) -> Record | None:
        """Plans a long video; returns its record, or None if there is nothing to share."""
        archive = self.archive
        plan = plan_video(source, path, load_restorer(archive.spec), archive.settings)
        if plan.choice.restores and plan.faces.count > archive.piece:
            return _record(name, 'planned', target=target, frames=plan.faces.count)
        return None

    def _is_long(self, source: Path) -> bool:
        """Whether a video may have to be cut into pieces."""
        frames = VideoReader.from_path(source, self.archive.settings.fps).info.frames
        return (frames or inf) > self.archive.piece


class RestorePieces(_Step):
    """Restores pieces of the planned videos; each is a run of segments, at most one per video and task."""

    name = 'pieces'

    def work(self, rank: int) -> Iterator[Record]:
        """Yields the record of each piece of the task."""
        for number, (planned, piece) in enumerate(self.pieces()):
            if number % self.archive.tasks == rank:
                yield self.restore(planned, piece)

    def pieces(self) -> Iterator[tuple[Record, range]]:
        """Yields all pieces of all videos."""
        recorded = self.archive.records(RestoreVideos.name)
        for rank in range(self.archive.tasks):
            for record in recorded.of(rank):
                if record['status'] == 'planned':
                    frames, segment = record['frames'], resume_state.SEGMENT_FRAMES
                    length = max(self.archive.piece, -(-frames // self.archive.tasks))
                    length = -(-length // segment) * segment
                    for start in range(0, frames, length):
                        yield record, range(start, min(start + length, frames))

    def restore(self, planned: Record, piece: range) -> Record:
        """Restores a piece. If that fails, `finish` tries again and records why."""
        archive, name, target = self.archive, planned['file'], planned['target']
        facts = {'first': piece.start, 'frames': len(piece)}
        if archive.outputs.exists(target):
            return _record(name, 'done', **facts)

        def needed(file: str) -> bool:
            return not file[:9].isdecimal() or int(file[:9]) in piece

        try:
            with (NOTICES.about(name), local_copy(archive.inputs, name) as source,
                  local_target(archive.outputs, target, beside(Path(target), '.gavn').name, needed) as path):
                restore_piece(source, path, load_restorer(archive.spec), archive.settings, piece)
        except Exception as error:
            return self.failure(name, error, **facts)
        return _record(name, 'done', **facts)


class JoinPieces(RestoreVideos):
    """Joins the pieces, and restores what tasks have left that were killed, but for long videos."""

    name = 'finish'

    def __init__(self, archive: Archive, threads: int) -> None:
        super().__init__(archive, threads)
        self.before: dict[str, Record] = {}  # records of the task of stage `videos`

    def work(self, rank: int) -> Iterator[Record]:
        """Yields the final record of each video of the task."""
        self.before = {record['file']: record for record in self.archive.records(RestoreVideos.name).of(rank)}
        for name in self.archive.shard(rank):
            record = self.before.get(name, {})
            final = record.get('status') in ('failed', 'skipped') and 'target' not in record
            yield record if final else self.restore(name)

    def write(self, source: Path, path: Path, restorer: VideoRestorer, settings: Settings) -> Report:
        """Writes the output of a video from its pieces."""
        return join_pieces(source, path, restorer, settings)

    def plan_pieces(self, name: str, source: Path, target: str, path: Path) -> Record | None:
        """Leaves a long video to the next run if it was not planned: one task would take too long."""
        return None if name in self.before else _record(name, 'unfinished', _LOST)


class WriteReport(PipelineStep):
    """Writes the report of the archive."""

    type, name = 'archive', 'report'

    def __init__(self, archive: Archive) -> None:
        super().__init__()
        self.archive = archive

    def run(self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
            ) -> Iterator[Document]:
        """Writes report.csv and report.json; yields nothing."""
        write_report(self.archive, JoinPieces.name)
        yield from ()


def stages(archive: Archive, threads: int, retry: bool = False) -> list[TaskStage]:
    """Returns the stages that restore an archive; see `Archive.listed`.

    Args:
        archive: the archive.
        threads: of a task.
        retry: try failed videos of an earlier run again.
    """
    return [TaskStage('videos', [RestoreVideos(archive, threads)], archive.tasks, again=retry),
            TaskStage('pieces', [RestorePieces(archive, threads)], archive.tasks, again=True),
            TaskStage('finish', [JoinPieces(archive, threads)], archive.tasks, again=True),
            TaskStage('report', [WriteReport(archive)], 1, again=True)]


def _record(name: str, status: str, reason: object = '', **facts: Any) -> Record:
    return {'file': name, 'status': status, 'reason': str(reason), **facts}


def _done_record(name: str, target: str, report: Record) -> Record:
    frames, seconds = report['frames_out'], report['seconds'] + report.get('resumed_seconds', 0)
    hours = float(report['frames_in'] / Fraction(report['input']['frame_rate']) / 3600)
    return _record(name, 'done', target=target, frames=frames, hours=hours, seconds=seconds)
