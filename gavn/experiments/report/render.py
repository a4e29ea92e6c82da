"""Tables as Markdown, LaTeX (booktabs) and CSV."""
from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from gavn.experiments.report.cells import BEST, MISSING, SECOND, Cell, Table, TableColumn

_ARROWS = {'higher': '↑', 'lower': '↓', '': ''}
_LATEX = {
    '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{',
    '}': r'\}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'$<$', '>': r'$>$', '|': r'$|$',
    '"': "''", '±': r'$\pm$', '−': '$-$', '×': r'$\times$', 'σ': r'$\sigma$', '↑': r'$\uparrow$',
    '↓': r'$\downarrow$', '–': '--', '—': '---', '`': '',
    '[': '{[}', '*': '{*}',  # at the start of a row, the end of the row above would take these as arguments
}

def markdown(table: Table) -> str:
    """Writes a table as Markdown: heading, table, notes, commands."""
    several = len({column.group for column in table.columns if column.group}) > 1
    cells = [cell for block in table.blocks for row in block for cell in row]
    commands = list(dict.fromkeys(cell.run for cell in cells if cell.run))
    lines = [f'### {_md(f"Table {table.number}. {table.title}")}', '',
             _md_row(_md_head(column, several) for column in table.columns),
             '|' + ''.join('---:|' if column.figures else '---|' for column in table.columns)]
    lines += [_md_row(_md_cell(cell, commands) for cell in row) for block in table.once() for row in block]
    for note in [*table.notes, *(f'[{place}] run: `{run}`' for place, run in enumerate(commands, 1))]:
        lines += ['', _md(note)]
    return '\n'.join(lines) + '\n'


def _md_row(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _md_head(column: TableColumn, several: bool) -> str:
    title = _md(f'{column.title} {_ARROWS[column.better]}'.strip())
    return f'{_md(column.group)}<br>{title}' if several and column.group else title


def _md_cell(cell: Cell, commands: Sequence[str]) -> str:
    if cell.run:
        return f'run [{commands.index(cell.run) + 1}]'
    text = _md(cell.text)
    marked = {BEST: f'**{text}**', SECOND: f'<ins>{text}</ins>'}.get(cell.mark, text)
    return marked + _md(cell.after)


def _md(text: str) -> str:
    """Escapes text of a cell outside of code, and breaks lines."""
    parts = text.replace('|', r'\|').split('`')
    parts[::2] = [part.replace('<', '&lt;').replace('*', r'\*') for part in parts[::2]]
    return '`'.join(parts).replace('\n', '<br>')


def latex(table: Table) -> str:
    """Writes a table as `table*` with booktabs, at most as wide as the page; needs booktabs and graphicx.

    Only columns with `in_latex` are included. Missing runs are `--`.
    """
    kept = [place for place, column in enumerate(table.columns) if column.in_latex]
    columns = [table.columns[place] for place in kept]
    alignment = ''.join('r' if column.figures else 'l' for column in columns)
    lines = [r'\begin{table*}[t]', r'\centering', r'\setlength{\belowcaptionskip}{4pt}',
             rf'\caption{{{tex(table.title)}}}', rf'\label{{tab:{table.name}}}',
             r'\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%',
             rf'\begin{{tabular}}{{{alignment}}}', r'\toprule',
             *_tex_groups(columns), _tex_row(map(_tex_head, columns))]
    for block in table.once():
        lines += [r'\midrule', *(_tex_row(_tex_cell(row[place]) for place in kept) for row in block)]
    lines += [r'\bottomrule', r'\end{tabular}}']
    for note in table.notes:
        lines += ['', rf'\smallskip\footnotesize {tex(note)}']
    return '\n'.join([*lines, r'\end{table*}', ''])


def _tex_row(cells: Iterable[str]) -> str:
    return ' & '.join(cells) + r' \\'


def _tex_head(column: TableColumn) -> str:
    title = re.sub(r'\\_(\w)$', r'$_\1$', tex(column.title))
    return f'{title} {tex(_ARROWS[column.better])}'.strip()


def _tex_groups(columns: Sequence[TableColumn]) -> list[str]:
    """The line of data sets above their columns, and its rules; empty for tables without data sets."""
    if not any(column.group for column in columns):
        return []
    cells, rules, place = [], [], 1
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        cells.append(rf'\multicolumn{{{width}}}{{c}}{{{tex(group)}}}')
        if group:
            rules.append(rf'\cmidrule(lr){{{place}-{place + width - 1}}}')
        place += width
    return [_tex_row(cells), ' '.join(rules)]


def _tex_cell(cell: Cell) -> str:
    text = tex(MISSING if cell.missing else cell.text.replace('\n', ', '))
    marked = {BEST: rf'\textbf{{{text}}}', SECOND: rf'\underline{{{text}}}'}.get(cell.mark, text)
    return marked + tex(cell.after)


def tex(text: str) -> str:
    """Escapes plain text for LaTeX."""
    return ''.join(_LATEX.get(sign, sign) for sign in text)


def plain(table: Table) -> str:
    """Writes a table as CSV without marks, with the data set before the headings of its columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(f'{column.group} {column.title}'.strip() for column in table.columns)
    writer.writerows([_csv_cell(cell) for cell in row] for block in table.blocks for row in block)
    return out.getvalue()


def _csv_cell(cell: Cell) -> str:
    if cell.run:
        return f'run: {cell.run}'
    return (cell.text + cell.after).replace('`', '').replace('\n', '; ')
