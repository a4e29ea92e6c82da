"""Records of the tasks of an archive: lines of JSON in files of the work folder."""
from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeAlias
from uuid import uuid4

from gavn.runtime.folders import Folder

Record: TypeAlias = dict[str, Any]


class ArchiveRecords:
    """What the tasks of a stage have recorded, when the files were first listed.

    Each process of a task has a file of its own: a task that is started again does not disturb a process of
    it that still runs.

    Args:
        folder: the output folder.
        place: name of the folder of the records, in `folder`.
        stage: name of the stage.
    """

    def __init__(self, folder: Folder, place: str, stage: str) -> None:
        self.folder, self.place, self.stage = folder, place, stage

    def of(self, rank: int) -> list[Record]:
        """Returns the records of a task, the last one of each video or piece."""
        lines = sorted((line for name in self._files[rank] for line in self._lines(name)),
                       key=lambda line: line[0])
        return list({(record['file'], record.get('first')): record for _, record in lines}.values())

    @contextmanager
    def writer(self, rank: int) -> Iterator[Callable[[Record], None]]:
        """Yields the function that writes the records of this process."""
        name = f'{self.place}/{self.stage}_{rank:05d}.{uuid4().hex}.jsonl'
        with self.folder.open(name, 'w') as file:
            def write(record: Record) -> None:
                file.write(json.dumps([time.time(), record]) + '\n')
                file.flush()
            yield write

    @cached_property
    def _files(self) -> defaultdict[int, list[str]]:
        """Names of the files of each task."""
        self.folder.fs.invalidate_cache()
        files = defaultdict(list)
        for name in self.folder.ls(self.place, detail=False) if self.folder.isdir(self.place) else ():
            stage, _, rest = os.path.basename(name).partition('_')
            if stage == self.stage:
                files[int(rest.partition('.')[0])].append(name)
        return files

    def _lines(self, name: str) -> Iterator[tuple[float, Record]]:
        """Yields times and records; leaves out the incomplete last line of a killed process."""
        with self.folder.open(name, 'r') as file:
            yield from (json.loads(line) for line in file if line.endswith('\n'))
