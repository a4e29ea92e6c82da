"""Makes the paper's tables from result files as Markdown, LaTeX and CSV, with the paper's own figures.

    python scripts/tables.py results/*/*.csv -o tables
    python scripts/tables.py results/test_*_deblur/*.csv -o tables --tables 1 --tasks deblur --std
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # works without installation

from gavn.experiments.report.cells import TableContent  # noqa: E402
from gavn.experiments.report.layout import QUALITY, TASKS  # noqa: E402
from gavn.experiments.report.make import make_tables, write_tables  # noqa: E402
from gavn.experiments.report.tables import TABLES  # noqa: E402
from gavn.metrics.table import COLUMNS  # noqa: E402
from gavn.runtime.exit_codes import guarded  # noqa: E402


def main() -> int:
    """Parses the command line and writes the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', nargs='+', metavar='CSV',
                        help='of gavn test, gavn evaluate or a validation')
    parser.add_argument('-o', '--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument('--tables', nargs='+', type=int, choices=TABLES, default=[],
                        help='those of the paper to make (default: all that there are figures for)')
    parser.add_argument('--columns', nargs='+', choices=COLUMNS, default=QUALITY, metavar='METRIC',
                        help=f'of tables 1 and 3: {", ".join(COLUMNS)} (default: {", ".join(QUALITY)})')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS), help='default: all')
    parser.add_argument('--methods', nargs='+', metavar='NAME',
                        help='as the results call them (default: the paper’s, and all that were measured)')
    parser.add_argument('--std', action='store_true', help='show standard deviations over clips')
    args = parser.parse_args()
    plan = TableContent(args.columns, [TASKS[task] for task in args.tasks], args.methods, args.std)

    def make() -> None:
        made = make_tables(args.results, plan, args.tables)
        write_tables(made, args.out)
        together = Path(args.out, 'tables.md')
        print(f'wrote table {", ".join(map(str, made))} to {args.out} (together: {together})')

    return guarded(make)


if __name__ == '__main__':
    sys.exit(main())
