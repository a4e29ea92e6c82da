"""The paper's tables 1 to 4, from results."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gavn.experiments.report.cells import (
    ORIGIN,
    Block,
    Cell,
    Table,
    TableColumn,
    TableContent,
    figure,
    joined,
    measure_column,
    origin,
    ranked,
    reasons,
)
from gavn.experiments.report.commands import restore_command, test_command
from gavn.experiments.report.layout import ABLATIONS, COMPARED, GAVN, NATURAL, REAL, SWEPT, Task
from gavn.experiments.report.results import REFERENCES, Results
from gavn.metrics.results_file import DEGRADED, TRUTH
from gavn.metrics.table import COLUMNS

RANKS = 'Best in bold, second best underlined, among methods.'


def table1(results: Results, plan: TableContent) -> list[Table]:
    """Methods on the three tasks, data sets side by side; empty without figures."""
    layers = [task.layer for task in plan.tasks]
    datasets = [data for data in results.datasets(layers)
                if any(map(plan.shows, results.methods(data, layers)))]

    def methods(task: Task) -> list[str]:
        found = (method for data in datasets for method in results.methods(data, [task.layer]))
        return [DEGRADED, *plan.listed(COMPARED, found), TRUTH]

    return _by_task('1', 'Methods', results, plan, datasets, methods)


def table3(results: Results, plan: TableContent) -> list[Table]:
    """Ablations of GAVN on the three tasks, data sets side by side; empty without figures."""
    layers = [task.layer for task in plan.tasks]
    found = {data: results.methods(data, layers) for data in results.datasets(layers)}
    datasets = [data for data, methods in found.items() if set(methods) & (ABLATIONS.keys() - {GAVN})]
    listed = [name for name in ABLATIONS if plan.ours or any(name in found[data] for data in datasets)]
    tables = _by_task('3', 'Ablations of GAVN', results, plan, datasets, lambda _: listed)
    return [replace(table, notes=['IF: identity features; AF: audio features.', *table.notes])
            for table in tables]


def _by_task(number: str, title: str, results: Results, plan: TableContent, datasets: Sequence[str],
             methods: Callable[[Task], Sequence[str]]) -> list[Table]:
    """Makes table 1 or 3: a block of rows for each task."""
    if not datasets:
        return []
    blocks = [_tested(results, plan, task, datasets, methods(task)) for task in plan.tasks]
    shown = [results.get(data, task.layer, row[1].text)
             for task, block in zip(plan.tasks, blocks, strict=True) for row in block for data in datasets]
    columns = [TableColumn('Task'), TableColumn('Method'), TableColumn('Frames', figures=True),
               *(measure_column(measure, data) for data in datasets for measure in plan.measures),
               *(ORIGIN if plan.ours else ())]
    if not any(row[2].text for block in blocks for row in block):  # no training windows are known
        columns = [*columns[:2], *columns[3:]]
        blocks = [[[*row[:2], *row[3:]] for row in block] for block in blocks]
    names = ' and '.join(filter(None, [', '.join(datasets[:-1]), *datasets[-1:]]))
    return [Table(f'table{number}', number, f'{title} on {names}', columns, blocks,
                  [RANKS, *reasons(shown, plan.measures)])]


def _tested(results: Results, plan: TableContent, task: Task, datasets: Sequence[str], methods: Iterable[str]
            ) -> Block:
    """Rows of one task with ranked columns; references without results are omitted."""
    found = {method: [results.get(data, task.layer, method) for data in datasets] for method in methods}
    found = {method: row for method, row in found.items() if any(row) or method not in REFERENCES}
    figures = [[figure(result, measure, plan.std) for result in row for measure in plan.measures]
               for row in found.values()]
    better = [COLUMNS[measure].better for _ in datasets for measure in plan.measures]
    columns = [ranked(column, way) for column, way in zip(zip(*figures, strict=True), better, strict=True)]
    block = []
    for (method, row), ranks in zip(found.items(), zip(*columns, strict=True), strict=True):
        windows = joined(str(result.window) for result in row if result and result.window)
        cells = [Cell(task.title), Cell(method), windows, *ranks]
        if plan.ours:
            cells += origin([result.run for result in row if result],
                            _to_run(results, task, datasets, method))
        block.append(cells)
    return block


def _to_run(results: Results, task: Task, datasets: Sequence[str], method: str) -> list[str]:
    """Commands for the missing cells of a row, one per data set."""
    return [f'run{f" ({data})" if len(datasets) > 1 else ""}: `{test_command(data, task, method)}`'
            for data in datasets
            if method not in REFERENCES and results.get(data, task.layer, method) is None]


def table2(results: Results, plan: TableContent) -> list[Table]:
    """PSNR over levels of degradation, a table per data set."""
    datasets = results.datasets(_swept(plan))
    return [_over_levels(results, plan, data, _name('table2', data, datasets)) for data in datasets]


def _swept(plan: TableContent) -> list[str]:
    """Layers of levels that are not in table 1."""
    return [layer for task in plan.tasks for layer in task.levels if layer != task.layer]


def _name(name: str, dataset: str, datasets: Sequence[str]) -> str:
    return f'{name}_{dataset}' if len(datasets) > 1 else name


def _over_levels(results: Results, plan: TableContent, data: str, name: str) -> Table:
    levels = [layer for task in plan.tasks for layer in task.levels]
    methods = plan.listed(SWEPT, results.methods(data, _swept(plan)))
    references = [DEGRADED] if any(results.get(data, layer, DEGRADED) for layer in levels) else []

    def cell(task: Task, layer: str, method: str) -> Cell:
        result = results.get(data, layer, method)
        shown = figure(result, 'psnr', plan.std)
        return shown if result else replace(shown, run=test_command(data, task, method, sweep=True))

    blocks = [[[Cell(task.title), Cell(str(level)),
                *(figure(results.get(data, layer, method), 'psnr', plan.std) for method in references),
                *_with_gain(ranked([cell(task, layer, method) for method in methods], 'higher'), methods)]
               for layer, level in task.levels.items()] for task in plan.tasks]
    columns = [TableColumn('Distortion'), TableColumn('σ', figures=True),
               *(TableColumn(method, figures=True) for method in (*references, *methods))]
    notes = ['σ: CRF, kernel of the blur in pixels, factor of the reduction. In brackets: GAVN against the '
             'best of the others.', RANKS]
    return Table(name, '2', f'PSNR over levels of degradation on {data}', columns, blocks, notes)


def _with_gain(cells: Sequence[Cell], methods: Sequence[str]) -> list[Cell]:
    """Adds the gain over the best other method to the cell of GAVN."""
    values = {name: cell.value for name, cell in zip(methods, cells, strict=True) if cell.value is not None}
    own = values.pop(GAVN, None)
    if own is None or not values:
        return list(cells)
    gain = f' ({own - max(values.values()):+.4f})'.replace('-', '−')
    return [replace(cell, after=cell.after + gain) if method == GAVN else cell
            for method, cell in zip(methods, cells, strict=True)]


def table4(results: Results, plan: TableContent) -> list[Table]:
    """Real videos, a table per data set: metrics by methods, without ground truth."""
    datasets = [data for data in results.datasets([REAL]) if not results.has_truth(data, REAL)]
    return [_real(results, plan, data, _name('table4', data, datasets)) for data in datasets]


def _real(results: Results, plan: TableContent, data: str, name: str) -> Table:
    methods = plan.listed(COMPARED, results.methods(data, [REAL]))
    found = {method: results.get(data, REAL, method) for method in (DEGRADED, *methods)}
    if found[DEGRADED] is None:
        del found[DEGRADED]
    block = []
    for measure in NATURAL:
        cells = [figure(result, measure, plan.std) if result else Cell(
            missing=True, run=restore_command(data, method)) for method, result in found.items()]
        column = measure_column(measure)
        arrow = {'higher': '↑', 'lower': '↓'}[column.better]
        block.append([Cell(f'{column.title} {arrow}'), *ranked(cells, column.better)])
    columns = [TableColumn('Metric'), *(TableColumn(method, figures=True) for method in found)]
    return Table(name, '4', f'Videos without ground truth: {data}', columns, [block],
                 [RANKS, *reasons(found.values(), NATURAL)])


TABLES: dict[int, Callable[[Results, TableContent], list[Table]]] = {
    1: table1, 2: table2, 3: table3, 4: table4}
