"""Restores all videos below a folder, or in object storage, in independent tasks of an executor.

Three stages, each with the same number of tasks: `videos` restores short videos and plans long ones, `pieces`
restores pieces of long ones, `finish` joins the pieces and restores short videos that killed tasks have left.
A fourth writes the report.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from datatrove.io import get_datafolder, get_shard_from_paths_file

import gavn
from gavn.errors import InputPathError
from gavn.media import MediaError, fitting_ending
from gavn.restoration.archive_records import ArchiveRecords
from gavn.restoration.output_path import OutputPathError
from gavn.restoration.restorer_spec import RestorerSpec, load_restorer
from gavn.restoration.settings import Settings
from gavn.runtime.executors import MAX_TASKS
from gavn.runtime.file_names import OUTPUT_ENDINGS, VIDEO_ENDINGS, beside, output_ending, output_stem
from gavn.runtime.files import sha256
from gavn.runtime.folders import Folder, list_files, version

WORK = '.gavn'  # folder of the work in the output folder


@dataclass(frozen=True)
class Archive:
    """Videos to restore, and where.

    Attributes:
        source: folder of the videos, or its URL.
        output: folder of the results, or its URL.
        spec: which networks.
        settings: what to restore, and how.
        suffix: of output names.
        tasks: number of tasks of each stage.
        piece: frames of the smallest piece; longer videos are restored in pieces.
        count: number of videos.
        run: name of the listing and of the records in the work folder.
    """

    source: str
    output: str
    spec: RestorerSpec
    settings: Settings
    suffix: str = 'gavn'
    tasks: int = 1
    piece: int = 3000
    count: int = 0
    run: str = ''

    @cached_property
    def inputs(self) -> Folder:
        """The folder of the videos."""
        return get_datafolder(self.source)

    @cached_property
    def outputs(self) -> Folder:
        """The folder of the results."""
        return get_datafolder(self.output)

    @property
    def work(self) -> str:
        """Name of the folder of listing, records and logs, in `outputs`."""
        return f'{WORK}/{self.run}'

    def listed(self, tasks: int | None, workers: int = 1) -> Archive:
        """Lists the videos in a file of the work folder.

        Args:
            tasks: number of tasks; None = one per video, at least one per worker, `MAX_TASKS` at most.
            workers: tasks that run at the same time.

        Returns:
            The archive with its numbers of videos and tasks, and its run, which depends on the videos and all
            settings.

        Raises:
            InputPathError: the input is not a folder, or has no videos.
            OutputPathError: the outputs would be among the inputs.
        """
        source, output = (folder.resolve_paths('').rstrip('/') for folder in (self.inputs, self.outputs))
        if f'{output}/'.startswith(f'{source}/'):
            raise OutputPathError(f'{self.output} is in {self.source}: outputs would become inputs\n'
                                  'use another output folder')
        if not self.inputs.isdir(''):
            raise InputPathError(f'{self.source} is not a folder\nrestore a single video without --executor')
        digest, count, part = hashlib.sha256(), 0, f'{WORK}/listing.{uuid4().hex}'
        with self.outputs.open(part, 'w') as file:
            for name in list_files(self.inputs, _is_video_name):
                line = json.dumps(name) + '\n'
                digest.update(line.encode())
                file.write(line)
                count += 1
        if not count:
            self.outputs.rm_file(part)
            raise InputPathError(f'{self.source}: no videos found')
        tasks = tasks or min(max(count, workers), MAX_TASKS)
        weights = self.spec.weights and sha256(self.spec.weights)
        done = replace(self, source=source, output=output, tasks=tasks, count=count)
        digest.update(repr((gavn.__version__, done, weights)).encode())
        done = replace(done, run=digest.hexdigest()[:12])
        self.outputs.makedirs(done.work, exist_ok=True)
        self.outputs.mv(part, f'{done.work}/videos.jsonl')
        return done

    def shard(self, rank: int) -> Iterator[str]:
        """Yields the names of the videos of a task."""
        listing = self.outputs.resolve_paths(f'{self.work}/videos.jsonl')
        yield from map(json.loads, get_shard_from_paths_file(listing, rank, self.tasks))

    def records(self, stage: str) -> ArchiveRecords:
        """Returns the records of a stage."""
        return ArchiveRecords(self.outputs, f'{self.work}/records', stage)

    def target(self, name: str, path: Path) -> str:
        """Returns the name of the output of a video, in `outputs`; `path` is a local copy of the video."""
        ending = output_ending(path)
        with suppress(MediaError):  # reported when the video is restored
            ending = fitting_ending(path, ending)
        return self._stem(name) + ending

    def finished(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Returns the name and the report of the output of a video; None if there is none yet."""
        for ending in (*OUTPUT_ENDINGS, os.path.splitext(name)[1]):
            target = self._stem(name) + ending
            report = os.fspath(beside(Path(target), '.json'))
            if self.outputs.exists(target) and self.outputs.exists(report):
                with self.outputs.open(report, 'r', encoding='utf-8') as file:
                    content = json.load(file)
                if content['source'] == self.url(name):
                    return target, content
        return None

    def job(self, name: str) -> dict[str, Any]:
        """Returns what two outputs of a video have in common if one can stand for the other, as JSON values.

        Raises an OSError if the video cannot be read.
        """
        weights = sorted(load_restorer(self.spec).weights.values())
        job = {'input': version(self.inputs, name), 'weights': weights, 'settings': self.settings.plain()}
        return json.loads(json.dumps(job))

    def url(self, name: str) -> str:
        """Returns the path or URL of a video, as reports have it."""
        return self.inputs.resolve_paths(name)

    def _stem(self, name: str) -> str:
        folder, base = os.path.split(name)
        stem = output_stem(os.path.splitext(base)[0], self.suffix, self.settings.preview is not None)
        return os.path.join(folder, stem)


def _is_video_name(name: str) -> bool:
    return name.lower().endswith(VIDEO_ENDINGS)
