"""What is wrong with the face crops of a video: what `--task auto` asks before it chooses weights.

A crop is described by its spectrum and by how often neighbouring pixels differ by how much; a classifier with
one hidden layer, fitted by scripts/fit_damage.py on crops that were damaged on purpose, turns that into
probabilities. A few milliseconds a crop, on the CPU.
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

KINDS = ('clean', 'compression', 'deblur', 'sr', 'mixed')
"""Nothing to mend; what the weights for one kind of damage were trained on; anything else."""

WORDS = {'clean': 'no damage', 'compression': 'compression artifacts', 'deblur': 'blur',
         'sr': 'low resolution', 'mixed': 'several kinds of damage'}
NUMBERS = Path(__file__).with_name('degradation.json')
SMALLEST = 64  # pixels: below, the bands of the spectrum hold too few frequencies

_BANDS = np.array([.02, .035, .05, .07, .09, .115, .14, .17, .2, .235, .27, .31, .35, .4, .45, .5, .71])
_SECTORS = np.array([.05, .1, .15, .2, .25, .3, .35, .4, .45, .5])
_STEPS = np.array([0, 1, 2, 4, 8, 16, 32])  # grey levels
_QUANTILES = np.array([.1, .25, .5, .75, .9, .98])
_FLOOR = 0.02  # grey levels squared; rounding to 8 bits alone leaves 0.08
_VISIBLE = 9.  # grey levels squared: power from which structure counts; traces of a good code are fainter
_BLOCK = 8  # pixels
_ARRAYS = ('mean', 'scale', 'hidden', 'output')


@dataclass(frozen=True)
class DegradationEstimate:
    """What was found in the crops of a video.

    Attributes:
        kind: one of KINDS, the decision: a kind other than `mixed` only where its probability suffices.
        shares: probability of each kind; they add up to 1.
        frames: crops that were looked at.
        detail: the finest structure that shows, as a share of the finest that the crop's pixels could hold;
            for good crops 0.6 to 0.8, after reduction by two 0.5, when blurred 0.2.
        noise: standard deviation of noise in the quietest tenth of the picture, in grey levels of 255.
        blocks: by how much edges on a grid of 8 pixels exceed those beside it, as a share of all edges.
        reason: why it was decided without regard to the shares, in words; '' where it was not.
    """

    kind: str
    shares: dict[str, float]
    frames: int
    detail: float
    noise: float
    blocks: float
    reason: str = ''

    def in_words(self) -> str:
        """As in `compression artifacts (93 %)`; of what is not believed, the two most probable kinds."""
        if self.reason:
            return f'{WORDS[self.kind]} ({self.reason})'
        likely = sorted(self.shares, key=self.shares.__getitem__, reverse=True)[:2]
        words = [f'{WORDS[kind]} ({100 * self.shares[kind]:.0f} %)' for kind in likely]
        return words[0] if likely[0] == self.kind else f'unclear: {words[0]} or {words[1]}'

    def measured_in_words(self) -> str:
        """As in `detail 54 %, noise 0.2, blocks 0.24`."""
        return f'detail {100 * self.detail:.0f} %, noise {self.noise:.1f}, blocks {self.blocks:.2f}'


@dataclass(frozen=True, eq=False)
class Model:
    """The classifier: standardised features, one hidden layer, probabilities.

    Attributes:
        mean, scale: (f,), of the features over the samples it was fitted on.
        hidden: (1 + f, h), its first row the constants.
        output: (1 + h, kinds), likewise.
        enough: the probability from which on a kind is believed.
    """

    mean: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    output: np.ndarray
    enough: dict[str, float]

    @classmethod
    def read(cls, path: Path = NUMBERS) -> Model:
        """What `write` wrote."""
        values = json.loads(path.read_text(encoding='utf-8'))
        return cls(*(np.array(values[name]) for name in _ARRAYS), values['enough'])

    def write(self, path: Path) -> None:
        """As JSON, numbers to five digits."""
        def rounded(values: np.ndarray) -> str:
            if values.ndim > 1:
                return '[\n  ' + ',\n  '.join(map(rounded, values)) + ']'
            return json.dumps([float(f'{value:.5g}') for value in values])

        arrays = ''.join(f',\n "{name}": {rounded(getattr(self, name))}' for name in _ARRAYS)
        path.write_text(f'{{"enough": {json.dumps(self.enough)}{arrays}}}\n', encoding='utf-8')

    def inputs(self, features: np.ndarray) -> np.ndarray:
        """Features (n, f) as the hidden layer takes them (n, 1 + f)."""
        return with_ones(np.clip((features - self.mean) / self.scale, -4, 4))

    def shares(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (n, kinds) for features (n, f)."""
        return softmax(with_ones(np.tanh(self.inputs(features) @ self.hidden)) @ self.output, axis=1)

    def decide(self, shares: np.ndarray) -> str:
        """The most probable kind if its probability suffices, else `mixed`."""
        kind = KINDS[int(np.argmax(shares))]
        return kind if shares.max() >= self.enough.get(kind, 0) else 'mixed'


