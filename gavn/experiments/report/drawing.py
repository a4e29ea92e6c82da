"""Shared code of figures: matplotlib (imported at the first figure), and files."""
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.experiments.report.results import ReportError
from gavn.runtime.files import atomic_path
from gavn.runtime.optional_packages import optional_package

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = ('.png', '.pdf', '.svg')
TEXT = 7.0  # points


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure; sizes in inches. Raises MissingPackageError without matplotlib."""
    package = optional_package('matplotlib.figure', 'evaluate', 'a figure')
    return package.Figure(figsize=(width, height), facecolor='white', layout='constrained')


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
