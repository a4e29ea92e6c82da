"""The content of a table: columns, blocks of rows, and cells with marks."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

BEST, SECOND = 'best', 'second'
MISSING = '–'  # a run that is not done yet


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: with newlines; code between backticks.
        value: for ranking, as printed; None: not ranked.
        mark: '', BEST or SECOND.
        after: text after the marked text: a deviation or a gain.
        missing: whether a figure is missing.
        run: the command for a missing figure, if no other cell of the row has it.
    """

    text: str = ''
    value: float | None = None
    mark: str = ''
    after: str = ''
    missing: bool = False
    run: str = ''


@dataclass(frozen=True)
class Column:
    """Heading of a column.

    Attributes:
        title: in LaTeX a letter after the last underscore is a subscript.
        better: 'higher', 'lower' or ''.
        group: heading over several columns: a data set.
        figures: whether it has numbers, which are right-aligned.
        in_latex: whether it is part of the LaTeX table.
    """

    title: str
    better: str = ''
    group: str = ''
    figures: bool = False
    in_latex: bool = True


Block = list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files.
        number: in the paper; '' for other tables.
        title: after the number.
        columns: left to right.
        blocks: groups of rows, separated by rules. Repeated first cells are shown once.
        notes: paragraphs below.
        runs: a second table with the origin of the figures.
    """

    name: str
    number: str
    title: str
    columns: Sequence[Column]
    blocks: Sequence[Block]
    notes: Sequence[str] = ()
    runs: Table | None = None


    def once(self) -> list[Block]:
        """The blocks, with the first cell of a row empty if it repeats the row above."""
        return [[row if not place or row[0] != block[place - 1][0] else [Cell(), *row[1:]]
                 for place, row in enumerate(block)] for block in self.blocks]


def without_empty(table: Table, title: str) -> Table:
    """Removes the column of a title if it is empty."""
    place = [column.title for column in table.columns].index(title)
    if any(row[place].text for block in table.blocks for row in block):
        return table
    blocks = [[[*row[:place], *row[place + 1:]] for row in block] for block in table.blocks]
    return replace(table, columns=[*table.columns[:place], *table.columns[place + 1:]], blocks=blocks)


def ranked(cells: Sequence[Cell], better: str) -> list[Cell]:
    """Marks the best and the second best values; equal values have the same mark.

    Values are compared as printed. Fewer than two values are not ranked.
    """
    values = sorted({cell.value for cell in cells if cell.value is not None}, reverse=better == 'higher')
    if sum(cell.value is not None for cell in cells) < 2:
        return list(cells)
    marks = dict(zip(values, (BEST, SECOND), strict=False))
    return [replace(cell, mark='' if cell.value is None else marks.get(cell.value, '')) for cell in cells]
