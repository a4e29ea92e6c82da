"""Degradation classifier for face crops; `--task auto` selects weights by it.

The features of a crop are its power spectrum and the distribution of differences between neighbouring pixels.
A classifier with one hidden layer turns them into probabilities. scripts/fit_classifier.py fits it on
synthetically degraded crops. It takes a few milliseconds per crop on a CPU.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from scipy import fft
from scipy.special import softmax

from gavn.errors import ArgumentError

KINDS = ('clean', 'compression', 'deblur', 'sr', 'mixed')
"""No degradation; those that specialised weights are trained on; anything else."""

LABELS = {'clean': 'no degradation', 'compression': 'compression artifacts', 'deblur': 'blur',
         'sr': 'low resolution', 'mixed': 'several degradations'}
NUMBERS = Path(__file__).with_name('degradation.json')
SMALLEST = 64  # pixels; the spectral bands of smaller crops hold too few frequencies

_BANDS = np.array([.02, .035, .05, .07, .09, .115, .14, .17, .2, .235, .27, .31, .35, .4, .45, .5, .71])
_SECTORS = np.array([.05, .1, .15, .2, .25, .3, .35, .4, .45, .5])
_STEPS = np.array([0, 1, 2, 4, 8, 16, 32])  # grey levels
_QUANTILES = np.array([.1, .25, .5, .75, .9, .98])
_FLOOR = 0.02  # grey levels squared; rounding to 8 bits has 0.08
_VISIBLE = 9.  # grey levels squared; power of visible structure, above that of good compression
_BLOCK = 8  # pixels
_ARRAYS = ('mean', 'scale', 'hidden', 'output')


@dataclass(frozen=True)
class DegradationEstimate:
    """The degradation of the crops of a video."""

    kind: str  # the decision, one of KINDS; other than `mixed` only if its probability reaches a threshold
    probabilities: dict[str, float]  # of each kind; the sum is 1
    frames: int  # number of crops
    # highest visible frequency relative to the Nyquist frequency: 0.6 to 0.8 for good crops, 0.5 after
    # reduction by two, 0.2 if blurred
    detail: float
    noise: float  # standard deviation of the noise in the smoothest tenth of the crop, in grey levels of 255
    blocks: float  # excess of edges on a grid of 8 pixels, relative to all edges
    reason: str = ''  # why the decision ignores the probabilities; '' if it does not

    def describe(self) -> str:
        """Returns text such as `compression artifacts (93 %)`; the two most probable kinds if uncertain."""
        if self.reason:
            return f'{LABELS[self.kind]} ({self.reason})'
        likely = sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)[:2]
        words = [f'{LABELS[kind]} ({100 * self.probabilities[kind]:.0f} %)' for kind in likely]
        return words[0] if likely[0] == self.kind else f'unclear: {words[0]} or {words[1]}'


@dataclass(frozen=True, eq=False)
class DegradationClassifier:
    """The classifier: standardised features, one hidden layer, softmax."""

    # mean, scale: (f,), of the features over the training samples
    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray  # (1 + f, h); the first row is the bias
    output: np.ndarray  # (1 + h, kinds); the first row is the bias
    thresholds: dict[str, float]  # the lowest probability at which a kind is chosen

    @classmethod
    def read(cls, path: Path = NUMBERS) -> DegradationClassifier:
        """Reads what `write` wrote."""
        values = json.loads(path.read_text(encoding='utf-8'))
        mean, scale, hidden, output = (np.array(values[name]) for name in _ARRAYS)
        thresholds = values.get('thresholds') or values['enough']  # the key of gavn 0.2
        return cls(mean, scale, hidden, output, thresholds)

    def write(self, path: Path) -> None:
        """Writes JSON with numbers of five digits."""
        def rounded(values: np.ndarray) -> str:
            if values.ndim > 1:
                return '[\n  ' + ',\n  '.join(map(rounded, values)) + ']'
            return json.dumps([float(f'{value:.5g}') for value in values])

        arrays = ''.join(f',\n "{name}": {rounded(getattr(self, name))}' for name in _ARRAYS)
        path.write_text(f'{{"thresholds": {json.dumps(self.thresholds)}{arrays}}}\n', encoding='utf-8')

    def inputs(self, features: np.ndarray) -> np.ndarray:
        """Standardises features (n, f) and adds a constant: (n, 1 + f)."""
        return with_ones(np.clip((features - self.mean) / self.scale, -4, 4))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, kinds) of features (n, f)."""
        return softmax(with_ones(np.tanh(self.inputs(features) @ self.hidden)) @ self.output, axis=1)

    def decide(self, probabilities: np.ndarray) -> str:
        """Returns the most probable kind if it reaches its threshold, else `mixed`."""
        kind = KINDS[int(np.argmax(probabilities))]
        return kind if probabilities.max() >= self.thresholds.get(kind, 0) else 'mixed'


def estimate(crops: Iterable[np.ndarray]) -> DegradationEstimate:
    """Estimates the degradation of the face crops of one video; four or more crops suffice.

    Args:
        crops: uint8 BGR (h, w, 3), the network input (`gavn.faces.geometry.crop`).

    Raises:
        ArgumentError: there are no crops, or one has another type or is smaller than SMALLEST pixels.
    """
    greys = [_grey(crop) for crop in crops]
    if not greys:
        raise ArgumentError('no face crops: the degradation cannot be estimated')
    model = _model()
    [probabilities] = model.probabilities(np.mean([features_of(grey) for grey in greys], axis=0)[None])
    detail, noise, blocks = map(float, np.mean([measures(grey) for grey in greys], axis=0))
    return DegradationEstimate(
        model.decide(probabilities),
        dict(zip(KINDS, map(float, probabilities), strict=True)),
        len(greys), detail, noise, blocks,
    )


