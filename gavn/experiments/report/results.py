"""Results of several files: one per data set, degradation and method, without contradictions."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gavn.config.sections import REFERENCES
from gavn.errors import GavnError
from gavn.metrics.results_file import MEAN, STD, TRUTH, ResultsError, Row, RunInfo, read_results

_SAME = 1e-6  # between two measurements of the same images
_REPEATED = 1e-3  # for metrics computed by networks, which differ between devices
LANDMARKS = {'nme', 'nme_mouth'}  # of landmarks, not of images
_BY_NETWORKS = {'lpips', 'sync_c', 'sync_d', 'id'} | LANDMARKS

Key = tuple[str, str, str]
"""Data set, degradation ('' without ground truth), method."""


class ReportError(GavnError):
    """A table or a figure cannot be made. The message says why, and what to run."""


@dataclass(frozen=True)
class Result:
    """Results of a method on a data set with one degradation.

    Attributes:
        run: from the file.
        mean, std: over clips, by metric; None: could not be measured; absent: does not apply.
        clips: rows of clips by name.
        notes: why a metric could not be measured.
        source: the file.
        window: frames of a training window; None if unknown.
    """

    run: RunInfo
    mean: Mapping[str, float | None]
    std: Mapping[str, float | None] = field(default_factory=dict)
    clips: Mapping[str, Row] = field(default_factory=dict)
    notes: str = ''
    source: str = ''
    window: int | None = None

    @property
    def is_reference(self) -> bool:
        """Whether this is the degraded input or the ground truth."""
        return self.run.method in REFERENCES


class Results:
    """Results by data set, degradation and method, in the order of their files."""

    def __init__(self, results: Iterable[Result] = ()) -> None:
        self._by_key: dict[Key, Result] = {}
        for result in results:
            self.add(result)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._by_key.values())

    def get(self, dataset: str, degradation: str, method: str) -> Result | None:
        """Returns the result; None if there is none."""
        return self._by_key.get((dataset, degradation, method))

    def datasets(self, degradations: Iterable[str]) -> list[str]:
        """Data sets with results of any of these degradations."""
        return list(dict.fromkeys(result.run.dataset for result in self._methods(degradations)))

    def methods(self, dataset: str, degradations: Iterable[str]) -> list[str]:
        """Methods with results on a data set and any of these degradations, without the references."""
        return list(dict.fromkeys(result.run.method for result in self._methods(degradations)
                                  if result.run.dataset == dataset))

    def has_truth(self, dataset: str, degradation: str) -> bool:
        """Whether there are results with ground truth."""
        return any(result.run.method == TRUTH or 'psnr' in result.mean for result in self
                   if (result.run.dataset, result.run.degradation) == (dataset, degradation))

    def _methods(self, degradations: Iterable[str]) -> Iterator[Result]:
        wanted = set(degradations)
        return (result for result in self if result.run.degradation in wanted and not result.is_reference)

    def add(self, result: Result) -> None:
        """Adds a result. An existing one, such as a reference, must have the same values.

        Raises:
            ReportError: results contradict each other, or methods were measured on different clips. The
                message names both files.
        """
        run = result.run
        key = run.dataset, run.degradation, run.method
        if kin := next((other for other in self if other.run.dataset == run.dataset
                        and other.run.degradation == run.degradation), None):
            _check_same_clips(kin, result)
        if known := self._by_key.get(key):
            _check_same_values(known, result)
            mean, std = ({**new, **{c: v for c, v in old.items() if v is not None}}
                         for old, new in ((known.mean, result.mean), (known.std, result.std)))
            result = Result(known.run, mean, std, known.clips, known.notes, known.source, known.window)
        self._by_key[key] = result


def _place(result: Result) -> str:
    run = result.run
    return f'{run.method} on {run.dataset}{f" ({run.degradation})" if run.degradation else ""}'


def _check_same_clips(one: Result, other: Result) -> None:
    """Raises ReportError if methods were measured on different clips or frames."""
    lengths = [{clip: row.frames for clip, row in result.clips.items()} for result in (one, other)]
    if lengths[0] == lengths[1]:
        return
    odd = min(clip for clip in lengths[0].keys() | lengths[1].keys()
              if lengths[0].get(clip) != lengths[1].get(clip))
    details = [f'{result.source}: {_place(result)} has '
            + (f'{frames[odd]} frames' if odd in frames else 'no such clip')
            for result, frames in zip((one, other), lengths, strict=True)]
    raise ReportError(f'results of different data cannot stand in one table: clip {odd!r}\n'
                      + '\n'.join(details) + '\nevaluate both on the same split and frames')


def _check_same_values(known: Result, result: Result) -> None:
    """Raises ReportError if two rows of a method are not of the same weights and values."""
    same_weights = known.run.checkpoint == result.run.checkpoint
    difference = _first_difference(known, result)
    files = f'{known.source} and {result.source}'
    if not same_weights:
        raise ReportError(f'{files} both hold {_place(result)}, of different weights (checkpoints '
                          f'{known.run.checkpoint or "unknown"} and {result.run.checkpoint or "unknown"}); '
                          'give one of them, or another `method:` in the option file of the other')
    if difference is None:
        return
    clip, metric, values = difference
    details = f'{_place(result)}, {clip}: {metric} is {values[0]} and {values[1]}'
    if result.is_reference:
        raise ReportError(f'{files} come from different data: {details}\nthis row depends on the data alone; '
                          'evaluate both on the same data set folder')
    raise ReportError(f'{files} contradict each other: {details}\ngive one of them')


def _first_difference(one: Result, other: Result) -> tuple[str, str, tuple[float, float]] | None:
    """Clip, metric and both values of the first difference; missing metrics do not count."""
    pairs = [(clip, row.values, other.clips[clip].values) for clip, row in one.clips.items()]
    for clip, left, right in [*pairs, (MEAN, one.mean, other.mean)]:
        for metric in left.keys() & right.keys():
            first, second = left[metric], right[metric]
            exact = one.is_reference and metric not in _BY_NETWORKS
            if first is None or second is None:
                continue
            if abs(first - second) > (_SAME if exact else _REPEATED):
                return clip, metric, (first, second)
    return None


def collect(paths: Sequence[str | os.PathLike[str]]) -> Results:
    """Collects the results of restoration from several files; those of landmark detectors are ignored.

    Raises:
        ResultsError: a file cannot be read or has no mean of a method.
        ReportError: files contradict each other.
    """
    results = Results()
    for path in dict.fromkeys(map(Path, paths)):
        groups: dict[Key, list[Row]] = {}
        for row in read_results(path):
            groups.setdefault((row.run.dataset, row.run.degradation, row.run.method), []).append(row)
        for result in _restorations([_result(rows, str(path)) for rows in groups.values()]):
            results.add(result)
    return results


def _restorations(results: Sequence[Result]) -> Iterator[Result]:
    """Results of one file that are about images, with their references."""
    methods = [result for result in results if not result.is_reference and result.mean.keys() - LANDMARKS]
    places = {(result.run.dataset, result.run.degradation) for result in methods}
    return (result for result in results
            if result in methods or (result.is_reference
                                     and (result.run.dataset, result.run.degradation) in places))


def _result(rows: Sequence[Row], source: str) -> Result:
    summary = {row.clip: row for row in rows if not row.is_clip}
    run = rows[0].run
    if missing := [name for name in (MEAN, STD) if name not in summary]:
        raise ResultsError(f'{source}: {run.method} on {run.dataset} has no row {missing[0]!r}: the file is '
                           'not whole; make it anew with gavn test or gavn evaluate')
    mean = summary[MEAN]
    return Result(run, mean.values, summary[STD].values, {row.clip: row for row in rows if row.is_clip},
                  mean.notes, source)
