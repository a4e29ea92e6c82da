"""Measures clips for `gavn evaluate`: matches files, crops faces, computes metrics, summarises."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gavn.audio.rates import SAMPLE_RATE
from gavn.data.clip_pairs import MismatchError, Triple, collect, pair
from gavn.errors import ExitCode, GavnError
from gavn.faces.geometry import crop
from gavn.faces.tracker import NoFace, follow_main_face
from gavn.faces.tracks import Faces
from gavn.media import Frame
from gavn.metrics.clip_metrics import Device, MetricFactory, metric_factories, metric_factory
from gavn.metrics.evaluate import ClipScores, EvaluatedFrame, evaluate_clip
from gavn.metrics.results_file import BETWEEN_NOTES, MEAN, STD, ResultRow, RunInfo, check_names
from gavn.metrics.table import METRICS, STANDARD, column_of

WEIGHTS = {'syncnet': 'sync', 'alexnet': 'lpips'}  # name of a weight file -> metric that uses it
SLOW = ('id',)  # takes half a second per frame: computed only on request
_Group = tuple[Frame, Frame | None, Frame | None]
_Frames = Iterable[_Group]


class EvaluationError(GavnError):
    """A metric cannot be computed from the given files."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class FaceCrop:
    """The tracked face of a clip."""

    found: Faces  # the one face that is cropped
    times: Sequence[float]  # time of each frame of the clip, in seconds

    @classmethod
    def from_clip(cls, clip: Triple) -> FaceCrop:
        """Tracks the face in the ground truth, else the input, else the restored clip.

        So the crops of several methods are the same.

        Raises:
            NoFace: there is no face.
        """
        source = clip.truth or clip.degraded or clip.restored
        times: list[float] = []

        def images() -> Iterator[np.ndarray]:
            for frame in source.read():
                times.append(frame.time)
                yield frame.image

        try:
            return cls(follow_main_face(images()), times)
        except NoFace as error:
            raise NoFace(f'{source.path}: {error}') from error

    @property
    def start(self) -> float:
        """Time of the first cropped frame, in seconds."""
        return self.times[self.found.faces[0].span.start]

    @property
    def notes(self) -> str:
        """Says which frames are cropped; empty if all are."""
        kept, count = self.found.faces[0].span, len(self.times)
        return '' if len(kept) == count else f'only frames {kept.start} to {kept.stop - 1} of {count}'

    def frames(self, frames: _Frames) -> Iterator[EvaluatedFrame]:
        """Yields the frames cropped to the face, 224 x 224."""
        [face] = self.found.faces
        for group in frames:
            if (index := group[0].index) in face.span:
                yield _evaluated(group, partial(crop, region=self.found.region(face, index)), self.start)

    def audio(self, audio: np.ndarray | None) -> np.ndarray | None:
        """Returns the audio from the first cropped frame on."""
        return None if audio is None else audio[round(self.start * SAMPLE_RATE):]


def evaluate(clip: Triple, metric_factories: Sequence[MetricFactory], crop_face: bool = False,
             tick: Callable[[], object] = lambda: None) -> tuple[ClipScores, str]:
    """Measures a clip.

    Args:
        clip: read twice if the face is cropped, else once.
        metric_factories: the metrics (see `gavn.metrics.clip_metrics`).
        crop_face: measure 224 x 224 face crops of the longest run of frames with the face.

    Raises:
        MismatchError: the files do not match.
        MediaError: a file cannot be read.
        NoFace: there is no face to crop to.
    """
    def counted() -> _Frames:
        for group in clip.frames():
            yield group
            tick()

    if not crop_face:
        return evaluate_clip(_whole(counted()), metric_factories, clip.read_audio), ''
    face = FaceCrop.from_clip(clip)
    return evaluate_clip(
        face.frames(counted()), metric_factories, lambda: face.audio(clip.read_audio())
    ), face.notes


def _whole(frames: _Frames) -> Iterator[EvaluatedFrame]:
    return map(_evaluated, frames)


