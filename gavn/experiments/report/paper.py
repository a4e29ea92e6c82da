"""The paper's own figures (tables 1 to 4, as printed), in the same layout.

Cao et al., Audio-Assisted Face Video Restoration with Temporal and Identity Complementary Learning. The CSV
file beside this module has the figures only. Ranks and gains are computed; differences from the printed ones
are in notes.
"""
from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

from gavn.experiments.report.cells import Table, TableContent
from gavn.experiments.report.layout import QUALITY
from gavn.experiments.report.results import MethodResult, Results
from gavn.experiments.report.tables import TABLES
from gavn.metrics.results_file import RunInfo

FIGURES = Path(__file__).with_name('paper.csv')
_PLAN = TableContent(ours=False)
_SLIPS = {
    1: ['The paper also underlines 0.0824 (deblur, Obama, LPIPS of VRT), the worst value of its column; '
        'second best is DAVD-Net with 0.0651.',
        'MS-SSIM 0.9859 (super-resolution, VoxCeleb2, GAVN) is 0.9850 in table 3, for the same model; with '
        'that, BasicVSR++ (0.9852) would be the best.'],
    2: ['The paper prints +0.2923 at CRF 45, which is the gain over BasicVSR++ (28.6857); the best of the '
        'others is DAVD-Net (28.7269), and the gain +0.2511.',
        'The row of CRF 45 is that of table 1, so one model may have done all three levels; rows of the '
        'input, which would tell, are not in the paper.'],
    3: ['MS-SSIM 0.9850 (super-resolution, GAVN) is 0.9859 in table 1, for the same model.'],
    4: [],
}


@cache
def paper_results(number: int) -> Results:
    """The figures of one of the paper's tables."""
    with FIGURES.open(newline='', encoding='utf-8') as file:
        rows = [row for row in csv.DictReader(file) if int(row['table']) == number]
    return Results(MethodResult(
        run=RunInfo(row['dataset'], row['degradation'], row['method']),
        mean={metric: float(row[metric]) for metric in (*QUALITY, 'niqe') if row.get(metric)},
        source='the paper', window=int(row['frames']) if row['frames'] else None) for row in rows)


def paper_table(number: int) -> Table:
    """One of the paper's tables in our layout, with notes about its errors."""
    table, = TABLES[number](paper_results(number), _PLAN)
    source = 'Figures as printed in the paper; marks and gains computed from them.'
    return replace(table, name=f'{table.name}_paper', title=f'{table.title} (figures of the paper)',
                   notes=[*table.notes, source, *_SLIPS[number]])
