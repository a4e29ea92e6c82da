"""Shared code of figures: matplotlib (imported at the first figure), colours, files."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gavn.experiments.report.layout import in_order
from gavn.experiments.report.results import ReportError
from gavn.metrics.results_file import DEGRADED
from gavn.runtime.files import atomic_path
from gavn.runtime.project import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = ('.png', '.pdf', '.svg')
TEXT = 7.0  # points
_NAME = 1.1  # inches of a name in a legend
LINE: dict[str, Any] = {'linewidth': 1, 'markersize': 3}
# line of the degraded input
INPUT: dict[str, Any] = {'color': '0.45', 'linestyle': '--', 'label': DEGRADED}
# colours for colour-blind readers (Okabe and Ito 2008)
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'osD^vPX'
_DASHES = ('-', '--', ':', '-.')  # solid for the paper's methods
_OF_METHODS = {'GAVN': 0, 'EDVR': 1, 'BasicVSR++': 2, 'DAVD-Net': 3, 'DAVD-Net (ours)': 3, 'VRT': 4,
               'DBPN': 5}


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure; sizes in inches. Raises ReportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ReportError(f'figures are drawn with matplotlib, which is not installed ({error}): '
                          f'{install_command("evaluate")}') from error
    return Figure(figsize=(width, height), facecolor='white')


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 200) -> None:
    """Writes a figure atomically. Raises ReportError for an unknown file format."""
    path = check_path(path)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=dpi)


def check_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a figure. Raises ReportError for an unknown file format."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ReportError(f'{path}: a figure is written as {", ".join(ENDINGS)}; give such an ending')
    return path


def styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each method's line, in the order of tables.

    The paper's methods always have the same. Others share the remaining colours, with different dashes.
    """
    names = in_order(methods)
    taken = {_OF_METHODS.get(name) for name in names}
    free = [place for place in range(len(_COLOURS) - 1, -1, -1) if place not in taken]
    others = [name for name in names if name not in _OF_METHODS]
    chosen = {name: (_OF_METHODS[name], 0) for name in names if name in _OF_METHODS}
    chosen |= {name: (free[i % len(free)], 1 + i // len(free)) for i, name in enumerate(others)}
    return {name: {'color': _COLOURS[chosen[name][0]], 'marker': _MARKERS[chosen[name][0]],
                   'linestyle': _DASHES[chosen[name][1] % len(_DASHES)]} for name in names}


def plain_axes(axes: Axes) -> None:
    """Sets small labels, and removes the frame except the two axes."""
    axes.tick_params(labelsize=TEXT, width=0.5, length=2.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ('left', 'bottom'))
        spine.set_linewidth(0.5)


def legend_height(width: float, names: int) -> float:
    """Height in inches of a legend of `names` entries above a figure of this width."""
    return 0.1 + 0.16 * math.ceil(names / _beside(width))


def _beside(width: float) -> int:
    """Legend entries per row of `width` inches."""
    return max(1, int(width / _NAME))


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Adds one legend above all axes, with each name once."""
    lines = {str(line.get_label()): line for ax in axes for line in ax.get_lines()
             if np.size(line.get_xdata())}
    figure.legend(list(lines.values()), list(lines), loc='upper center', ncols=_beside(figure.get_figwidth()),
                  frameon=False, fontsize=TEXT, handlelength=2.4, columnspacing=1.4)
