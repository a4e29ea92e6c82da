"""A restored clip against its original: one number per metric, the same for validation and for tables."""
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from gavn.utils.landmarks import MOUTH, nme

LOWER_IS_BETTER = frozenset({'landmark_nme', 'calculate_niqe', 'calculate_lpips'})


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


@METRIC_REGISTRY.register()
def landmark_nme(landmarks: Tensor, true_landmarks: Tensor, mouth: bool = False) -> float:
    """Mean error of (68, 2) points, in percent of the distance between the true outer eye corners.

    `mouth` takes the 20 points of the lips only.
    """
    return float(nme(landmarks, true_landmarks, MOUTH if mouth else slice(None)))


def is_lower_better(metric: Mapping[str, Any]) -> bool:
    """Whether an option `val.metrics.<name>` counts down: by its `better`, else by its type."""
    if 'better' in metric:
        return metric['better'] == 'lower'
    return metric['type'] in LOWER_IS_BETTER


def evaluate_clip(frames: Iterable[EvaluatedFrame], metrics: Mapping[str, Mapping[str, Any]]
                  ) -> dict[str, float]:
    """Means over the frames of a clip, which are taken one at a time.

    Args:
        frames: of one clip, in order.
        metrics: as `val.metrics` of an option file: name -> {type, its arguments}. A type of BasicSR's metric
            registry compares pictures and gives two columns, `<name>` and `<name>_input` (the degraded
            frames'); `landmark_nme` gives `<name>` and `<name>_mouth`, percent of the distance of the outer
            eye corners.

    Returns `frames` (their number) and the columns. A column for which the clip lacks what it compares with
    (no ground truth, no landmarks) is absent.
    """
    values: dict[str, list[float]] = defaultdict(list)
    count = 0
    for frame in frames:
        count += 1
        for name, metric in metrics.items():
            measure = _landmark_columns if metric['type'] == 'landmark_nme' else _picture_columns
            for column, value in measure(name, metric, frame).items():
                values[column].append(value)
    return {'frames': count} | {column: float(np.mean(value)) for column, value in values.items()}


def average(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean over clips of every numeric column, each clip counting once; `frames` is summed."""
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for column, value in row.items():
            if isinstance(value, (int, float)):
                columns[column].append(value)
    return {column: sum(value) if column == 'frames' else float(np.mean(value))
            for column, value in columns.items()}


def _picture_columns(name: str, metric: Mapping[str, Any], frame: EvaluatedFrame) -> dict[str, float]:
    if frame.clean is None:
        return {}
    options = {key: value for key, value in metric.items() if key != 'better'}
    columns = {name: _compare(frame.restored, frame.clean, options)}
    if frame.degraded is not None:
        columns[f'{name}_input'] = _compare(frame.degraded, frame.clean, options)
    return columns


def _compare(image: np.ndarray, reference: np.ndarray, options: Mapping[str, Any]) -> float:
    return float(calculate_metric({'img': image, 'img2': reference}, dict(options)))


def _landmark_columns(name: str, metric: Mapping[str, Any], frame: EvaluatedFrame) -> dict[str, float]:
    if frame.landmarks is None or frame.true_landmarks is None:
        return {}
    return {name: landmark_nme(frame.landmarks, frame.true_landmarks),
            f'{name}_mouth': landmark_nme(frame.landmarks, frame.true_landmarks, mouth=True)}
