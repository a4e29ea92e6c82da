"""The measured rows as CSV and Markdown."""
from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path

from gavn.experiments.bench.goals import judge_goals
from gavn.experiments.bench.rows import COLUMNS, BenchRow

CSV, MARKDOWN = 'bench.csv', 'bench.md'
_CASE = {'name': 'what', 'form': 'form', 'precision': 'precision', 'schedule': 'schedule'}
_TIME = {'ms': 'ms', 'spread': '± %'}
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    'ceiling': ('Ceilings (10^9 bytes or operations a second)',
                {'name': 'what', 'precision': 'precision', **_TIME, 'per_second': '10^9/s'}),
    'network': ('Networks (ms per output frame)',
                {**_CASE, **_TIME, 'per_second': 'fps', 'streams': '25-fps streams', 'memory_mib': 'MiB',
                 'parameters': 'parameters', 'gmacs': 'GMACs', 'to_edvr_m': 'x EDVR-M',
                 'to_basicvsrpp': 'x BasicVSR++', 'of_matrix_rate': '% of matrix rate'}),
    'deformable': ('Deformable convolution, 64 channels, 8 groups (ms per call)',
                   {'name': 'backend', 'schedule': 'what', **_TIME}),
    'training': ('Training of stage 2 (ms per step)',
                 {'name': 'what', 'form': 'form', 'precision': 'precision', 'schedule': 'batches', **_TIME,
                  'per_second': 'steps a second', 'memory_mib': 'MiB', 'waited': '% waited'}),
    'loader': ('Loader (windows of seven frames a second)',
               {'name': 'what', **_TIME, 'per_second': 'windows'}),
    'memory': ('Restoring a video (ms per frame)',
               {'name': 'what', 'ms': 'ms', 'calls': 'frames', 'memory_mib': 'MiB at the peak'}),
}


def write(folder: Path, rows: Sequence[BenchRow], heading: str, device: str) -> list[Path]:
    """Writes the rows so far; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CSV).open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(['' if cell is None else cell for cell in astuple(row)] for row in rows)
    (folder / MARKDOWN).write_text(markdown(rows, heading, device), encoding='utf-8')
    return [folder / CSV, folder / MARKDOWN]


def markdown(rows: Sequence[BenchRow], heading: str, device: str) -> str:
    """The tables of all measured kinds, and the targets."""
    parts = [f'# {heading}\n']
    for kind, (title, columns) in TABLES.items():
        if of_kind := [row for row in rows if row.kind == kind]:
            body = ([cell(getattr(row, column)) for column in columns] for row in of_kind)
            parts.append(_table(title, columns.values(), body))
    parts.append(_table('Goals', ('what', 'goal', 'measured', ''), judge_goals(rows, device)))
    return '\n'.join(parts)


def _table(title: str, head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [f'| {" | ".join(head)} |', f'|{"---|" * len(head)}', *(f'| {" | ".join(row)} |' for row in body)]
    return f'## {title}\n\n' + '\n'.join(lines) + '\n'


def cell(value: object) -> str:
    """A value with three digits; '' for None."""
    if value is None:
        return ''
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return f'{value:,}' if isinstance(value, int) else str(value)