def estimate(crops: Iterable[np.ndarray]) -> DegradationEstimate:
    """What is wrong with face crops, of one face or several of one video; four or more say it well.

    Args:
        crops: uint8 BGR (h, w, 3), as the network sees them (`gavn.faces.geometry.crop`).

    Raises ValueError if there are none, for pictures that are no crops, and for crops below SMALLEST pixels.
    """
    greys = [_grey(crop) for crop in crops]
    if not greys:
        raise ValueError('no face crops: there is nothing to judge the damage by')
    model = _model()
    [shares] = model.shares(np.mean([described(grey) for grey in greys], axis=0)[None])
    measured = np.mean([measures(grey) for grey in greys], axis=0)
    return DegradationEstimate(
        model.decide(shares),
        dict(zip(KINDS, map(float, shares), strict=True)),
        len(greys),
        *map(float, measured),
    )


def with_ones(values: np.ndarray) -> np.ndarray:
    """(n, f) -> (n, 1 + f): a first column that constants are multiplied with."""
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


@cache
def _model() -> Model:
    return Model.read()


def _grey(crop: np.ndarray) -> np.ndarray:
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        raise ValueError(f'a face crop is uint8 (h, w, 3), not {crop.dtype} {crop.shape}')
    if min(crop.shape[:2]) < SMALLEST:
        raise ValueError(f'a face crop has at least {SMALLEST} pixels a side, not {crop.shape[:2]}')
    return cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)


def described(grey: np.ndarray) -> np.ndarray:
    """The features (f,) of a crop uint8 (h, w), none of which depends on its size."""
    power = _spectrum(grey)
    radius, axis, diagonal = _rings(*grey.shape)
    bands = np.log(_mean_in(power, radius, len(_BANDS)) + _FLOOR)
    ratio = [np.log(_mean_in(power, sector, len(_SECTORS)) + _FLOOR) for sector in (axis, diagonal)]
    spread = np.quantile(_local_haar(grey), _QUANTILES)
    return np.concatenate([bands, ratio[0] - ratio[1], _steps(grey), np.log(spread + _FLOOR)])


def _spectrum(grey: np.ndarray) -> np.ndarray:
    """Power (h, w // 2 + 1); white noise of variance v has power v everywhere."""
    window = _window(*grey.shape)
    centred = grey - (grey * window).sum(dtype=np.float64).astype(np.float32) / window.sum()
    return np.abs(fft.rfft2(centred * window)) ** 2 / (window ** 2).sum()


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> np.ndarray:
    return np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each frequency's number of band; of its band near the axes, and near the diagonals; 0 for others."""
    x, y = np.abs(np.fft.rfftfreq(width))[None], np.abs(np.fft.fftfreq(height))[:, None]
    radius, slanted = np.hypot(x, y), np.abs(np.arctan2(y, x) - np.pi / 4) < np.pi / 8
    sector = _band(radius, _SECTORS)
    return _band(radius, _BANDS), np.where(slanted, 0, sector), np.where(slanted, sector, 0)


def _band(radius: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """1 for the first band, 0 for what lies outside of all."""
    return np.digitize(radius, edges) % len(edges)


def _mean_in(power: np.ndarray, band: np.ndarray, edges: int) -> np.ndarray:
    """Mean power in each of the bands between that many edges."""
    total = np.bincount(band.ravel(), power.ravel(), edges)[1:]
    return total / np.maximum(np.bincount(band.ravel(), minlength=edges)[1:], 1)


def _steps(grey: np.ndarray) -> np.ndarray:
    """Log odds that neighbours differ by at most so much: first and second differences, Haar's diagonal."""
    g = grey.astype(np.int16)
    across, down = np.diff(g, axis=1), np.diff(g, axis=0)
    filters = ([across, down], [np.diff(across, axis=1), np.diff(down, axis=0)], [np.diff(across, axis=0)])
    counts = [sum(np.bincount(np.abs(part).ravel(), minlength=1024) for part in parts) for parts in filters]
    below = np.array([np.cumsum(count)[_STEPS] / count.sum() for count in counts])
    return np.log((below + 1e-4) / (1 - below + 1e-4)).ravel()


def _local_haar(grey: np.ndarray) -> np.ndarray:
    """Mean square of Haar's diagonal band in each block of 8x8 pixels: white noise of variance v has v."""
    g = grey.astype(np.float32)
    diagonal = np.diff(np.diff(g, axis=1), axis=0) / 2
    return cv2.blur(diagonal * diagonal, (_BLOCK, _BLOCK))[_BLOCK // 2::_BLOCK, _BLOCK // 2::_BLOCK].ravel()


def measures(grey: np.ndarray) -> tuple[float, float, float]:
    """`detail`, `noise` and `blocks` (see Damage) of a crop uint8 (h, w)."""
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
