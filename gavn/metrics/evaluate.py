"""A clip in numbers: the restored one, its degraded input and the truth, in one pass over their frames."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from gavn.metrics.measures import Measure, MetricFactory, Sample, Sound
from gavn.metrics.missing import NotMeasurable, WeightsMissing
from gavn.metrics.results_file import BETWEEN_NOTES, DEGRADED, TRUTH, Row, RunInfo
from gavn.metrics.table import metric_of

RESTORED = 'restored'
SUBJECTS = (RESTORED, DEGRADED, TRUTH)


@dataclass
class EvaluatedFrame:
    """One output frame and what it is judged by; what a clip does not have is None.

    Attributes:
        restored, degraded, clean: uint8 BGR (h, w, 3); the result, its input and the ground truth.
        landmarks: (68, 2) in the unit square, what the network was told: the detector's on the degraded
            frame.
        true_landmarks: (68, 2), the teacher's on the clean frame, in the same coordinates.
        time: in seconds since the first frame; None: frames come at 25 a second.
    """

    restored: np.ndarray
    degraded: np.ndarray | None = None
    clean: np.ndarray | None = None
    landmarks: Tensor | None = None
    true_landmarks: Tensor | None = None
    time: float | None = None

    def view(self, subject: str) -> Sample | None:
        """What is judged of a subject, None where the clip does not have it; the truth has no truth."""
        if subject == RESTORED:
            return Sample(self.restored, self.clean, self.landmarks, self.true_landmarks, self.time)
        image, truth = (self.degraded, self.clean) if subject == DEGRADED else (self.clean, None)
        return None if image is None else Sample(image, truth, None, self.true_landmarks, self.time)

    def check_sizes(self, index: int) -> None:
        """Raises ValueError, naming the frame, where the pictures differ in size."""
        for name, image in (('the degraded one', self.degraded), ('the truth', self.clean)):
            if image is not None and image.shape != self.restored.shape:
                raise ValueError(f'frame {index}: the restored picture is {_size(self.restored)}, {name} '
                                 f'{_size(image)} pixels; they must have one size')


def _size(image: np.ndarray) -> str:
    return f'{image.shape[1]}x{image.shape[0]}'


@dataclass(frozen=True)
class Scores:
    """Numbers by column, None where something could not be measured, and in `notes` why."""

    values: dict[str, float | None] = field(default_factory=dict)
    notes: str = ''


@dataclass(frozen=True)
class ClipScores:
    """The number of frames of a clip, and what was measured of each of its subjects (see `SUBJECTS`)."""

    frames: int
    subjects: dict[str, Scores]

    def rows(self, run: RunInfo, clip: str) -> list[Row]:
        """As rows of results; those of the degraded input and the truth say nothing about a network."""
        return [Row(run if subject == RESTORED else RunInfo(run.dataset, run.degradation, subject),
                    clip, self.frames, scores.values, scores.notes)
                for subject, scores in self.subjects.items()]


def is_lower_better(metric: Mapping[str, Any]) -> bool:
    """Whether an entry of `val.metrics` counts down: by its `better`, else by its type."""
    return metric.get('better', metric_of(metric['type']).better) == 'lower'


def evaluate_clip(frames: Iterable[EvaluatedFrame], metric_factories: Sequence[MetricFactory],
                  sound: Callable[[], Sound] = lambda: None, subjects: Collection[str] = SUBJECTS
                  ) -> ClipScores:
    """Measures a clip whose frames are taken one at a time, in order.

    Args:
        frames: of one clip.
        instruments: what measures (see `gavn.metrics.measures.instruments`).
        sound: reads the int16 samples at 16 kHz that go with the frames; called if an instrument listens.
        subjects: which of `SUBJECTS` to measure.

    A subject that the clip does not have is absent, and so is a column that does not apply to one: a measure
    that compares, for the truth or where there is none. Raises ValueError where frames differ in size.
    """
    heard = sound() if any('audio' in item.needs for item in metric_factories) else None
    states: dict[str, list[_MetricState]] = {}
    count = 0
    for frame in frames:
        frame.check_sizes(count)
        count += 1
        for subject in subjects:
            if (view := frame.view(subject)) is not None:
                if subject not in states:
                    states[subject] = [_MetricState(item, heard) for item in metric_factories]
                for state in states[subject]:
                    state.update(view)
    return ClipScores(count, {subject: _scores(states[subject]) for subject in SUBJECTS if subject in states})


class _MetricState:
    """One instrument on one subject of one clip; once it cannot measure, it keeps the reason."""

    def __init__(self, metric_factory: MetricFactory, sound: Sound) -> None:
        self.metric_factory, self.sound = metric_factory, sound
        self.measure: Measure | None = None
        self.reason: str | None = None

    def update(self, view: Sample) -> None:
        if self.reason is not None or not view.offers(self.metric_factory.needs):
            return
        try:
            self.measure = self.measure or self.metric_factory.begin(self.sound)
            self.measure.update(view)
        except (NotMeasurable, WeightsMissing) as error:
            self.reason = str(error)

    def values(self) -> dict[str, float | None]:
        columns = self.metric_factory.columns
        if self.reason is None and self.measure is not None:
            try:
                return dict(zip(columns, self.measure.result(), strict=True))
            except NotMeasurable as error:
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
