"""The report of an archive: report.csv and report.json in the output folder, written record by record."""
from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO
from uuid import uuid4

from gavn.restoration.archive import Archive

COLUMNS = ('file', 'status', 'reason', 'target', 'frames', 'hours', 'seconds', 'frames_per_second')
"""`seconds` are those of all tasks that worked on the video, `frames_per_second` is the speed of one task."""

_STOPPED = 'a task was stopped; rerun the same command to resume'


def write_report(archive: Archive, stage: str) -> dict[str, Any]:
    """Writes the report from the records of a stage; returns its summary."""
    statuses: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    with _replaced(archive, 'report.csv', newline='') as rows, _replaced(archive, 'report.json') as file:
        table = csv.DictWriter(rows, COLUMNS, extrasaction='ignore')
        table.writeheader()
        file.write('{"videos": [')
        for number, record in enumerate(_records(archive, stage)):
            statuses[record['status']] += 1
            totals.update({key: record.get(key, 0) for key in ('frames', 'hours', 'seconds')})
            record = record | _speed(record)
            table.writerow(record)
            file.write((',\n' if number else '\n') + json.dumps(record))
        summary = {**statuses, **totals, **_speed(totals)}
        file.write(f'\n],\n"summary": {json.dumps(summary)}}}\n')
    return summary


@contextmanager
def _replaced(archive: Archive, name: str, newline: str | None = None) -> Iterator[TextIO]:
    """Yields a new file that replaces a report at the end; another run may write it at the same time."""
    part = f'{archive.work}/{uuid4().hex}.{name}'
    text = {'encoding': 'utf-8', 'errors': 'backslashreplace'}  # file names may be no valid UTF-8
    with archive.outputs.open(part, 'w', newline=newline, **text) as file:
        yield file
    archive.outputs.mv(part, name)


def read_summary(archive: Archive) -> dict[str, Any]:
    """Returns the summary of the report: numbers of videos by status, frames, hours, seconds, speed."""
    with archive.outputs.open('report.json', 'r') as file:
        for line in file:
            if line.startswith('"summary": '):
                return json.loads(line.removeprefix('"summary": ').rstrip().removesuffix('}'))
    return {}


def _records(archive: Archive, stage: str) -> Iterator[dict[str, Any]]:
    """Yields a record of every video; `unfinished` where a task has none."""
    recorded = archive.records(stage)
    for rank in range(archive.tasks):
        records = {record['file']: record for record in recorded.of(rank)}
        if len(records) < len(range(rank, archive.count, archive.tasks)):
            for name in archive.shard(rank):
                records.setdefault(name, {'file': name, 'status': 'unfinished', 'reason': _STOPPED})
        yield from records.values()


def _speed(record: dict[str, Any] | Counter[str]) -> dict[str, float]:
    return {'frames_per_second': record['frames'] / record['seconds']} if record.get('seconds') else {}
