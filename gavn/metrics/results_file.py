"""CSV files of results: one row per clip and method.

Columns: `LEADING`, the metrics as in `table.COLUMNS`, `TRAILING`. The clips of a method are followed by mean
and standard deviation over clips, in which every clip counts once. An empty cell means that a metric does not
apply (PSNR of the ground truth), `n/a` that it is undefined for the reason in `notes`.
"""
from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from gavn.config.sections import REFERENCES
from gavn.errors import GavnError
from gavn.metrics.table import COLUMNS
from gavn.runtime.files import atomic_path

LEADING = ('dataset', 'degradation', 'method', 'clip', 'frames')
TRAILING = ('option_file', 'checkpoint', 'parameters', 'gmacs', 'fps', 'iterations', 'minutes', 'notes')
DEGRADED, TRUTH = REFERENCES
MEAN, STD = 'mean', 'std'  # `clip` of summary rows
NOT_MEASURED = 'n/a'
BETWEEN_NOTES = ' | '
_COUNTS = ('parameters', 'iterations')
_FIGURES = ('gmacs', 'fps', 'minutes')


class ResultsError(GavnError):
    """A file of results cannot be read. The message names the file and the problem."""


@dataclass(frozen=True)
class RunInfo:
    """Method and data of a row. None and '' mean unknown."""

    dataset: str  # name of the data set's folder, or of the evaluated folder
    degradation: str  # layer of the input; '' if it was not made by `gavn prepare`
    method: str  # as in tables, or `DEGRADED` or `TRUTH`
    option_file: str = ''  # relative to the project's folder
    checkpoint: str = ''  # first 12 hexadecimal digits of the SHA-256 of the weights
    parameters: int | None = None  # of the network and its landmark detector
    gmacs: float | None = None  # GMACs per output frame of 224 x 224, with the detector
    fps: float | None = None  # frames per second of network and detector in this evaluation
    # iterations, minutes: duration of training
    iterations: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class ResultRow:
    """One clip of one method, or the mean or standard deviation of all of them."""

    run: RunInfo  # method and data
    clip: str  # its name, or `MEAN` or `STD`
    frames: int  # of the clip; of all clips in summary rows
    # by metric column; None: undefined; absent: does not apply
    values: Mapping[str, float | None] = field(default_factory=dict)
    notes: str = ''  # reasons of undefined values, on one line

    @property
    def is_clip(self) -> bool:
        """Whether this is the row of a clip, not a summary."""
        return self.clip not in (MEAN, STD)


def check_names(clips: Iterable[str]) -> None:
    """Raises ValueError for a clip with the name of a summary row."""
    if taken := sorted({MEAN, STD}.intersection(clips)):
        raise ValueError(f'a clip has the name {taken[0]!r}, which results use for summaries: rename it')


def summarize(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Appends mean and standard deviation (of the population) to the rows of a method.

    Undefined values are left out, and the notes say so.
    """
    columns = dict.fromkeys(column for row in rows for column in row.values)
    found = {column: [row.values[column] for row in rows if row.values.get(column) is not None]
             for column in columns}
    notes = [f'{column}: from {len(values)} of {len(rows)} clips' for column, values in found.items()
             if 0 < len(values) < sum(column in row.values for row in rows)]
    notes += dict.fromkeys(row.notes for row in rows if row.notes)
    frames = sum(row.frames for row in rows)

    def summary(clip: str, function: Any) -> ResultRow:
        values = {column: float(function(values)) if values else None for column, values in found.items()}
        return ResultRow(rows[0].run, clip, frames, values, BETWEEN_NOTES.join(notes))
    return [*rows, summary(MEAN, np.mean), summary(STD, np.std)]


def by_method(rows: Iterable[ResultRow]) -> Iterable[list[ResultRow]]:
    """Returns the rows of each method on each data set and degradation, in order of appearance."""
    methods: dict[tuple[str, str, str], list[ResultRow]] = {}
    for row in rows:
        methods.setdefault((row.run.dataset, row.run.degradation, row.run.method), []).append(row)
    return methods.values()


def with_summaries(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Groups rows of clips by method, in order of appearance, and summarizes each group."""
    return [row for group in by_method(rows) for row in summarize(group)]


def write_results(path: str | os.PathLike[str], rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Writes rows of clips and the summary of each method, atomically.

    Raises:
        ValueError: a clip has the name of a summary row, or a value is not finite.
    """
    rows = list(rows)
    check_names(row.clip for row in rows)
    written = with_summaries(rows)
    present = dict.fromkeys(column for row in written for column in row.values)
    metrics = [*(c for c in COLUMNS if c in present), *(c for c in present if c not in COLUMNS)]
    with atomic_path(path) as part, part.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [*LEADING, *metrics, *TRAILING], restval='')
        writer.writeheader()
        writer.writerows(_cells(row) for row in written)
    return written


def _cells(row: ResultRow) -> dict[str, Any]:
    run = {entry.name: getattr(row.run, entry.name) for entry in fields(RunInfo)}
    cells = {name: '' if value is None else value for name, value in run.items()}
    for column, value in row.values.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f'{row.run.method}, {row.clip}: {column} is {value}')
        cells[column] = NOT_MEASURED if value is None else value
    return cells | {'clip': row.clip, 'frames': row.frames, 'notes': row.notes}


def read_results(path: str | os.PathLike[str]) -> list[ResultRow]:
    """Reads all rows of a file of results, with summaries (see `ResultRow.is_clip`).

    Raises:
        ResultsError: the file cannot be read, lacks a column, or a number is invalid. The message names file
            and line.
    """
    path = Path(path)
    try:
        with path.open(newline='', encoding='utf-8') as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(header, path)
            return [_row(header, cells, f'{path}, line {reader.line_num}') for cells in reader if cells]
    except OSError as error:
        raise ResultsError(f'cannot read the results {path}: {error.strerror}') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f'{path} is not a CSV file: {error}') from error


def _check_header(header: Sequence[str], path: Path) -> None:
    if missing := [column for column in (*LEADING, *TRAILING) if column not in header]:
        raise ResultsError(f'{path} lacks the columns {", ".join(missing)}\nit is another kind of file: '
                           'make results with gavn test or gavn evaluate')
    if duplicates := [column for column in dict.fromkeys(header) if header.count(column) > 1]:
        raise ResultsError(f'{path} has the column {duplicates[0]!r} twice')


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> ResultRow:
    if len(cells) != len(header):
        raise ResultsError(f'{place}: {len(cells)} cells for {len(header)} columns')
    named = dict(zip(header, cells, strict=True))
    run: dict[str, Any] = {entry.name: named.pop(entry.name) for entry in fields(RunInfo)}
    run |= {name: int(_number(run[name], place, name, int)) if run[name] else None for name in _COUNTS}
    run |= {name: _number(run[name], place, name) if run[name] else None for name in _FIGURES}
    clip, notes = named.pop('clip'), named.pop('notes')
    frames = int(_number(named.pop('frames'), place, 'frames', int))
    values = {name: None if cell == NOT_MEASURED else _number(cell, place, name)
              for name, cell in named.items() if cell}
    return ResultRow(RunInfo(**run), clip, frames, values, notes)


def _number(text: str, place: str, column: str, kind: type = float) -> float:
    try:
        value = kind(text)
        if not math.isfinite(value):
            raise ValueError(text)
    except ValueError:
        raise ResultsError(f'{place}: {column} is {text!r}, not a {"whole " * (kind is int)}number') from None
    return value
