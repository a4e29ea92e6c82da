"""Tables of results as Markdown, LaTeX and CSV, with the paper's tables."""
from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from gavn.experiments.report.cells import Table, TableContent
from gavn.experiments.report.layout import LEVELS, TASKS
from gavn.experiments.report.paper import paper_table
from gavn.experiments.report.render import latex, markdown, plain
from gavn.experiments.report.results import ReportError, collect
from gavn.experiments.report.tables import TABLES
from gavn.runtime.files import write_text

_NEEDS = {
    1: f'results on {", ".join(task.layer for task in TASKS.values())}: gavn test -opt '
       'options/test_gavn_car.yml, or gavn evaluate --reference TRUTH --dataset NAME --degradation car_crf45',
    2: f'results on {", ".join(LEVELS)}: gavn test -opt options/test_gavn_car.yml '
       '--degradation car_crf35 car_crf40 car_crf45',
    3: 'results of ablations: gavn test -opt options/test_gavn_car.yml --with options/ablations/wo_if.yml',
    4: 'results of real-world videos without ground truth: gavn evaluate without --reference',
}


def make_tables(files: Sequence[str | os.PathLike[str]], plan: TableContent | None = None,
                numbers: Collection[int] = ()) -> dict[int, list[Table]]:
    """Makes the paper's tables from result files, each followed by the paper's own figures.

    Args:
        numbers: of the tables. Empty: all that have a figure.

    Raises:
        ResultsError, ReportError: files cannot be read or contradict each other, or there are no figures.
    """
    results = collect(files)
    made = {number: TABLES[number](results, plan or TableContent()) for number in (numbers or TABLES)}
    empty = [number for number, tables in made.items() if not tables]
    if empty and (numbers or not any(made.values())):
        needs = '\n'.join(f'table {number} needs {_NEEDS[number]}' for number in empty)
        found = f'there are {", ".join(map(str, results))}' if list(results) else 'there are no rows'
        raise ReportError(f'nothing to tabulate in {", ".join(map(str, files))}: {found}\n{needs}')
    return {number: [*tables, paper_table(number)] for number, tables in made.items() if tables}


def write_tables(made: dict[int, list[Table]], folder: str | os.PathLike[str]) -> list[Path]:
    """Writes `<table>.md`, `.tex` (for \\input) and `.csv` of each table, and all together as `tables.md`."""
    folder, tables = Path(folder), [table for group in made.values() for table in group]
    texts = {f'{table.name}{ending}': write(table) for table in tables
             for ending, write in (('.md', markdown), ('.tex', latex), ('.csv', plain))}
    texts['tables.md'] = '\n'.join(map(markdown, tables))
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
