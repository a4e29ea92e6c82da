"""A table before it is written down: columns, blocks of rows, cells with their marks."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

BEST, SECOND = 'best', 'second'
MISSING = '–'  # where a run has yet to be done


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    Attributes:
        text: its lines, joined by newlines; code between backticks.
        value: what it is ranked by, as it is printed; None where it is not ranked.
        mark: '', BEST or SECOND.
        after: stands behind the marked text: a deviation or a gain.
        missing: whether there should be a figure.
        run: the command that would make it, where no other cell of the row says so.
    """

    text: str = ''
    value: float | None = None
    mark: str = ''
    after: str = ''
    missing: bool = False
    run: str = ''


@dataclass(frozen=True)
class Column:
    """A column's heading.

    Attributes:
        title: in LaTeX a letter after its last underscore is a subscript.
        better: 'higher', 'lower' or ''.
        group: what several columns side by side belong to: a data set.
        figures: whether numbers stand in it, which are set to the right.
        in_latex: whether a page of a paper has room for it.
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
        number: in the paper, '' for a table that is not there; its title follows.
        columns: left to right.
        blocks: rows that belong together; a rule divides blocks. What the first cells repeat is shown once.
        notes: what stands below, a paragraph each.
        runs: a second table, of where the figures come from, where the first has no room for that.
    """

    name: str
    number: str
    title: str
    columns: Sequence[Column]
    blocks: Sequence[Block]
    notes: Sequence[str] = ()
    runs: Table | None = None


    def once(self) -> list[Block]:
        """The blocks, the first cell of a row empty where it is that of the row above."""
        return [[row if not place or row[0] != block[place - 1][0] else [Cell(), *row[1:]]
                 for place, row in enumerate(block)] for block in self.blocks]


def without_empty(table: Table, title: str) -> Table:
    """The table less the column of that title, if nothing stands in it."""
    place = [column.title for column in table.columns].index(title)
    if any(row[place].text for block in table.blocks for row in block):
        return table
    blocks = [[[*row[:place], *row[place + 1:]] for row in block] for block in table.blocks]
    return replace(table, columns=[*table.columns[:place], *table.columns[place + 1:]], blocks=blocks)


def ranked(cells: Sequence[Cell], better: str) -> list[Cell]:
    """The cells with the best and the second best value marked, equal ones alike.

    Values are compared as they are printed. Where fewer than two cells have one there is nothing to rank.
    """
    values = sorted({cell.value for cell in cells if cell.value is not None}, reverse=better == 'higher')
    if sum(cell.value is not None for cell in cells) < 2:
        return list(cells)
    marks = dict(zip(values, (BEST, SECOND), strict=False))
    return [replace(cell, mark=marks.get(cell.value, '')) for cell in cells]
