"""Curves: a metric during several trainings, and PSNR over levels of degradation."""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gavn.experiments.report.drawing import TEXT, new_figure
from gavn.experiments.report.layout import ABLATIONS, GAVN, TASKS, in_order
from gavn.experiments.report.results import ReportError, Results
from gavn.metrics.results_file import DEGRADED, MEAN, read_results
from gavn.metrics.table import column_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAME = 1e-3  # between means over the same clips, measured on different machines
_WIDTH, _HEIGHT, _NAME = 2.6, 2.1, 1.1  # inches: of a panel, and of a name in the legend
_LINE: dict[str, Any] = {'linewidth': 1, 'markersize': 3}
_INPUT: dict[str, Any] = {'color': '0.45', 'linestyle': '--', 'label': DEGRADED}
# colours for colour-blind readers (Okabe and Ito 2008)
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'osD^vPX'
_DASHES = ('-', '--', ':', '-.')  # solid for the paper's methods
_OF_METHODS = {'GAVN': 0, 'EDVR': 1, 'BasicVSR++': 2, 'DAVD-Net': 3, 'DAVD-Net (ours)': 3, 'VRT': 4,
               'DBPN': 5}


@dataclass(frozen=True)
class Curve:
    """The validations of one training, in order."""

    # iterations, minutes: of training; minutes are None if unknown
    iterations: list[int]
    minutes: list[float | None]
    values: list[float]  # of the metric, means over clips
    start: float | None  # value of the degraded input; None if it was not measured


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
            measured = dict.fromkeys(name for row in means.values() for name in row.values)
            raise ReportError(f'{file} has no {metric}: it has {", ".join(measured) or "no metrics"}; the '
                              'option file names what to measure in val.metrics')
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
    names = ', '.join(sorted(sets))
    if dataset is None and len(sets) > 1:
        raise ReportError(f'{experiment} was validated on {names}: say which to show (--set)')
    if dataset is not None and dataset not in sets:
        raise ReportError(f'{experiment} was not validated on {dataset} but on {names}')
    return sorted(sets[dataset or next(iter(sets))])


def styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each method's line, in the order of tables.

    The paper's methods always have the same. Others share the remaining colours, with different dashes.
    """
    names = in_order(methods)
    fixed = {name: _OF_METHODS[name] for name in names if name in _OF_METHODS}
    free = [place for place in range(len(_COLOURS) - 1, -1, -1) if place not in fixed.values()]
    chosen = {name: (place, 0) for name, place in fixed.items()}
    for i, name in enumerate(name for name in names if name not in fixed):
        chosen[name] = free[i % len(free)], 1 + i // len(free)
    return {name: {'label': name, 'color': _COLOURS[chosen[name][0]], 'marker': _MARKERS[chosen[name][0]],
                   'linestyle': _DASHES[chosen[name][1] % len(_DASHES)]} for name in names}


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
    figure, panels = _panels(['iterations', *(['minutes of training'] if timed else [])])
    for axes, kind in zip(panels, ('iterations', 'minutes'), strict=False):
        for name, style in styles(curves).items():
            _plot(axes, getattr(curves[name], kind), curves[name].values, style)
        if starts:
            axes.axhline(next(iter(starts.values())), **_LINE, **_INPUT)
        axes.set_xlim(left=0)
    shown = column_of(metric)
    panels[0].set_ylabel(f'{shown.title} ({shown.better} is better)', fontsize=TEXT)
    _add_legend(figure, panels[0])
    return figure


def _plot(axes: Axes, x: Sequence[float | None], y: Sequence[float | None], style: Mapping[str, Any]) -> None:
    """Draws a line through the points with both coordinates."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    axes.plot([a for a, _ in points], [b for _, b in points], **_LINE, **style)


def levels_figure(results: Results, dataset: str) -> Figure:
    """Draws PSNR over the levels of table 2, with a panel for each measured kind of degradation.

    Raises:
        ReportError: no method was measured at any level.
    """
    layers = {token: task.levels.keys() - {task.layer} for token, task in TASKS.items()}
    found = {token: results.methods(dataset, names) for token, names in layers.items()}
    shown = [TASKS[token] for token, names in found.items() if names]
    if not shown:
        raise ReportError(f'no results on levels of degradation of {dataset}: '
                          'gavn test -opt options/test_gavn_car.yml '
                          '--degradation car_crf35 car_crf40 car_crf45 makes some')
    methods = (name for names in found.values() for name in names if name == GAVN or name not in ABLATIONS)
    line_styles = styles(methods) | {DEGRADED: _INPUT}
    figure, panels = _panels([task.parameter for task in shown])
    for axes, task in zip(panels, shown, strict=True):
        for name, style in line_styles.items():
            measured = (results.get(dataset, layer, name) for layer in task.levels)
            values = [None if result is None else result.mean.get('psnr') for result in measured]
            _plot(axes, list(task.levels.values()), values, style)
        axes.set_xticks(list(task.levels.values()))
        axes.set_title(task.title, fontsize=TEXT + 1)
    panels[0].set_ylabel('PSNR in dB', fontsize=TEXT)
    _add_legend(figure, panels[0])
    return figure


def _panels(labels: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Makes axes side by side with labels below."""
    figure = new_figure(_WIDTH * len(labels) + 0.4, _HEIGHT)
    panels = list(figure.subplots(1, len(labels), squeeze=False)[0])
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xlabel(label, fontsize=TEXT)
        axes.tick_params(labelsize=TEXT, width=0.5, length=2.5)
        axes.spines[['top', 'right']].set_visible(False)
    return figure, panels


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Adds one legend above all axes, which have the same names, and makes the figure as much taller."""
    lines = axes.get_lines()
    columns = max(1, int(figure.get_figwidth() / _NAME))
    figure.set_figheight(_HEIGHT + 0.1 + 0.16 * math.ceil(len(lines) / columns))
    figure.legend(lines, [str(line.get_label()) for line in lines], loc='outside upper center', ncols=columns,
                  frameon=False, fontsize=TEXT, handlelength=2.4, columnspacing=1.4)
