"""Face crops with known degradations, to fit and to check `gavn.restoration.degradation`.

The kind of a specialist is the degradation that its weights are trained on (options/pretrained): x264 at CRF
30..45, Gaussian blur of 15..25 pixels, reduction by 2..8. Weaker but visible degradations are `mixed`,
because a specialist would overdo it. `clean` is what a viewer considers a good video: CRF 23 or better,
little noise, downscaled from a larger image. Levels between two kinds are not drawn.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from gavn.data.clip_store import ClipEntry, ClipStore
from gavn.data.degradation import downscale, gaussian_blur
from gavn.data.mixture import Mixture
from gavn.data.video_call import FRAME_RATE, VideoCall
from gavn.media import compress

LAYERS = {'gt': 'clean', 'car_crf45': 'compression', 'blur': 'deblur', 'sr': 'sr', 'mixed': 'mixed',
          'mixed_v1': 'mixed', 'call': 'mixed'}
"""Layers of a data set folder -> kind; see `kind_of` and `kind_of_call`."""

WELL_CODED = 23  # CRF; up to here an image is clean
BADLY_CODED = 29  # CRF; from here on an image is compressed
_LOW_RATE = 0.12  # bits per pixel; below it the artifacts of a call are visible
_MEDIUM_SIDE, _FULL_SIDE = 150, 200  # pixels; the network input has 224
_FRAMES, _TAKEN = 12, (2, 5, 8, 11)  # consecutive degraded frames, and those of them that are used

Frames = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class ClassifierSample:
    """Crops of one clip with one degradation.

    Attributes:
        name: of the layer or the recipe.
        kind: one of `gavn.restoration.degradation.KINDS`; None for a mixture between two kinds.
        crops: uint8 BGR (h, w, 3).
    """

    name: str
    kind: str | None
    crops: Frames


def kind_of(mixture: Mixture) -> str | None:
    """The kind of a mixture. One of compression and faint noise may be `clean` or `compression`."""
    crf = max(mixture.crf or 0, mixture.crf_again or 0)
    if mixture.sigma or mixture.factor or (mixture.noise or 0) > 4:
        return 'mixed'
    if crf <= WELL_CODED:
        return 'clean' if (mixture.noise or 0) <= 3 else None
    if mixture.noise is None and crf >= BADLY_CODED:
        return 'compression'
    return 'mixed' if crf >= BADLY_CODED else None


def kind_of_call(call: VideoCall) -> str | None:
    """Returns `compression` for a face that is encoded once, at nearly full size, with few bits.

    `mixed` if a small face, few bits or a second encoding leave visible artifacts, else None. A face of
    medium size is between the two kinds: None.
    """
    bits_per_pixel = 1000 * call.kbits / FRAME_RATE / call.side**2
    low_rate = bits_per_pixel < _LOW_RATE
    encoded_once = call.rescale is None and call.noise is None
    if encoded_once and call.side >= _MEDIUM_SIDE:
        return 'compression' if low_rate and call.side >= _FULL_SIDE else None
    visible = low_rate or call.side < _MEDIUM_SIDE or (call.crf_again or 0) >= BADLY_CODED
    return 'mixed' if visible else None


def stored(root: str | os.PathLike[str], entry: ClipEntry, count: int) -> Iterator[ClassifierSample]:
    """Yields `count` frames over a clip from each of LAYERS. Raises FileNotFoundError for a missing layer."""
    indices = np.linspace(0, entry.n_frames - 1, count + 2).astype(int)[1:-1]
    for layer, kind in LAYERS.items():
        store, name = ClipStore(root, layer), f'{entry.clip}\n{layer}'
        own: str | None = kind
        if kind == 'mixed':  # what was drawn for this clip may be of another kind
            own = (kind_of_call(VideoCall.from_name(name)) if layer == 'call'
                   else kind_of(Mixture.from_name(name)))
        yield ClassifierSample(layer, own, [store.frame(entry.clip, int(index)) for index in indices])


def make_samples(root: str | os.PathLike[str], entry: ClipEntry, seed: int) -> Iterator[ClassifierSample]:
    """Degrades a part of a clip by every recipe, as often as RECIPES says, as a function of clip and seed.

    Raises:
        ValueError: the clip is too short.
    """
    if entry.n_frames < _FRAMES:
        raise ValueError(f'{entry.clip} has {entry.n_frames} frames, of the {_FRAMES} that are needed')
    draw = np.random.default_rng([seed, *entry.clip.encode()])
    start, store = int(draw.integers(0, entry.n_frames - _FRAMES + 1)), ClipStore(root, 'gt')
    frames = [store.frame(entry.clip, start + index) for index in range(_FRAMES)]
    for name, (times, recipe) in RECIPES.items():
        for _ in range(times):
            kind, degraded = recipe(frames, draw)
            yield ClassifierSample(name, kind, [degraded[index] for index in _TAKEN])


def _resized(frames: Frames, scale: float) -> list[np.ndarray]:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=method) for frame in frames]


def _reduced(frames: Frames, draw: np.random.Generator, least: float, chance: float) -> Frames:
    """Sometimes downscales, because sharpness depends on the size."""
    return _resized(frames, draw.uniform(least, 1)) if draw.random() < chance else frames


def _coded(frames: Frames, draw: np.random.Generator, worst: int, chance: float = 0.65) -> Frames:
    return compress(frames, int(draw.integers(15, worst + 1))) if draw.random() < chance else frames


def _from_to(draw: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(draw.uniform(np.log(low), np.log(high))))


def _good(frames: Frames, draw: np.random.Generator) -> tuple[str, Frames]:
    frames = _reduced(frames, draw, 0.5, 0.6)
    if draw.random() < 0.4:
        noise = Mixture(noise=_from_to(draw, 0.5, 3), coloured=bool(draw.random() < 0.5),
                        seed=int(draw.integers(1 << 30)))
        frames = noise.apply(frames)
    frames = _coded(frames, draw, WELL_CODED)
    return 'clean', _resized(frames, draw.uniform(1, 1.2)) if draw.random() < 0.25 else frames


def _coded_larger(frames: Frames, draw: np.random.Generator) -> tuple[str, Frames]:
    """A close-up, whose artifacts are smaller than the crop's pixels."""
    good = draw.random() < 0.6
    crf = draw.integers(15, 27) if good else draw.integers(33, 42)
    return 'clean' if good else 'mixed', _resized(compress(frames, int(crf)), draw.uniform(0.5, 0.85))


