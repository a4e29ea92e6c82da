"""Measures as objects: one takes the frames of a clip as they come and then gives its numbers.

What is costly (a network with its weights) is loaded once, in an `MetricFactory`, which begins a measure for
each clip. Their registered names and options are those of `val.metrics`.
"""
from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from gavn.audio.mfcc import FRAME_RATE
from gavn.faces.landmarks import MOUTH, box_around, nme, to_pixels
from gavn.media import Ticks
from gavn.metrics.frame import BATCHED, FrameMetric, frame_metric, ms_ssim, psnr
from gavn.metrics.identity import IdentitySimilarity
from gavn.metrics.missing import NotMeasurable, WeightsMissing
from gavn.metrics.perceptual import LPIPS
from gavn.metrics.registered_calls import call_metric
from gavn.metrics.registered_calls import check_options as check_call
from gavn.metrics.sync import SyncScore, load_syncnet
from gavn.metrics.table import METRICS, metric_of
from gavn.metrics.temporal import WarpingError

Device = torch.device | str
Sound = np.ndarray | None  # int16 at 16 kHz
_AT_ONCE = 2**20  # pixels that a device judges at once: 20 frames of 224 x 224, in some 400 MB of memory


@dataclass(frozen=True)
class Sample:
    """One picture that is judged, uint8 BGR (h, w, 3), and what it is judged by (None: not known).

    Attributes:
        image: the picture.
        truth: what it should be; None for the truth itself.
        landmarks: (68, 2) in the unit square, what the network was told.
        true_landmarks: (68, 2), in the same coordinates.
        time: in seconds since the first one; None: they come at 25 a second.
    """

    image: np.ndarray
    truth: np.ndarray | None = None
    landmarks: Tensor | None = None
    true_landmarks: Tensor | None = None
    time: float | None = None

    def offers(self, needs: tuple[str, ...]) -> bool:
        """Whether a measure with these needs applies."""
        return (('truth' not in needs or self.truth is not None)
                and ('landmarks' not in needs or self.landmarks is not None)
                and ('true_landmarks' not in needs or self.true_landmarks is not None))

    def points(self) -> np.ndarray:
        """The true landmarks in pixels of the picture."""
        height, width = self.image.shape[:2]
        return to_pixels(self.true_landmarks, width=width, height=height).numpy()


class Measure(Protocol):
    """What judges one clip; both methods raise NotMeasurable where the clip has no value."""

    def update(self, view: Sample) -> None:
        """Takes the next picture."""

    def result(self) -> tuple[float, ...]:
        """One number a column, of all pictures so far (at least one)."""


@dataclass(frozen=True)
class MetricFactory:
    """A metric with all that it needs, ready for any number of clips.

    Attributes:
        columns: of results, as many as a measure has numbers.
        needs: as in `METRICS`.
        begin: makes the measure for one clip with this sound.
    """

    columns: tuple[str, ...]
    needs: tuple[str, ...]
    begin: Callable[[Sound], Measure]


class MeanOverFrames:
    """Means of the numbers that `judge` finds in each picture."""

    def __init__(self, judge: Callable[[Sample], tuple[float, ...]]) -> None:
        self.judge = judge
        self.sums: list[float] = []
        self.count = 0

    def update(self, view: Sample) -> None:
        """Takes the next picture."""
        values = self.judge(view)
        if not all(map(math.isfinite, values)):
            raise NotMeasurable(f'it gives {values} for frame {self.count}')
        self.sums = [a + b for a, b in zip(self.sums, values, strict=True)] if self.count else list(values)
        self.count += 1

    def result(self) -> tuple[float, ...]:
        """The means."""
        return tuple(total / self.count for total in self.sums)


class MeanOverBatches:
    """Means of what `compare` says of many pictures at once: on a GPU one at a time would mostly wait.

    Args:
        compare: of restored and true pictures, all of one size.
        pixels: what a batch may hold; a picture may be larger than that and is then judged alone.
    """

    def __init__(self, compare: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[float]],
                 pixels: int) -> None:
        self.compare, self.pixels = compare, pixels
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self.total, self.count = 0.0, 0

    def update(self, view: Sample) -> None:
        """Takes the next picture."""
        height, width = view.image.shape[:2]
        if self.waiting and (view.image.shape != self.waiting[0][0].shape
                             or (len(self.waiting) + 1) * height * width > self.pixels):
            self._judge()
        self.waiting.append((view.image, view.truth))

    def result(self) -> tuple[float]:
        """The mean."""
        self._judge()
        return (self.total / self.count,)

    def _judge(self) -> None:
        values = self.compare(*zip(*self.waiting, strict=True)) if self.waiting else []
        for value in values:
            if not math.isfinite(value):
                raise NotMeasurable(f'it gives {value} for frame {self.count}')
            self.total, self.count = self.total + value, self.count + 1
        self.waiting = []


