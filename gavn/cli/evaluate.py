"""Restored videos in numbers, whoever restored them: what `gavn evaluate` does."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gavn.audio.mfcc import SAMPLE_RATE
from gavn.data.clip_reader import MismatchError, Triple, collect, pair
from gavn.faces.geometry import crop
from gavn.faces.tracker import NoFace, track_faces
from gavn.faces.tracks import Track
from gavn.media import Frame
from gavn.metrics.evaluate import ClipScores, EvaluatedFrame, evaluate_clip
from gavn.metrics.measures import Device, MetricFactory, metric_factories, metric_factory
from gavn.metrics.results_file import BETWEEN_NOTES, MEAN, STD, Row, RunInfo, check_names
from gavn.metrics.table import METRICS, STANDARD, column_of

WEIGHTS = {'syncnet': 'sync', 'alexnet': 'lpips'}  # names of files of weights: the metric that reads them
SLOW = ('id',)  # half a second a frame: measured where it is asked for
_Frames = Iterable[tuple[Frame, Frame | None, Frame | None]]


class EvaluationError(Exception):
    """A metric that cannot be had of what was given; the message says why."""


@dataclass(frozen=True)
class FaceCrop:
    """The face of a clip, followed through one run of its frames, `track.longest`; `times` in seconds."""

    track: Track
    times: Sequence[float]

    @classmethod
    def of(cls, clip: Triple) -> FaceCrop:
        """Follows the face through the truth, the input or the restored clip, the first there is.

        So the crops of several methods are the same. Raises NoFace.
        """
        source, times = clip.truth or clip.degraded or clip.restored, []

        def images() -> Iterator[np.ndarray]:
            for frame in source.frames():
                times.append(frame.time)
                yield frame.image

        try:
            return cls(track_faces(images()), times)
        except NoFace as error:
            raise NoFace(f'{source.path}: {error}') from error

    @property
    def start(self) -> float:
        """Time of the first frame that is kept, in seconds."""
        return self.times[self.track.longest.start]

    @property
    def notes(self) -> str:
        """Which frames are kept, in words; empty for all."""
        kept, count = self.track.longest, len(self.times)
        return '' if len(kept) == count else f'only frames {kept.start} to {kept.stop - 1} of {count}'

    def frames(self, frames: _Frames) -> Iterator[EvaluatedFrame]:
        """The frames that are kept, each picture cropped to the face, 224 x 224."""
        for together in frames:
            index = together[0].index
            if index in self.track.longest:
                region = self.track.region(index)
                faces = (None if frame is None else crop(frame.image, region) for frame in together)
                yield EvaluatedFrame(*faces, time=together[0].time - self.start)

    def sound(self, sound: np.ndarray | None) -> np.ndarray | None:
        """From the first frame that is kept on."""
        return None if sound is None else sound[round(self.start * SAMPLE_RATE):]


def evaluate(clip: Triple, metric_factories: Sequence[MetricFactory], crop_face: bool = False,
             tick: Callable[[], object] = lambda: None) -> tuple[ClipScores, str]:
    """What is measured of a clip, and what should be known about it; `tick` is called after every frame.

    Args:
        clip: read twice if the face is cropped, else once.
        instruments: what measures (see `gavn.metrics.measures`).
        crop_face: measure the face alone, followed through the truth, or without one through the restored
            clip, as 224 x 224 pixels; only the longest run of frames that shows it.

    Raises MismatchError where the files do not agree, MediaError for one that cannot be read, NoFace.
    """
    def counted() -> _Frames:
        for together in clip.frames():
            yield together
            tick()

    if not crop_face:
        return evaluate_clip(_whole(counted()), metric_factories, clip.read_audio), ''
    face = FaceCrop.of(clip)
    return evaluate_clip(
        face.frames(counted()), metric_factories, lambda: face.sound(clip.read_audio())
    ), face.notes


def _whole(frames: _Frames) -> Iterator[EvaluatedFrame]:
    for together in frames:
        yield EvaluatedFrame(*(None if frame is None else frame.image for frame in together),
                             time=together[0].time)


def choose(names: Sequence[str] | None, has_truth: bool, weights: Mapping[str, str], device: Device
           ) -> list[MetricFactory]:
    """What measures.

    Args:
        names: keys of `STANDARD`; None takes all that apply but those that are `SLOW`, and without their
            weights these measure nothing and say why.
        has_truth: whether there is something to compare with.
        weights: files by their names in `WEIGHTS`.
        device: where networks run.

    Raises EvaluationError for a metric that needs a truth and has none; MissingWeightsError for one of
    `names` that lacks its weights, CheckpointError for weights that are not its own.
    """
    metrics = {key: dict(metric) for key, metric in STANDARD.items()
               if 'true_landmarks' not in METRICS[metric['type']].needs}
    for name, file in weights.items():
        metrics[WEIGHTS[name]]['weights'] = file
    comparing = [key for key, metric in metrics.items() if 'truth' in METRICS[metric['type']].needs]
    if names is None:
        left_out = (*SLOW, *(() if has_truth else comparing))
        return metric_factories({key: metrics[key] for key in metrics if key not in left_out}, device)
    if not has_truth and (blind := [name for name in names if name in comparing]):
        raise EvaluationError(f'{", ".join(blind)} compare with the truth: give it by --reference')
    return [metric_factory(name, metrics[name], device) for name in dict.fromkeys(names)]


def gather(restored: Path, reference: Path | None, degraded: Path | None) -> tuple[str, list[Triple]]:
    """The name of the folder of restored clips, and the clips with their truth and their input.

    Raises MismatchError where clips have no counterpart, UnreadableMedia for a place that holds none.
    """
    found = collect(restored)
    clips = pair(found, *(None if path is None else collect(path) for path in (degraded, reference)))
    try:
        check_names(clip.name for clip in clips)
    except ValueError as error:
        raise MismatchError(str(error)) from error
    return found.name, clips


def evaluate_all(clips: Sequence[Triple], run: RunInfo, metric_factories: Sequence[MetricFactory],
                 crop_face: bool = False) -> list[Row]:
    """Rows of every clip, its input and its truth; a bar shows the progress on a terminal.

    Raises what `evaluate` raises.
    """
    rows = []
    with tqdm(unit='frame', disable=not sys.stderr.isatty()) as bar:
        for clip in clips:
            bar.set_description(clip.name)
            scores, notes = evaluate(clip, metric_factories, crop_face, bar.update)
            rows += [replace(row, notes=BETWEEN_NOTES.join(filter(None, (notes, row.notes))))
                     for row in scores.rows(run, clip.name)]
    return rows


def summary(rows: Sequence[Row]) -> str:
    """Means and standard deviations over clips as a table for a terminal, with the notes below it."""
    means = [row for row in rows if row.clip == MEAN]
    spreads = {row.run.method: row.values for row in rows if row.clip == STD}
    columns = list(dict.fromkeys(column for row in means for column in row.values))
    cells = [['', *(column_of(column).title for column in columns)]]
    cells += [[row.run.method, *(_cell(column, row, spreads) for column in columns)] for row in means]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ['  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
    return '\n'.join([*lines, *dict.fromkeys(f'note: {row.notes}' for row in means if row.notes)])


def _cell(column: str, mean: Row, spreads: Mapping[str, Mapping[str, float | None]]) -> str:
    value = mean.values.get(column)
    if value is None:
        return 'n/a' if column in mean.values else ''
    decimals = column_of(column).decimals
    return f'{value:.{decimals}f} ± {spreads[mean.run.method][column]:.{decimals}f}'
