"""Means and deviations over the seeds of comparisons."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gavn.experiments.compare.settings import CompareSettings
from gavn.metrics.results_file import MEAN, TRUTH, read_results
from gavn.metrics.table import COLUMNS
from gavn.runtime.files import write_text

TABLE = 'seeds.md'
METRICS = ('psnr', 'ssim', 'psnr_mouth')


def write_table(comparisons: Sequence[CompareSettings]) -> Path | None:
    """Writes means and standard deviations over seeds, of what is finished, beside the comparisons.

    The deviation is that of a sample (n - 1); it is omitted for one seed.

    Returns:
        The Markdown file; None if nothing is finished.
    """
    values: dict[tuple[str, str, str], dict[int | None, list[float | None]]] = {}
    for settings in comparisons:
        for layer, method, metrics in _means(settings):
            values.setdefault((settings.task, layer, method), {})[settings.seed] = metrics
    if not values:
        return None
    heads = ['task', 'degradation', 'method', 'seeds', *(COLUMNS[name].title for name in METRICS)]
    lines = [heads, ['---'] * len(heads)]
    for key, of_seeds in values.items():
        columns = zip(*of_seeds.values(), strict=True)
        lines.append([*key, str(len(of_seeds)), *(_cell(column, COLUMNS[name].decimals)
                                                  for name, column in zip(METRICS, columns, strict=True))])
    path = comparisons[0].out.parent / TABLE
    write_text(path, ''.join(f'| {" | ".join(line)} |\n' for line in lines))
    return path


def _means(settings: CompareSettings) -> Iterator[tuple[str, str, list[float | None]]]:
    """Layer, method and mean over clips of each metric, of finished tests."""
    for file in sorted((settings.out / 'results').glob('*.csv')):
        for row in read_results(file):
            if row.clip == MEAN and row.run.method != TRUTH:
                yield row.run.degradation, row.run.method, [row.values.get(name) for name in METRICS]


def _cell(values: Iterable[float | None], decimals: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ''
    mean = f'{np.mean(known):.{decimals}f}'
    return mean if len(known) == 1 else f'{mean} ± {np.std(known, ddof=1):.{decimals}f}'
