"""Metrics of clips as objects with `update` for each frame and `result`.

A `MetricFactory` loads a network once and makes a `Metric` for each clip. Names and options are those of
`val.metrics`.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from gavn.audio.rates import FRAME_RATE
from gavn.config.metric_calls import call_metric, check_options
from gavn.faces.landmarks import MOUTH, box_around, nme, to_pixels
from gavn.media import Ticks
from gavn.metrics.frame import ms_ssim, niqe, psnr, ssim
from gavn.metrics.identity import IdentitySimilarity
from gavn.metrics.missing import UNAVAILABLE, UndefinedMetricError
from gavn.metrics.perceptual import LPIPS
from gavn.metrics.sync import SyncScore, load_syncnet
from gavn.metrics.table import METRICS, metric_of
from gavn.metrics.temporal import WarpingError

Device = torch.device | str
Audio = np.ndarray | None  # int16 at 16 kHz


@dataclass(frozen=True)
class Sample:
    """One image with its references. None: unknown."""

    image: np.ndarray  # to be evaluated, uint8 BGR (h, w, 3)
    truth: np.ndarray | None = None  # ground truth, like `image`; None for the ground truth itself
    landmarks: Tensor | None = None  # input of the network, (68, 2) in the unit square
    true_landmarks: Tensor | None = None  # (68, 2) in the unit square
    time: float | None = None  # seconds since the first image; None: 25 images per second

    def has(self, needs: tuple[str, ...]) -> bool:
        """Whether the inputs that a metric needs are known."""
        return (('truth' not in needs or self.truth is not None)
                and ('landmarks' not in needs or self.landmarks is not None)
                and ('true_landmarks' not in needs or self.true_landmarks is not None))

    def true_image(self) -> np.ndarray:
        """The ground truth."""
        assert self.truth is not None, 'a metric that needs it is applied to no other samples'
        return self.truth

    def points(self) -> np.ndarray:
        """The true landmarks in pixels of the image."""
        height, width = self.image.shape[:2]
        assert self.true_landmarks is not None, 'a metric that needs them is applied to no other samples'
        return to_pixels(self.true_landmarks, width=width, height=height).numpy()


class Metric(Protocol):
    """Evaluates one clip. Both methods raise UndefinedMetricError if the clip has no value."""

    def update(self, sample: Sample) -> None:
        """Adds the next image."""

    def result(self) -> tuple[float, ...]:
        """One value for each column, of all images so far (at least one)."""


@dataclass(frozen=True)
class MetricFactory:
    """A metric with its loaded network, for any number of clips."""

    columns: tuple[str, ...]  # names of the values of `Metric.result`
    needs: tuple[str, ...]  # see `MetricInfo`
    begin: Callable[[Audio], Metric]  # makes the metric of one clip from its audio


class MeanOverFrames:
    """Means of the values that `evaluate` returns for single images."""

    def __init__(self, evaluate: Callable[[Sample], tuple[float, ...]]) -> None:
        self.evaluate = evaluate
        self.sums: list[float] = []
        self.count = 0

    def update(self, sample: Sample) -> None:
        """Adds the next image."""
        values = self.evaluate(sample)
        if not all(map(math.isfinite, values)):
            raise UndefinedMetricError(f'the value is {values} for frame {self.count}')
        before = self.sums or [0.0] * len(values)
        self.sums = [total + value for total, value in zip(before, values, strict=True)]
        self.count += 1

    def result(self) -> tuple[float, ...]:
        """The means over the images."""
        return tuple(total / self.count for total in self.sums)


def _each_frame(evaluate: Callable[[Sample], tuple[float, ...]]) -> Callable[[Audio], Metric]:
    """Makes the metrics of clips from the values of single images."""
    return lambda _: MeanOverFrames(evaluate)


class SyncMetric:
    """Audio-visual synchronisation (SyncNet) at 25 frames per second, whatever the rate of the images."""

    def __init__(self, score: SyncScore, audio: Audio) -> None:
        if audio is None:
            raise UndefinedMetricError('the clip has no audio')
        self.score, self.audio, self.ticks = score, audio, Ticks(FRAME_RATE)
        self.image: np.ndarray | None = None
        self.count, self.time = 0, 0.0

    def update(self, sample: Sample) -> None:
        """Adds the next image, a square face crop."""
        height, width = sample.image.shape[:2]
        if height != width:
            raise UndefinedMetricError(f'it needs square crops of a face, the images are {width}x{height}')
        self.time = self.count / FRAME_RATE if sample.time is None else sample.time
        self._show_until(self.time)
        self.image = sample.image
        self.count += 1

    def result(self) -> tuple[float, float]:
        """Confidence and distance (Sync_c, Sync_d). The last image lasts an average interval."""
        self._show_until(self.time + (self.time / (self.count - 1) if self.count > 1 else 1 / FRAME_RATE))
        result = self.score.result(self.audio)
        return result.confidence, result.distance

    def _show_until(self, time: float) -> None:
        if self.image is not None:
            for _ in range(self.ticks.before(time)):
                self.score.update(self.image)


class WarpingErrorMetric:
    """Change between frames that optical flow does not explain."""

    def __init__(self, error: WarpingError) -> None:
        self.error = error

    def update(self, sample: Sample) -> None:
        """Adds the next image."""
        self.error.update(sample.image, sample.truth)

    def result(self) -> tuple[float]:
        """The warping error."""
        return (self.error.result(),)


@METRIC_REGISTRY.register()
def mouth_psnr(img: np.ndarray, img2: np.ndarray, true_landmarks: Tensor) -> float:
    """PSNR in dB in a box around the mouth.

    Args:
        img, img2: uint8 BGR (h, w, 3).
        true_landmarks: (68, 2) in the unit square.
    """
    height, width = img.shape[:2]
    points = to_pixels(true_landmarks, width=width, height=height).numpy()
    left, top, box_width, box_height = box_around(points[MOUTH], width, height)
    box = slice(top, top + box_height), slice(left, left + box_width)
    return psnr(img[box], img2[box])


@METRIC_REGISTRY.register()
def calculate_ms_ssim(img: np.ndarray, img2: np.ndarray, crop_border: int = 0) -> float:
    """`gavn.metrics.frame.ms_ssim` under the name that option files use."""
    return ms_ssim(img, img2, crop_border)


@METRIC_REGISTRY.register()
def landmark_nme(device: Device) -> Callable[[Audio], Metric]:
    """Normalised mean error of all landmarks and of the lips, in percent of the outer eye distance."""
    def errors(sample: Sample) -> tuple[float, ...]:
        points, truth = sample.landmarks, sample.true_landmarks
        assert points is not None and truth is not None, 'the metric is applied to no other samples'
        return tuple(float(nme(points, truth, part)) for part in (slice(None), MOUTH))
    return _each_frame(errors)


@METRIC_REGISTRY.register()
def lpips(device: Device, weights: str | None = None) -> Callable[[Audio], Metric]:
    """LPIPS with AlexNet (Zhang et al. 2018, arXiv:1801.03924); see `gavn.metrics.perceptual`."""
    compare = LPIPS(weights, device)
    return _each_frame(lambda sample: (compare(sample.image, sample.true_image()),))


@METRIC_REGISTRY.register()
def sync(device: Device, weights: str | None = None) -> Callable[[Audio], Metric]:
    """Sync_c and Sync_d by SyncNet (Chung and Zisserman 2016); see `gavn.metrics.sync`."""
    network = load_syncnet(weights)
    return lambda audio: SyncMetric(SyncScore(network, device), audio)


@METRIC_REGISTRY.register()
def warping_error(device: Device) -> Callable[[Audio], Metric]:
    """Temporal consistency along optical flow; see `gavn.metrics.temporal`."""
    return lambda _: WarpingErrorMetric(WarpingError())


@METRIC_REGISTRY.register()
def identity(device: Device) -> Callable[[Audio], Metric]:
    """Similarity of face embeddings to the ground truth; see `gavn.metrics.identity`."""
    compare = IdentitySimilarity()

    def similarity(sample: Sample) -> tuple[float]:
        points = None if sample.true_landmarks is None else sample.points()
        return (compare(sample.image, sample.true_image(), points),)
    return _each_frame(similarity)


_OF_CLIPS = {function.__name__: function for function in (landmark_nme, lpips, sync, warping_error, identity)}
"""Functions that load a metric; all others are called for every frame."""
_IN_PLACE_OF_BASICSR: dict[str, Callable[..., Any]] = {
    'calculate_psnr': psnr, 'calculate_ssim': ssim, 'calculate_niqe': niqe}


def _function(kind: str) -> Callable[..., Any]:
    return _IN_PLACE_OF_BASICSR.get(kind) or METRIC_REGISTRY.get(kind)


def check_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError for an unknown type or option of `val.metrics` and for duplicate columns."""
    columns: set[str] = set()
    for key, metric in metrics.items():
        own = metric_of(metric['type']).columns(key)
        check_options(metric['type'], _function(metric['type']), _options(metric))
        if duplicates := columns.intersection(own):
            raise ValueError(f'two metrics have the column {min(duplicates)!r}: {key!r} needs another name')
        columns.update(own)