def _low(frames: Frames, draw: np.random.Generator) -> tuple[str, Frames]:
    small = downscale(frames, _from_to(draw, 1.9, 8), str(draw.choice(('matlab', 'cv2'))))
    return 'sr', _coded(small, draw, 18, 0.4)


def _enlarged(frames: Frames, draw: np.random.Generator) -> tuple[str, Frames]:
    """A small face in a good video: compression artifacts are upscaled with it."""
    small = _coded(_resized(frames, 1 / draw.uniform(1.4, 2.5)), draw, WELL_CODED, 1)
    return 'mixed', _as_large_as(frames, small, draw)


def _enlarged_much(frames: Frames, draw: np.random.Generator) -> tuple[str, Frames]:
    """A face of 40 to 90 pixels in a good video: low resolution, with upscaled artifacts."""
    small = _coded(_resized(frames, 1 / _from_to(draw, 2.5, 6)), draw, WELL_CODED, 0.8)
    return 'sr', _as_large_as(frames, small, draw)


def _as_large_as(frames: Frames, small: Frames, draw: np.random.Generator) -> list[np.ndarray]:
    """Upscales as crops do, or as `--scale` does before."""
    method = cv2.INTER_CUBIC if draw.random() < 0.5 else cv2.INTER_LANCZOS4
    height, width = frames[0].shape[:2]
    return [cv2.resize(frame, (width, height), interpolation=method) for frame in small]


def _mixture(frames: Frames, draw: np.random.Generator) -> tuple[str | None, Frames]:
    seed = int(draw.integers(1 << 30))
    mixture = replace(Mixture.from_name(str(seed)), seed=seed)
    return kind_of(mixture), mixture.apply(frames)


def _called(frames: Frames, draw: np.random.Generator) -> tuple[str | None, Frames]:
    """A video call, played forwards, backwards and forwards, so that rate control can settle."""
    call = VideoCall.from_name(str(int(draw.integers(1 << 30))))
    return kind_of_call(call), call.apply([*frames, *frames[::-1], *frames])[-len(frames):]


Recipe = Callable[[Frames, np.random.Generator], tuple[str | None, Frames]]
RECIPES: dict[str, tuple[int, Recipe]] = {
    'good': (10, _good),
    'coded_larger': (4, _coded_larger),
    'compressed': (8, lambda frames, draw: ('compression', compress(
        _reduced(frames, draw, 0.6, 0.3), int(draw.integers(BADLY_CODED, 51))))),
    'blurred': (6, lambda frames, draw: ('deblur', _coded(
        gaussian_blur(frames, int(draw.choice(range(13, 32, 2)))), draw, WELL_CODED))),
    'soft': (4, lambda frames, draw: ('mixed', _coded(
        gaussian_blur(frames, int(draw.choice((5, 7, 9)))), draw, WELL_CODED))),
    'low': (8, _low),
    'slightly_low': (3, lambda frames, draw: ('mixed', _coded(
        downscale(frames, draw.uniform(1.4, 1.7)), draw, WELL_CODED))),
    'enlarged': (3, _enlarged),
    'enlarged_much': (5, _enlarged_much),
    'mixture': (8, _mixture),
    'called': (8, _called),
}
"""Name -> samples per clip, and a function of frames that returns their kind and degraded frames."""
