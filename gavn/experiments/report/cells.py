"""Columns and cells of the tables: figures, their ranks, their origin, and why they are missing."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gavn.experiments.report.layout import ABLATIONS, GAVN, QUALITY, TASKS, Task, decimals, in_order
from gavn.experiments.report.results import LANDMARKS, MethodResult
from gavn.metrics.results_file import BETWEEN_NOTES, RunInfo
from gavn.metrics.table import column_of

BEST, SECOND = 'best', 'second'
MISSING = '–'  # a run that is not done yet


@dataclass(frozen=True)
class Cell:
    """A cell."""

    text: str = ''  # with newlines; code between backticks
    value: float | None = None  # for ranking, as printed; None: not ranked
    mark: str = ''  # '', BEST or SECOND
    after: str = ''  # text after the marked text: a deviation or a gain
    missing: bool = False  # whether a figure is missing
    run: str = ''  # the command for a missing figure, if no other cell of the row has it


@dataclass(frozen=True)
class TableColumn:
    """Heading of a column."""

    title: str  # in LaTeX a letter after the last underscore is a subscript
    better: str = ''  # 'higher', 'lower' or ''
    group: str = ''  # heading over several columns: a data set
    figures: bool = False  # whether it has numbers, which are right-aligned
    in_latex: bool = True  # whether it is part of the LaTeX table


Block = list[list[Cell]]
ORIGIN = (*(TableColumn(title, figures=True) for title in ('Params (M)', 'GMACs', 'Frames/s')),
          *(TableColumn(title, in_latex=False) for title in ('Training', 'Option file', 'Checkpoint')))


@dataclass(frozen=True)
class Table:
    """A table."""

    name: str  # of its files
    number: str  # in the paper
    title: str  # after the number
    columns: Sequence[TableColumn]  # left to right
    blocks: Sequence[Block]  # groups of rows, separated by rules. Repeated first cells are shown once.
    notes: Sequence[str] = ()  # paragraphs below

    def once(self) -> list[Block]:
        """The blocks, with the first cell of a row empty if it repeats the row above."""
        return [[row if not place or row[0] != block[place - 1][0] else [Cell(), *row[1:]]
                 for place, row in enumerate(block)] for block in self.blocks]


@dataclass(frozen=True)
class TableContent:
    """Content of tables."""

    measures: Sequence[str] = QUALITY  # metric columns of tables 1 and 3
    tasks: Sequence[Task] = tuple(TASKS.values())  # rows of tables 1 to 3
    methods: Sequence[str] | None = None  # to list. None: the paper's and all others with results.
    std: bool = False  # also print standard deviations over clips
    ours: bool = True  # whether these are our runs, with origins and missing runs

    def shows(self, method: str) -> bool:
        """Whether tables 1, 2 and 4 contain a method with results."""
        if self.methods is not None:
            return method in self.methods
        return method not in ABLATIONS or method == GAVN

    def listed(self, expected: Iterable[str], found: Iterable[str]) -> list[str]:
        """Methods of a table, in order: `expected`, and the shown ones of `found`."""
        if self.methods is not None:
            return in_order(self.methods)
        return in_order([*(expected if self.ours else ()), *filter(self.shows, found)])


def ranked(cells: Sequence[Cell], better: str) -> list[Cell]:
    """Marks the best and the second best values; equal values have the same mark.

    Values are compared as printed. Fewer than two values are not ranked.
    """
    values = sorted({cell.value for cell in cells if cell.value is not None}, reverse=better == 'higher')
    if sum(cell.value is not None for cell in cells) < 2:
        return list(cells)
    marks = dict(zip(values, (BEST, SECOND), strict=False))
    return [replace(cell, mark='' if cell.value is None else marks.get(cell.value, '')) for cell in cells]


def measure_column(measure: str, group: str = '') -> TableColumn:
    """The column of a metric; `group` is its data set."""
    shown = column_of(measure)
    return TableColumn(shown.title, shown.better, group, figures=True)


def figure(result: MethodResult | None, measure: str, std: bool) -> Cell:
    """A mean, `n/a` if it could not be measured, empty if it does not apply."""
    if result is None:
        return Cell(MISSING, missing=True)
    if measure not in result.mean:
        exempt = result.is_reference or measure in LANDMARKS  # which not all methods have as input
        return Cell() if exempt else Cell('not measured', missing=True)
    value, deviation = result.mean[measure], result.std.get(measure)
    if value is None:
        return Cell('n/a')
    digits = decimals(measure)
    text = f'{value:.{digits}f}'
    return Cell(text, None if result.is_reference else float(text),
                after=f' ± {deviation:.{digits}f}' if std and deviation is not None else '')


def origin(runs: Sequence[RunInfo], to_run: Iterable[str] = ()) -> list[Cell]:
    """Cells under `ORIGIN`: all different values of several runs, then commands to run."""
    files = (f'`{run.option_file}`' for run in runs if run.option_file)
    return [
        joined(f'{run.parameters / 1e6:.2f}' for run in runs if run.parameters is not None),
        joined(f'{run.gmacs:.1f}' for run in runs if run.gmacs is not None),
        joined(f'{run.fps:.1f}' for run in runs if run.fps is not None),
        joined(map(_training, runs)),
        joined([*files, *to_run]),
        joined(f'`{run.checkpoint}`' for run in runs if run.checkpoint)]


def _training(run: RunInfo) -> str:
    iterations = [] if run.iterations is None else [f'{run.iterations:,} it']
    return ', '.join(iterations if run.minutes is None else [*iterations, f'{run.minutes:.0f} min'])


def joined(texts: Iterable[str]) -> Cell:
    """A cell with the different texts, one per line."""
    return Cell('\n'.join(dict.fromkeys(text for text in texts if text)))


def reasons(results: Iterable[MethodResult | None], measures: Sequence[str]) -> list[str]:
    """Why cells are n/a or have fewer clips: each reason once, with its methods."""
    known = [result for result in results if result]
    found: dict[str, list[str]] = {}
    for result in known:
        for note in result.notes.split(BETWEEN_NOTES):
            if note.partition(':')[0] in measures:
                found.setdefault(note, []).append(result.run.method)
    everyone = {result.run.method for result in known}
    return [note if set(methods) == everyone else f'{note} ({", ".join(dict.fromkeys(methods))})'
            for note, methods in found.items()]