def metric_factory(key: str, metric: Mapping[str, Any], device: Device = 'cpu') -> MetricFactory:
    """Loads the metric of an entry `key: metric` of `val.metrics`.

    Args:
        key: first part of the column names.

    Raises:
        ValueError: a type or an option is unknown.
        MissingWeightsError, MissingPackageError: weights of a network, or a package, are missing.
    """
    check_metrics({key: metric})
    info, options = metric_of(metric['type']), _options(metric)
    if info.name in _OF_CLIPS:
        begin = _OF_CLIPS[info.name](device, **options)
    else:
        begin = _frame_metric(_function(info.name), options, device)
    return MetricFactory(info.columns(key), info.needs, begin)


def _frame_metric(function: Callable[..., Any], options: Mapping[str, Any], device: Device
                  ) -> Callable[[Audio], Metric]:
    """A function that is called for every frame with the arguments of its signature."""
    def evaluate(sample: Sample) -> tuple[float]:
        data = {'img': sample.image, 'img2': sample.truth, 'landmarks': sample.landmarks, 'device': device,
                'true_landmarks': sample.true_landmarks}
        return (call_metric(function, data, options),)
    return _each_frame(evaluate)


def metric_factories(metrics: Mapping[str, Mapping[str, Any]], device: Device = 'cpu',
                     missing: Callable[[str, str], None] = lambda key, reason: None) -> list[MetricFactory]:
    """Loads all metrics of `val.metrics`. Those without weights or package yield only the reason, as a note.

    Args:
        missing: called with key and reason for each of these.

    Raises:
        ValueError: see `check_metrics`.
    """
    check_metrics(metrics)
    factories = []
    for key, metric in metrics.items():
        try:
            factories.append(metric_factory(key, metric, device))
        except UNAVAILABLE as error:
            missing(key, str(error))
            info = METRICS[metric['type']]
            factories.append(MetricFactory(info.columns(key), info.needs, _unavailable(error)))
    return factories


def _options(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metric.items() if key not in ('type', 'better')}


def _unavailable(error: Exception) -> Callable[[Audio], Metric]:
    def begin(_: Audio) -> Metric:
        raise type(error)(*error.args)
    return begin