class Synchrony:
    """How well mouth and sound agree, seen at 25 frames a second, whatever the rate of the pictures."""

    def __init__(self, score: SyncScore, sound: Sound) -> None:
        if sound is None:
            raise NotMeasurable('the clip has no sound')
        self.score, self.sound, self.ticks = score, sound, Ticks(FRAME_RATE)
        self.shown: np.ndarray | None = None
        self.count, self.time = 0, 0.0

    def update(self, view: Sample) -> None:
        """Takes the next picture, a square face crop."""
        height, width = view.image.shape[:2]
        if height != width:
            raise NotMeasurable(f'it takes square crops of a face, the pictures are {width}x{height}')
        self.time = self.count / FRAME_RATE if view.time is None else view.time
        self._show_until(self.time)
        self.shown = view.image
        self.count += 1

    def result(self) -> tuple[float, float]:
        """Confidence and distance (Sync_c, Sync_d); the last picture is on for an average interval."""
        self._show_until(self.time + (self.time / (self.count - 1) if self.count > 1 else 1 / FRAME_RATE))
        found = self.score.result(self.sound)
        return found.confidence, found.distance

    def _show_until(self, time: float) -> None:
        for _ in range(self.ticks.before(time) if self.shown is not None else 0):
            self.score.update(self.shown)


class Flicker:
    """How much the pictures change otherwise than their motion explains."""

    def __init__(self, error: WarpingError) -> None:
        self.error = error

    def update(self, view: Sample) -> None:
        """Takes the next picture."""
        self.error.update(view.image, view.truth)

    def result(self) -> tuple[float]:
        """The warping error."""
        value = self.error.result()
        if value is None:
            raise NotMeasurable('it takes two frames')
        return (value,)


@METRIC_REGISTRY.register()
def landmark_nme(landmarks: Tensor, true_landmarks: Tensor, mouth: bool = False) -> float:
    """Mean error of (68, 2) points, in percent of the distance between the true outer eye corners.

    `mouth` takes the 20 points of the lips only.
    """
    return float(nme(landmarks, true_landmarks, MOUTH if mouth else slice(None)))


@METRIC_REGISTRY.register()
def mouth_psnr(img: np.ndarray, img2: np.ndarray, true_landmarks: np.ndarray) -> float:
    """PSNR in dB of the mouth alone: a box around its true points (68, 2) in pixels, with some room."""
    height, width = img.shape[:2]
    left, top, wide, high = box_around(true_landmarks[MOUTH], width, height)
    box = slice(top, top + high), slice(left, left + wide)
    return psnr(img[box], img2[box])


@METRIC_REGISTRY.register()
def calculate_ms_ssim(img: np.ndarray, img2: np.ndarray, crop_border: int = 0) -> float:
    """See `gavn.metrics.frame.ms_ssim`; under the name and arguments that BasicSR's functions have."""
    return ms_ssim(img, img2, crop_border)


@METRIC_REGISTRY.register()
def lpips(device: Device, weights: str | None = None) -> Callable[[Sound], Measure]:
    """LPIPS over AlexNet (Zhang et al. 2018); see `gavn.metrics.perceptual`."""
    return _of_pictures(LPIPS(weights, device))


@METRIC_REGISTRY.register()
def sync(device: Device, weights: str | None = None) -> Callable[[Sound], Measure]:
    """Sync_c and Sync_d by SyncNet (Chung and Zisserman 2016); see `gavn.metrics.sync`."""
    network = load_syncnet(weights)
    return lambda sound: Synchrony(SyncScore(network, device), sound)


@METRIC_REGISTRY.register()
def warping_error(device: Device) -> Callable[[Sound], Measure]:
    """Flicker against the motion of the picture; see `gavn.metrics.temporal`."""
    return lambda _: Flicker(WarpingError())