def _evaluated(group: _Group, part: Callable[[np.ndarray], np.ndarray] = lambda image: image,
               start: float = 0.) -> EvaluatedFrame:
    """Returns a part of the images, at their time after `start` in seconds."""
    restored, degraded, truth = group
    return EvaluatedFrame(part(restored.image), None if degraded is None else part(degraded.image),
                          None if truth is None else part(truth.image), time=restored.time - start)


def choose(names: Sequence[str] | None, has_truth: bool, weights: Mapping[str, str], device: Device
           ) -> list[MetricFactory]:
    """Creates the metrics.

    Args:
        names: keys of `STANDARD`. None selects all that apply, except `SLOW`; without weights these give n/a.
        has_truth: whether there is a ground truth.
        weights: name in `WEIGHTS` -> file.

    Raises:
        EvaluationError: a metric in `names` needs the ground truth.
        MissingWeightsError, MissingPackageError: a metric in `names` has no weights, or needs a package.
        CheckpointError: the weights do not fit.
    """
    metrics = {key: dict(metric) for key, metric in STANDARD.items()
               if 'true_landmarks' not in METRICS[metric['type']].needs}
    for name, file in weights.items():
        metrics[WEIGHTS[name]]['weights'] = file
    comparing = [key for key, metric in metrics.items() if 'truth' in METRICS[metric['type']].needs]
    if names is None:
        left_out = (*SLOW, *(() if has_truth else comparing))
        return metric_factories({key: metrics[key] for key in metrics if key not in left_out}, device)
    if not has_truth and (unusable := [name for name in names if name in comparing]):
        raise EvaluationError(f'{", ".join(unusable)} need the ground truth: use --reference')
    return [metric_factory(name, metrics[name], device) for name in dict.fromkeys(names)]


def gather(restored: Path, reference: Path | None, degraded: Path | None) -> tuple[str, list[Triple]]:
    """Matches restored clips with their ground truth and input.

    Returns:
        The name of the folder of restored clips, and the matched clips.

    Raises:
        MismatchError: a clip has no counterpart.
        UnreadableMedia: a folder contains no clips.
    """
    found = collect(restored)
    clips = pair(found, *(None if path is None else collect(path) for path in (degraded, reference)))
    try:
        check_names(clip.name for clip in clips)
    except ValueError as error:
        raise MismatchError(str(error)) from error
    return found.name, clips


def evaluate_all(clips: Sequence[Triple], run: RunInfo, metric_factories: Sequence[MetricFactory],
                 crop_face: bool = False) -> list[ResultRow]:
    """Measures all clips with a progress bar; raises as `evaluate`."""
    rows = []
    with tqdm(unit='frame', disable=not sys.stderr.isatty()) as bar:
        for clip in clips:
            bar.set_description(clip.name)
            scores, notes = evaluate(clip, metric_factories, crop_face, bar.update)
            rows += [replace(row, notes=BETWEEN_NOTES.join(filter(None, (notes, row.notes))))
                     for row in scores.rows(run, clip.name)]
    return rows


def summary(rows: Sequence[ResultRow]) -> str:
    """Returns means and standard deviations over clips as a text table, followed by the notes."""
    means = [row for row in rows if row.clip == MEAN]
    spreads = {row.run.method: row.values for row in rows if row.clip == STD}
    columns = list(dict.fromkeys(column for row in means for column in row.values))
    cells = [['', *(column_of(column).title for column in columns)]]
    cells += [[row.run.method, *(_cell(column, row, spreads) for column in columns)] for row in means]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ['  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
    return '\n'.join([*lines, *dict.fromkeys(f'note: {row.notes}' for row in means if row.notes)])


def _cell(column: str, mean: ResultRow, spreads: Mapping[str, Mapping[str, float | None]]) -> str:
    value = mean.values.get(column)
    if value is None:
        return 'n/a' if column in mean.values else ''
    decimals = column_of(column).decimals
    return f'{value:.{decimals}f} ± {spreads[mean.run.method][column]:.{decimals}f}'
