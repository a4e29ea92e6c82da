"""Evaluation of a clip: restored, degraded and clean frames in one pass."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from gavn.metrics.clip_metrics import Audio, Metric, MetricFactory, Sample
from gavn.metrics.missing import UNAVAILABLE, UndefinedMetricError
from gavn.metrics.results_file import BETWEEN_NOTES, DEGRADED, TRUTH, ResultRow, RunInfo
from gavn.metrics.table import metric_of

RESTORED = 'restored'
SUBJECTS = (RESTORED, DEGRADED, TRUTH)


@dataclass
class EvaluatedFrame:
    """One output frame with its references. What a clip does not have is None."""

    # restored, degraded, truth: result, input and ground truth, uint8 BGR (h, w, 3)
    restored: np.ndarray
    degraded: np.ndarray | None = None
    truth: np.ndarray | None = None
    # input of the network, (68, 2) in the unit square: the detector's on the degraded frame
    landmarks: Tensor | None = None
    true_landmarks: Tensor | None = None  # the annotator's on the clean frame, (68, 2) in the unit square
    time: float | None = None  # seconds since the first frame; None: 25 frames per second

    def sample(self, subject: str) -> Sample | None:
        """The images to evaluate of a subject; None if the clip does not have it."""
        if subject == RESTORED:
            return Sample(self.restored, self.truth, self.landmarks, self.true_landmarks, self.time)
        image, truth = (self.degraded, self.truth) if subject == DEGRADED else (self.truth, None)
        return None if image is None else Sample(image, truth, None, self.true_landmarks, self.time)

    def check_sizes(self, index: int) -> None:
        """Raises ValueError with the frame number if the images differ in size."""
        for name, image in (('degraded', self.degraded), ('ground truth', self.truth)):
            if image is not None and image.shape != self.restored.shape:
                raise ValueError(f'frame {index}: the restored image is {_size(self.restored)}, the {name} '
                                 f'image {_size(image)} pixels; their sizes must be equal')


def _size(image: np.ndarray) -> str:
    return f'{image.shape[1]}x{image.shape[0]}'


@dataclass(frozen=True)
class Scores:
    """Values by column (None: undefined, with the reason in `notes`)."""

    values: dict[str, float | None] = field(default_factory=dict)
    notes: str = ''


@dataclass(frozen=True)
class ClipScores:
    """Number of frames of a clip, and scores of its subjects (see `SUBJECTS`)."""

    frames: int
    subjects: dict[str, Scores]

    def rows(self, run: RunInfo, clip: str) -> list[ResultRow]:
        """Rows of results. Rows of input and ground truth contain no data of the network."""
        return [ResultRow(run if subject == RESTORED else RunInfo(run.dataset, run.degradation, subject),
                          clip, self.frames, scores.values, scores.notes)
                for subject, scores in self.subjects.items()]


def is_lower_better(metric: Mapping[str, Any]) -> bool:
    """Whether lower is better for an entry of `val.metrics`: by its `better`, else by its type."""
    return metric.get('better', metric_of(metric['type']).better) == 'lower'


def evaluate_clip(frames: Iterable[EvaluatedFrame], metric_factories: Sequence[MetricFactory],
                  audio: Callable[[], Audio] = lambda: None, subjects: Collection[str] = SUBJECTS
                  ) -> ClipScores:
    """Evaluates a clip, frame by frame.

    Args:
        frames: of one clip, in order.
        audio: reads the int16 samples at 16 kHz of the clip; called if a metric needs audio.
        subjects: which of `SUBJECTS` to evaluate.

    Returns:
        Scores of the subjects that the clip has. Columns that do not apply are absent, for instance PSNR of
        the ground truth.

    Raises:
        ValueError: the images of a frame differ in size.
    """
    samples = audio() if any('audio' in item.needs for item in metric_factories) else None
    states: dict[str, list[_MetricState]] = {}
    count = 0
    for frame in frames:
        frame.check_sizes(count)
        count += 1
        for subject in subjects:
            if (sample := frame.sample(subject)) is not None:
                if subject not in states:
                    states[subject] = [_MetricState(item, samples) for item in metric_factories]
                for state in states[subject]:
                    state.update(sample)
    return ClipScores(count, {subject: _scores(states[subject]) for subject in SUBJECTS if subject in states})


class _MetricState:
    """One metric of one subject of a clip. After a failure it keeps the reason."""

    def __init__(self, metric_factory: MetricFactory, audio: Audio) -> None:
        self.metric_factory, self.audio = metric_factory, audio
        self.metric: Metric | None = None
        self.reason: str | None = None

    def update(self, sample: Sample) -> None:
        if self.reason is not None or not sample.has(self.metric_factory.needs):
            return
        try:
            self.metric = self.metric or self.metric_factory.begin(self.audio)
            self.metric.update(sample)
        except (UndefinedMetricError, *UNAVAILABLE) as error:
            self.reason = str(error)

    def values(self) -> dict[str, float | None]:
        columns = self.metric_factory.columns
        if self.reason is None and self.metric is not None:
            try:
                return dict(zip(columns, self.metric.result(), strict=True))
            except UndefinedMetricError as error:
                self.reason = str(error)
        return {} if self.reason is None else dict.fromkeys(columns)


def _scores(states: Sequence[_MetricState]) -> Scores:
    values: dict[str, float | None] = {}
    notes = []
    for state in states:
        values |= state.values()
        if state.reason is not None:
            notes.append(f'{", ".join(state.metric_factory.columns)}: {"; ".join(state.reason.splitlines())}')
    return Scores(values, BETWEEN_NOTES.join(notes))
