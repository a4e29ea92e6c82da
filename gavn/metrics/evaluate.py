"""A restored clip against its original: one number per metric, the same for validation and for tables."""
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from gavn.metrics.frame import frame_metric
from gavn.metrics.table import METRICS
from gavn.utils.landmarks import MOUTH, nme


@dataclass
class EvaluatedFrame:
    """One output frame and what it is judged by; what a clip does not have is None.

    Attributes:
        restored, degraded, clean: uint8 BGR (h, w, 3); the result, its input and the ground truth.
        landmarks: (68, 2), what the network was told; the detector's on the degraded frame.
        true_landmarks: (68, 2), the teacher's on the clean frame, in the same coordinates.
    """

    restored: np.ndarray
    degraded: np.ndarray | None = None
    clean: np.ndarray | None = None
    landmarks: Tensor | None = None
    true_landmarks: Tensor | None = None


Measure = Callable[[EvaluatedFrame], dict[str, float]]


@METRIC_REGISTRY.register()
def landmark_nme(landmarks: Tensor, true_landmarks: Tensor, mouth: bool = False) -> float:
    """Mean error of (68, 2) points, in percent of the distance between the true outer eye corners.

    `mouth` takes the 20 points of the lips only.
    """
    return float(nme(landmarks, true_landmarks, MOUTH if mouth else slice(None)))


def is_lower_better(metric: Mapping[str, Any]) -> bool:
    """Whether an option `val.metrics.<name>` counts down: by its `better`, else by its type."""
    return metric.get('better', METRICS[metric['type']].better) == 'lower'


def evaluate_clip(frames: Iterable[EvaluatedFrame], metrics: Mapping[str, Mapping[str, Any]]
                  ) -> dict[str, float]:
    """Means over the frames of a clip, which are taken one at a time.

    Args:
        frames: of one clip, in order.
        metrics: as `val.metrics` of an option file: name -> {type, its arguments}, types as in `METRICS`.
            Measures of pictures give two columns, `<name>` and `<name>_input` (the degraded frames');
            `landmark_nme` gives `<name>` and `<name>_mouth`, in percent of the outer eye distance.

    Returns `frames` (their number) and the columns. A column for which the clip lacks what it compares with
    (no ground truth, no landmarks) is absent. Raises ValueError for a type or an option that is not known.
    """
    measures = measures_of(metrics)
    values: dict[str, list[float]] = defaultdict(list)
    count = 0
    for frame in frames:
        count += 1
        for measure in measures:
            for column, value in measure(frame).items():
                values[column].append(value)
    return {'frames': count} | {column: float(np.mean(value)) for column, value in values.items()}


def measures_of(metrics: Mapping[str, Mapping[str, Any]]) -> list[Measure]:
    """The measures that `val.metrics` names. Raises ValueError for a type or an option that is not known."""
    return [(_landmark_measure if metric['type'] == 'landmark_nme' else _picture_measure)(name, metric)
            for name, metric in metrics.items()]


def average(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean over clips of every numeric column, each clip counting once; `frames` is summed."""
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for column, value in row.items():
            if isinstance(value, (int, float)):
                columns[column].append(value)
    return {column: sum(value) if column == 'frames' else float(np.mean(value))
            for column, value in columns.items()}


def _picture_measure(name: str, metric: Mapping[str, Any]) -> Measure:
    """Columns `<name>` and `<name>_input` of one frame; none where the measure needs a truth and has none."""
    options = {key: value for key, value in metric.items() if key not in ('type', 'better')}
    compare = frame_metric(metric['type'], options)
    needs_truth = 'truth' in METRICS[metric['type']].needs

    def measure(frame: EvaluatedFrame) -> dict[str, float]:
        if needs_truth and frame.clean is None:
            return {}
        columns = {name: compare(frame.restored, frame.clean)}
        if frame.degraded is not None:
            columns[f'{name}_input'] = compare(frame.degraded, frame.clean)
        return columns
    return measure


def _landmark_measure(name: str, metric: Mapping[str, Any]) -> Measure:
    """Columns `<name>` and `<name>_mouth` of one frame; none where there are no landmarks to compare."""
    if unknown := metric.keys() - {'type', 'better'}:
        raise ValueError(f'landmark_nme has no option {min(unknown)!r} here; it always gives two columns')

    def measure(frame: EvaluatedFrame) -> dict[str, float]:
        if frame.landmarks is None or frame.true_landmarks is None:
            return {}
        return {name: landmark_nme(frame.landmarks, frame.true_landmarks),
                f'{name}_mouth': landmark_nme(frame.landmarks, frame.true_landmarks, mouth=True)}
    return measure