def with_ones(values: np.ndarray) -> np.ndarray:
    """Prepends a column of ones for the bias: (n, f) -> (n, 1 + f)."""
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


@cache
def _model() -> DegradationClassifier:
    return DegradationClassifier.read()


def _grey(crop: np.ndarray) -> np.ndarray:
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        raise ArgumentError(f'a face crop must be uint8 (h, w, 3), not {crop.dtype} {crop.shape}')
    if min(crop.shape[:2]) < SMALLEST:
        raise ArgumentError(f'a face crop must have at least {SMALLEST} pixels per side, not '
                            f'{crop.shape[:2]}')
    return cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)


def features_of(grey: np.ndarray) -> np.ndarray:
    """Returns the features (f,) of a crop uint8 (h, w); they do not depend on its size."""
    power = _spectrum(grey)
    radius, axis, diagonal = _rings(*grey.shape)
    bands = np.log(_mean_in(power, radius, len(_BANDS)) + _FLOOR)
    ratio = [np.log(_mean_in(power, sector, len(_SECTORS)) + _FLOOR) for sector in (axis, diagonal)]
    spread = np.quantile(_local_haar(grey), _QUANTILES)
    return np.concatenate([bands, ratio[0] - ratio[1], _steps(grey), np.log(spread + _FLOOR)])


def _spectrum(grey: np.ndarray) -> np.ndarray:
    """Returns the power spectrum (h, w // 2 + 1); white noise of variance v has power v everywhere."""
    window = _window(*grey.shape)
    centred = grey - (grey * window).sum(dtype=np.float64).astype(np.float32) / window.sum()
    return np.abs(fft.rfft2(centred * window)) ** 2 / (window ** 2).sum()


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> np.ndarray:
    return np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns band numbers of each frequency: all, only near the axes, only near the diagonals; 0 = none."""
    x, y = np.abs(np.fft.rfftfreq(width))[None], np.abs(np.fft.fftfreq(height))[:, None]
    radius, slanted = np.hypot(x, y), np.abs(np.arctan2(y, x) - np.pi / 4) < np.pi / 8
    sector = _band(radius, _SECTORS)
    return _band(radius, _BANDS), np.where(slanted, 0, sector), np.where(slanted, sector, 0)


def _band(radius: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns band numbers from 1; 0 outside all bands."""
    return np.digitize(radius, edges) % len(edges)


def _mean_in(power: np.ndarray, band: np.ndarray, edges: int) -> np.ndarray:
    """Returns the mean power in each of the `edges - 1` bands."""
    total = np.bincount(band.ravel(), power.ravel(), edges)[1:]
    return total / np.maximum(np.bincount(band.ravel(), minlength=edges)[1:], 1)


def _steps(grey: np.ndarray) -> np.ndarray:
    """Returns log odds that first, second and diagonal differences are at most each of _STEPS."""
    g = grey.astype(np.int16)
    across, down = np.diff(g, axis=1), np.diff(g, axis=0)
    filters = ([across, down], [np.diff(across, axis=1), np.diff(down, axis=0)], [np.diff(across, axis=0)])
    counts = [np.bincount(np.concatenate([np.abs(part).ravel() for part in parts]), minlength=1024)
              for parts in filters]
    below = np.array([np.cumsum(count)[_STEPS] / count.sum() for count in counts])
    return np.log((below + 1e-4) / (1 - below + 1e-4)).ravel()


def _local_haar(grey: np.ndarray) -> np.ndarray:
    """Returns the mean square of the diagonal Haar band per 8x8 block; white noise of variance v has v."""
    g = grey.astype(np.float32)
    diagonal = np.diff(np.diff(g, axis=1), axis=0) / 2
    return cv2.blur(diagonal * diagonal, (_BLOCK, _BLOCK))[_BLOCK // 2::_BLOCK, _BLOCK // 2::_BLOCK].ravel()


def measures(grey: np.ndarray) -> tuple[float, float, float]:
    """Returns `detail`, `noise` and `blocks` (see DegradationEstimate) of a crop uint8 (h, w)."""
    power = _mean_in(_spectrum(grey), _rings(*grey.shape)[0], len(_BANDS))
    visible = np.flatnonzero(power >= _VISIBLE)
    detail = min(_BANDS[visible[-1] + 1] / 0.5, 1) if len(visible) else 0
    noise = np.sqrt(np.quantile(_local_haar(grey), 0.1))
    return float(detail), float(noise), _blocks(grey.astype(np.float32))


def _blocks(grey: np.ndarray) -> float:
    excess, total = [], []
    for lines in (grey, grey.T):
        bend = np.abs(np.diff(lines, 2, axis=1)).mean(0)
        beyond = bend - cv2.medianBlur(bend[None], 5)[0]
        phases = beyond[:len(beyond) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(0)
        excess.append(phases.max() - np.median(phases))
        total.append(bend.mean())
    return float(np.mean(excess) / (np.mean(total) + 0.1))
