"""The paper's tables 1 to 4, from results."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gavn.experiments.report.cells import ORIGIN, Plan, figure, measure_column, origin, reasons, windows
from gavn.experiments.report.grid import Block, Cell, Column, Table, ranked, without_empty
from gavn.experiments.report.layout import ABLATIONS, COMPARED, GAVN, NATURAL, REAL, SWEPT, Task
from gavn.experiments.report.origin import restore_command, test_command
from gavn.experiments.report.results import REFERENCES, Result, Results
from gavn.metrics.results_file import DEGRADED, TRUTH, RunInfo
from gavn.metrics.table import COLUMNS

RANKS = 'Best in bold, second best underlined, among methods.'
_FRAMES = 'Frames'  # of a training window


def table1(results: Results, plan: Plan) -> list[Table]:
    """Methods on the three tasks, data sets side by side; empty without figures."""
    layers = [task.layer for task in plan.tasks]
    methods = {data: results.methods(data, layers) for data in results.datasets(layers)}
    datasets = [data for data, found in methods.items() if any(map(plan.shows, found))]
    if not datasets:
        return []

    def rows(task: Task) -> list[str]:
        found = (method for data in datasets for method in results.methods(data, [task.layer]))
        return [DEGRADED, *plan.listed(COMPARED, found), TRUTH]

    blocks = [_tested(results, plan, task, datasets, rows(task)) for task in plan.tasks]
    return [_by_task('1', f'Methods on {_and(datasets)}', results, plan, datasets, blocks)]


def table3(results: Results, plan: Plan) -> list[Table]:
    """Ablations of GAVN on the three tasks, data sets side by side; empty without figures."""
    layers = [task.layer for task in plan.tasks]
    methods = {data: results.methods(data, layers) for data in results.datasets(layers)}
    datasets = [data for data, found in methods.items() if set(found) & (ABLATIONS.keys() - {GAVN})]
    if not datasets:
        return []
    listed = [name for name in ABLATIONS if plan.ours or any(name in methods[data] for data in datasets)]
    blocks = [_tested(results, plan, task, datasets, listed) for task in plan.tasks]
    table = _by_task('3', f'Ablations of GAVN on {_and(datasets)}', results, plan, datasets, blocks)
    return [replace(table, notes=['IF: identity features; AF: audio features.', *table.notes])]


def _and(names: Sequence[str]) -> str:
    return ' and '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))


def _by_task(number: str, title: str, results: Results, plan: Plan, datasets: Sequence[str],
             blocks: Sequence[Block]) -> Table:
    """Makes table 1 or 3 from its blocks of rows."""
    columns = [Column('Task'), Column('Method'), Column(_FRAMES, figures=True),
               *(measure_column(measure, data) for data in datasets for measure in plan.measures),
               *(ORIGIN if plan.ours else ())]
    shown = [results.get(data, task.layer, row[1].text)
             for task, block in zip(plan.tasks, blocks, strict=True) for row in block for data in datasets]
    notes = [RANKS, *reasons([result for result in shown if result], plan.measures)]
    return without_empty(Table(f'table{number}', number, title, columns, blocks, notes), _FRAMES)


def _tested(results: Results, plan: Plan, task: Task, datasets: Sequence[str], methods: Iterable[str]
            ) -> Block:
    """Rows of one task with ranked columns; references without results are omitted."""
    found = {method: [results.get(data, task.layer, method) for data in datasets] for method in methods}
    found = {method: row for method, row in found.items() if any(row) or method not in REFERENCES}
    figures = [[figure(result, measure, plan.std) for result in row for measure in plan.measures]
               for row in found.values()]
    better = [COLUMNS[measure].better for _ in datasets for measure in plan.measures]
    columns = [ranked(column, way) for column, way in zip(zip(*figures, strict=True), better, strict=True)]
    cells = zip(*columns, strict=True)
    block = [[Cell(task.title), Cell(method), windows(row), *ranks]
             for (method, row), ranks in zip(found.items(), cells, strict=True)]
    if not plan.ours:
        return block
    return [[*row, *origin([result.run for result in found[row[1].text] if result],
                           _to_run(results, task, datasets, row[1].text))] for row in block]


def _to_run(results: Results, task: Task, datasets: Sequence[str], method: str) -> list[str]:
    """Commands for the missing cells of a row, one per data set."""
    missing = [data for data in datasets if results.get(data, task.layer, method) is None]
    if method in REFERENCES:
        return []
    return [f'run{f" ({data})" if len(datasets) > 1 else ""}: `{test_command(results, data, task, method)}`'
            for data in missing]


def table2(results: Results, plan: Plan) -> list[Table]:
    """PSNR over levels of degradation, a table per data set."""
    datasets = results.datasets(_swept(plan))
    return [_over_levels(results, plan, data, _name('table2', data, datasets)) for data in datasets]


def _swept(plan: Plan) -> list[str]:
    """Layers of levels that are not in table 1."""
    return [layer for task in plan.tasks for layer in task.levels if layer != task.layer]


def _name(name: str, dataset: str, datasets: Sequence[str]) -> str:
    return f'{name}_{dataset}' if len(datasets) > 1 else name


def _over_levels(results: Results, plan: Plan, data: str, name: str) -> Table:
    levels = [layer for task in plan.tasks for layer in task.levels]
    methods = plan.listed(SWEPT, results.methods(data, _swept(plan)))
    references = [DEGRADED] if any(results.get(data, layer, DEGRADED) for layer in levels) else []

    def cell(task: Task, layer: str, method: str) -> Cell:
        result = results.get(data, layer, method)
        shown = figure(result, 'psnr', plan.std)
        return shown if result else replace(shown, run=test_command(results, data, task, method, 'levels'))

    blocks = [[[Cell(task.title), Cell(str(level)),
                *(figure(results.get(data, layer, method), 'psnr', plan.std) for method in references),
                *_with_gain(ranked([cell(task, layer, method) for method in methods], 'higher'), methods)]
               for layer, level in task.levels.items()] for task in plan.tasks]
    columns = [Column('Distortion'), Column('σ', figures=True),
               *(Column(method, figures=True) for method in (*references, *methods))]
    notes = ['σ: CRF, kernel of the blur in pixels, factor of the reduction. In brackets: GAVN against the '
             'best of the others.', RANKS]
    sources = [(layer, results.get(data, layer, method)) for layer in levels for method in methods]
    return Table(name, '2', f'PSNR over levels of degradation on {data}', columns, blocks, notes,
                 _runs(name, sources) if plan.ours else None)


def _with_gain(cells: Sequence[Cell], methods: Sequence[str]) -> list[Cell]:
    """Adds the gain over the best other method to the cell of GAVN."""
    values = {name: cell.value for name, cell in zip(methods, cells, strict=True) if cell.value is not None}
    own = values.pop(GAVN, None)
    if own is None or not values:
        return list(cells)
    gain = f' ({own - max(values.values()):+.4f})'.replace('-', '−')
    return [replace(cell, after=cell.after + gain) if method == GAVN else cell
            for method, cell in zip(methods, cells, strict=True)]


def _runs(name: str, sources: Iterable[tuple[str, Result | None]]) -> Table:
    """Table of the runs behind a table's figures."""
    runs: dict[RunInfo, list[tuple[str, RunInfo]]] = {}
    for place, result in sources:
        if result is not None:
            run = replace(result.run, degradation='', fps=None)  # one run covers several levels
            runs.setdefault(run, []).append((place, result.run))
    rows = [[Cell(run.method), Cell(', '.join(place for place, _ in found)), *origin([found[0][1]])]
            for run, found in runs.items()]
    columns = [Column('Method'), Column('Measured on'), *ORIGIN]
    return Table(f'{name}_runs', '', 'The runs behind it', columns, [rows])


def table4(results: Results, plan: Plan) -> list[Table]:
    """Real videos, a table per data set: metrics by methods, without ground truth."""
    datasets = [data for data in results.datasets([REAL]) if not results.has_truth(data, REAL)]
    return [_real(results, plan, data, _name('table4', data, datasets)) for data in datasets]


def _real(results: Results, plan: Plan, data: str, name: str) -> Table:
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
    columns = [Column('Metric'), *(Column(method, figures=True) for method in found)]
    notes = [RANKS, *reasons([result for result in found.values() if result], NATURAL)]
    sources = [(data, found[method]) for method in methods]
    return Table(name, '4', f'Videos without ground truth: {data}', columns, [block], notes,
                 _runs(name, sources) if plan.ours else None)


TABLES: dict[int, Callable[[Results, Plan], list[Table]]] = {1: table1, 2: table2, 3: table3, 4: table4}
