"""Curves: a metric during several trainings, and PSNR over levels of degradation."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.experiments.report.drawing import (
    INPUT,
    LINE,
    TEXT,
    legend,
    legend_height,
    new_figure,
    plain_axes,
    styles,
)
from gavn.experiments.report.layout import ABLATIONS, GAVN, TASKS
from gavn.experiments.report.results import ReportError, Results
from gavn.metrics.results_file import DEGRADED, MEAN, Row, read_results
from gavn.metrics.table import column_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAME = 1e-3  # between means over the same clips, measured on different machines
_PANEL = (2.6, 2.1)  # inches


@dataclass(frozen=True)
class Curve:
    """The validations of one training, in order.

    Attributes:
        iterations, minutes: of training; minutes are None if unknown.
        values: of the metric, means over clips.
        start: value of the degraded input; None if it was not measured.
    """

    iterations: list[int]
    minutes: list[float | None]
    values: list[float]
    start: float | None


def read_curve(experiment: Path, dataset: str | None, metric: str) -> Curve:
    """Reads the curve of `experiment/metrics/<set>_<iteration>.csv`.

    `dataset` may be None if there is only one set.

    Raises:
        ReportError: there is no such file, several sets are possible, or the metric was not measured.
        ResultsError: a file cannot be read.
    """
    files = _validations(experiment, dataset)
    points, start = [], None
    for iteration, file in files:
        means = {row.run.method: row for row in read_results(file) if row.clip == MEAN}
        if DEGRADED in means:
            start = means.pop(DEGRADED).values.get(metric)
        row = next((row for row in means.values() if row.values.get(metric) is not None), None)
        if row is None:
            raise ReportError(f'{file} has no {metric}: {_measured(means)}; the option file names what to '
                              'measure in val.metrics')
        points.append((iteration, row.run.minutes, row.values[metric]))
    iterations, minutes, values = map(list, zip(*points, strict=True))
    return Curve(iterations, minutes, values, start)


def _validations(experiment: Path, dataset: str | None) -> list[tuple[int, Path]]:
    """Iterations and files of one set, in order."""
    sets: dict[str, list[tuple[int, Path]]] = {}
    for path in experiment.glob('metrics/*.csv'):
        if match := re.fullmatch(r'(.+)_(\d+)', path.stem):
            sets.setdefault(match[1], []).append((int(match[2]), path))
    if not sets:
        raise ReportError(f'{experiment}/metrics has no validations: name the folder that a training made in '
                          'experiments, of an option file with val.val_freq')
    if dataset is None and len(sets) > 1:
        raise ReportError(f'{experiment} was validated on {_listed(sets)}: say which to show (--set)')
    if dataset is not None and dataset not in sets:
        raise ReportError(f'{experiment} was not validated on {dataset} but on {_listed(sets)}')
    return sorted(sets[dataset or next(iter(sets))])


def _listed(names: Iterable[str]) -> str:
    return ', '.join(sorted(names))


def _measured(means: Mapping[str, Row]) -> str:
    found = dict.fromkeys(name for row in means.values() for name, value in row.values.items()
                          if value is not None)
    return f'it has {", ".join(found)}' if found else 'nothing was measured'


def training_figure(curves: Mapping[str, Curve], metric: str) -> Figure:
    """Draws a metric over iterations and, if known, over minutes, with the input as a dashed line.

    Raises:
        ReportError: the trainings were validated on different data.
    """
    starts = {name: curve.start for name, curve in curves.items() if curve.start is not None}
    if starts and max(starts.values()) - min(starts.values()) > _SAME:
        details = ', '.join(f'{name} {value:.4f}' for name, value in starts.items())
        raise ReportError(f'validated on different data: {metric} of the degraded input is {details}')
    timed = any(minute is not None for curve in curves.values() for minute in curve.minutes)
    figure, panels = _panels(['iterations', *(['minutes of training'] if timed else [])], len(curves) + 1)
    line_styles = styles(curves)
    for axes, kind in zip(panels, ('iterations', 'minutes'), strict=False):
        for name, style in line_styles.items():
            places = getattr(curves[name], kind)
            axes.plot(*_known(places, curves[name].values), label=name, **LINE, **style)
        if starts:
            axes.axhline(next(iter(starts.values())), **LINE, **INPUT)
        axes.set_xlim(left=0)
    shown = column_of(metric)
    panels[0].set_ylabel(f'{shown.title} ({shown.better} is better)', fontsize=TEXT)
    legend(figure, panels)
    return figure


def _known(places: Sequence[float | None], values: Sequence[float | None]
           ) -> tuple[list[float], list[float]]:
    """Points of a line with both coordinates."""
    points = [(x, y) for x, y in zip(places, values, strict=True) if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def levels_figure(results: Results, dataset: str) -> Figure:
    """Draws PSNR over the levels of table 2, with a panel for each measured kind of degradation.

    Raises:
        ReportError: no method was measured at any level.
    """
    layers = {token: task.levels.keys() - {task.layer} for token, task in TASKS.items()}
    found = {token: results.methods(dataset, names) for token, names in layers.items()}
    shown = [TASKS[token] for token, names in found.items() if names]
    if not shown:
        raise ReportError(f'no results on levels of degradation of {dataset}: python gavn/test.py -opt '
                          'options/test_gavn_car.yml --degradation car_crf35 car_crf40 car_crf45 '
                          'makes some')
    methods = (name for names in found.values() for name in names if name == GAVN or name not in ABLATIONS)
    line_styles = {name: {**style, 'label': name} for name, style in styles(methods).items()}
    line_styles[DEGRADED] = INPUT
    figure, panels = _panels([task.parameter for task in shown], len(line_styles))
    for axes, task in zip(panels, shown, strict=True):
        for name, style in line_styles.items():
            measured = (results.get(dataset, layer, name) for layer in task.levels)
            values = [None if result is None else result.mean.get('psnr') for result in measured]
            axes.plot(*_known(list(task.levels.values()), values), **LINE, **style)
        axes.set_xticks(list(task.levels.values()))
        axes.set_title(task.title, fontsize=TEXT + 1)
    panels[0].set_ylabel('PSNR in dB', fontsize=TEXT)
    legend(figure, panels)
    return figure


def _panels(labels: Sequence[str], names: int) -> tuple[Figure, list[Axes]]:
    """Makes axes side by side with labels below, and space for a legend of `names` entries above."""
    width = _PANEL[0] * len(labels) + 0.4
    room = legend_height(width, names)
    height = _PANEL[1] + room
    figure = new_figure(width, height)
    figure.set_layout_engine('constrained', rect=(0, 0, 1, 1 - room / height))
    panels = [figure.add_subplot(1, len(labels), place + 1) for place in range(len(labels))]
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xlabel(label, fontsize=TEXT)
        plain_axes(axes)
    return figure, panels
