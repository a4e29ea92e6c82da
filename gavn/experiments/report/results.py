"""Results of several files: one per data set, degradation and method, without contradictions."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gavn.config.sections import REFERENCES
from gavn.errors import GavnError
from gavn.metrics.results_file import (
    MEAN,
    STD,
    TRUTH,
    ResultRow,
    ResultsError,
    RunInfo,
    by_method,
    read_results,
)

_SAME = 1e-6  # between two measurements of the same images
_REPEATED = 1e-3  # for metrics computed by networks, which differ between devices
LANDMARKS = {'nme', 'nme_mouth'}  # of landmarks, not of images
_BY_NETWORKS = {'lpips', 'sync_c', 'sync_d', 'id'} | LANDMARKS


class ReportError(GavnError):
    """A table or a figure cannot be made. The message says why, and what to run."""


@dataclass(frozen=True)
class MethodResult:
    """Results of a method on a data set with one degradation."""

    run: RunInfo  # from the file
    # mean, std: over clips, by metric; None: could not be measured; absent: does not apply
    mean: Mapping[str, float | None]
    std: Mapping[str, float | None] = field(default_factory=dict)
    clips: Mapping[str, ResultRow] = field(default_factory=dict)  # rows of clips by name
    notes: str = ''  # why a metric could not be measured
    source: str = ''  # the file
    window: int | None = None  # frames of a training window; None if unknown

    @property
    def is_reference(self) -> bool:
        """Whether this is the degraded input or the ground truth."""
        return self.run.method in REFERENCES

    @property
    def data(self) -> tuple[str, str]:
        """Data set and degradation ('' without ground truth)."""
        return self.run.dataset, self.run.degradation

    def __str__(self) -> str:
        dataset, degradation = self.data
        return f'{self.run.method} on {dataset}{f" ({degradation})" if degradation else ""}'


class Results:
    """Results by data set, degradation and method, in the order of their files."""

    def __init__(self, results: Iterable[MethodResult] = ()) -> None:
        self._by_key: dict[tuple[str, str, str], MethodResult] = {}
        for result in results:
            self.add(result)

    def __iter__(self) -> Iterator[MethodResult]:
        return iter(self._by_key.values())

    def get(self, dataset: str, degradation: str, method: str) -> MethodResult | None:
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
                   if result.data == (dataset, degradation))

    def _methods(self, degradations: Iterable[str]) -> Iterator[MethodResult]:
        wanted = set(degradations)
        return (result for result in self if result.run.degradation in wanted and not result.is_reference)

    def add(self, result: MethodResult) -> None:
        """Adds a result. An existing one, such as a reference, must have the same values.

        Raises:
            ReportError: results contradict each other, or methods were measured on different clips. The
                message names both files.
        """
        other = next((other for other in self if other.data == result.data), None)
        if other:
            _check_same_clips(other, result)
        key = (*result.data, result.run.method)
        if known := self._by_key.get(key):
            _check_same_values(known, result)
            result = replace(known, mean=_merged(known.mean, result.mean), std=_merged(known.std, result.std))
        self._by_key[key] = result


def _merged(old: Mapping[str, float | None], new: Mapping[str, float | None]) -> dict[str, float | None]:
    return {**new, **{column: value for column, value in old.items() if value is not None}}


def _check_same_clips(one: MethodResult, other: MethodResult) -> None:
    """Raises ReportError if methods were measured on different clips or frames."""
    lengths = [{clip: row.frames for clip, row in result.clips.items()} for result in (one, other)]
    if lengths[0] == lengths[1]:
        return
    odd = min(clip for clip in lengths[0].keys() | lengths[1].keys()
              if lengths[0].get(clip) != lengths[1].get(clip))
    details = [f'{result.source}: {result} has '
               + (f'{frames[odd]} frames' if odd in frames else 'no such clip')
               for result, frames in zip((one, other), lengths, strict=True)]
    raise ReportError(f'results of different data cannot stand in one table: clip {odd!r}\n'
                      + '\n'.join(details) + '\nevaluate both on the same split and frames')


def _check_same_values(known: MethodResult, result: MethodResult) -> None:
    """Raises ReportError if two rows of a method are not of the same weights and values."""
    files = f'{known.source} and {result.source}'
    if known.run.checkpoint != result.run.checkpoint:
        raise ReportError(f'{files} both hold {result}, of different weights (checkpoints '
                          f'{known.run.checkpoint or "unknown"} and {result.run.checkpoint or "unknown"}); '
                          'give one of them, or another `method:` in the option file of the other')
    rows = [(clip, row.values, result.clips[clip].values) for clip, row in known.clips.items()]
    for clip, left, right in [*rows, (MEAN, known.mean, result.mean)]:
        for metric in left.keys() & right.keys():
            first, second = left[metric], right[metric]
            tolerance = _SAME if known.is_reference and metric not in _BY_NETWORKS else _REPEATED
            if first is None or second is None or abs(first - second) <= tolerance:
                continue
            details = f'{result}, {clip}: {metric} is {first} and {second}'
            if result.is_reference:
                raise ReportError(f'{files} come from different data: {details}\nthis row depends on the '
                                  'data alone; evaluate both on the same data set folder')
            raise ReportError(f'{files} contradict each other: {details}\ngive one of them')


def collect(paths: Sequence[str | os.PathLike[str]]) -> Results:
    """Collects the results of restoration from several files; those of landmark detectors are ignored.

    Raises:
        ResultsError: a file cannot be read or has no mean of a method.
        ReportError: files contradict each other.
    """
    results = Results()
    for path in dict.fromkeys(map(Path, paths)):
        found = [_result(rows, str(path)) for rows in by_method(read_results(path))]
        methods = [result for result in found if not result.is_reference and result.mean.keys() - LANDMARKS]
        restored = {result.data for result in methods}
        for result in found:
            if result in methods or (result.is_reference and result.data in restored):
                results.add(result)
    return results


def _result(rows: Sequence[ResultRow], source: str) -> MethodResult:
    summary = {row.clip: row for row in rows if not row.is_clip}
    run = rows[0].run
    if missing := [name for name in (MEAN, STD) if name not in summary]:
        raise ResultsError(f'{source}: {run.method} on {run.dataset} has no row {missing[0]!r}: the file is '
                           'not whole; make it anew with gavn test or gavn evaluate')
    mean = summary[MEAN]
    return MethodResult(run, mean.values, summary[STD].values, {row.clip: row for row in rows if row.is_clip},
                        mean.notes, source)