@METRIC_REGISTRY.register()
def identity(device: Device) -> Callable[[Sound], Measure]:
    """Likeness to the true face; see `gavn.metrics.identity`."""
    compare = IdentitySimilarity()

    def likeness(view: Sample) -> tuple[float]:
        points = None if view.true_landmarks is None else view.points()
        return (compare(view.image, view.truth, points),)
    return lambda _: MeanOverFrames(likeness)


_LOADED = {function.__name__: function for function in (lpips, sync, warping_error, identity)}


def _of_pictures(compare: FrameMetric) -> Callable[[Sound], Measure]:
    return lambda _: MeanOverFrames(lambda view: (compare(view.image, view.truth),))


def _of_frames(kind: str, options: Mapping[str, Any], device: Device) -> Callable[[Sound], Measure]:
    compare = frame_metric(kind, options)
    if kind not in BATCHED:
        return _of_pictures(compare)
    pixels = 1 if torch.device(device).type == 'cpu' else _AT_ONCE
    return lambda _: MeanOverBatches(partial(BATCHED[kind], device=device, **options), pixels)


def _of_landmarks(_: Sound) -> Measure:
    return MeanOverFrames(lambda view: tuple(
        landmark_nme(view.landmarks, view.true_landmarks, mouth) for mouth in (False, True)))


def _of_mouths(_: Sound) -> Measure:
    return MeanOverFrames(lambda view: (mouth_psnr(view.image, view.truth, view.points()),))


def _of_registered(kind: str, options: Mapping[str, Any], device: Device) -> Callable[[Sound], Measure]:
    """A metric of stock or of a user: called for every frame with what it asks for."""
    function = METRIC_REGISTRY.get(kind)

    def judge(view: Sample) -> tuple[float]:
        data = {'img': view.image, 'img2': view.truth, 'landmarks': view.landmarks, 'device': device,
                'true_landmarks': view.true_landmarks}
        return (call_metric(function, data, options),)
    return lambda _: MeanOverFrames(judge)


_OF_POINTS = {'landmark_nme': _of_landmarks, 'mouth_psnr': _of_mouths}


def check_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError for a type or an option of `val.metrics` that is not known, and for equal columns."""
    columns: set[str] = set()
    for key, metric in metrics.items():
        kind, options = metric['type'], _options(metric)
        if kind in _LOADED:
            if unknown := options.keys() - inspect.signature(_LOADED[kind]).parameters.keys():
                raise ValueError(f'{kind} has no option {min(unknown)!r}')
        elif kind in _OF_POINTS:
            if options:
                raise ValueError(f'{kind} has no option {min(options)!r} here')
        elif kind in METRICS:
            frame_metric(kind, options)
        elif metric_of(kind):
            check_call(METRIC_REGISTRY.get(kind), options)
        own = metric_of(kind).columns(key)
        if twice := columns.intersection(own):
            raise ValueError(f'two metrics give the column {min(twice)!r}: {key!r} needs another name')
        columns.update(own)


def metric_factory(key: str, metric: Mapping[str, Any], device: Device = 'cpu') -> MetricFactory:
    """What measures the entry `key: metric` of `val.metrics`; its networks run on `device`.

    Raises ValueError for a type or an option that is not known, WeightsMissing where a network has none.
    """
    check_metrics({key: metric})
    kind, options = metric['type'], _options(metric)
    if kind in _LOADED:
        begin = _LOADED[kind](device, **options)
    elif kind in METRICS:
        begin = _OF_POINTS.get(kind) or _of_frames(kind, options, device)
    else:
        begin = _of_registered(kind, options, device)
    about = metric_of(kind)
    return MetricFactory(about.columns(key), about.needs, begin)


def metric_factories(metrics: Mapping[str, Mapping[str, Any]], device: Device = 'cpu',
                missing: Callable[[str, str], None] = lambda key, reason: None) -> list[MetricFactory]:
    """All that `val.metrics` names; those without weights only give the reason why they measure nothing.

    `missing` is told of these: the key, and the reason. Raises ValueError as `check_metrics` does.
    """
    check_metrics(metrics)
    found = []
    for key, metric in metrics.items():
        try:
            found.append(metric_factory(key, metric, device))
        except WeightsMissing as error:
            missing(key, str(error))
            about = METRICS[metric['type']]
            found.append(MetricFactory(about.columns(key), about.needs, _refusing(str(error))))
    return found


def _options(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metric.items() if key not in ('type', 'better')}


def _refusing(reason: str) -> Callable[[Sound], Measure]:
    def begin(_: Sound) -> Measure:
        raise WeightsMissing(reason)
    return begin
