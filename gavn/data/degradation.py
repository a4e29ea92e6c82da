"""The damage that GAVN undoes: compression artefacts, blur, low resolution, and mixtures of them.

Pure functions of uint8 BGR pictures (h, w, 3); what comes out has the size of what went in. A clip is
damaged in one way throughout, drawn from its name, so that the same data set is made everywhere
and a network cannot compare a strongly damaged frame with its weakly damaged neighbour.
"""
import difflib
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from scipy.sparse import csr_array

from gavn.data.mixture import Frames, Mixture
from gavn.data.video_call import VideoCall
from gavn.media import compress, encoder_versions


def compress_crf(frames: Frames, crf: int) -> list[np.ndarray]:
    """A clip after x264 (preset medium, 25 frames a second, 4:2:0) at a constant rate factor of 0..51."""
    return compress(frames, crf)


def gaussian_blur(frames: Frames, kernel: int) -> list[np.ndarray]:
    """A clip blurred with a Gaussian of `kernel` (odd) pixels; OpenCV's sigma, 0.15 kernel + 0.35."""
    return [cv2.GaussianBlur(np.ascontiguousarray(frame), (kernel, kernel), 0) for frame in frames]


def downscale(frames: Frames, factor: float, method: str = 'matlab') -> list[np.ndarray]:
    """A clip at 1 / factor of its resolution (rounded to pixels, kept in 8 bits), bicubic there and back.

    `matlab`: antialiased on the way down, as MATLAB's `imresize` and BasicSR's; `cv2`: OpenCV's bicubic,
    which aliases.
    """
    resize = {'matlab': matlab_resize_8bit, 'cv2': partial(cv2.resize, interpolation=cv2.INTER_CUBIC)}[method]

    def there_and_back(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        small = max(1, round(width / factor)), max(1, round(height / factor))
        return resize(resize(np.ascontiguousarray(frame), small), (width, height))

    return [there_and_back(frame) for frame in frames]


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' interpolation kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


@lru_cache(maxsize=64)
def _weights(size: int, target: int, scale: float) -> csr_array:
    """(target, size): how each new sample of a line is made of the old ones; beyond its ends it is mirrored.

    Downwards the kernel is stretched by the factor, which keeps frequencies out that the new line cannot
    hold. Sparse, as a sample has few neighbours: 1.4 to 1.8 times as fast as a full product.
    """
    stretch = min(scale, 1)
    centres = (np.arange(target) + 0.5) / scale - 0.5
    reach = int(np.ceil(2 / stretch)) + 1
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)
    kernel = _cubic((centres[:, None] - taps) * stretch)
    taps %= 2 * size
    weights = np.zeros((target, size))
    np.add.at(weights, (np.arange(target)[:, None], np.minimum(taps, 2 * size - 1 - taps)), kernel)
    return csr_array(weights / weights.sum(1, keepdims=True))


def matlab_resize(image: np.ndarray, size: tuple[int, int], scale: float | None = None) -> np.ndarray:
    """Bicubic resize of a picture (h, w, c) to `size` = (width, height), float64, not clipped.

    As MATLAB's `imresize`. `scale` is the factor where it is not quite that of the sizes: BasicSR's
    `imresize(image, 1 / 3)` of 224 pixels makes 75 of them, at a distance of 3 still. Equal to it up to its
    rounding: in 8 bits the two differ by one level in fewer than one of 10,000 values, where the true value
    lies halfway between two levels.
    """
    height, width, channels = image.shape
    vertical = _weights(height, size[1], size[1] / height if scale is None else scale)
    horizontal = _weights(width, size[0], size[0] / width if scale is None else scale)
    rows = vertical @ image.reshape(height, -1).astype(np.float64)
    columns = rows.reshape(size[1], width, channels).swapaxes(0, 1).reshape(width, -1)
    return (horizontal @ columns).reshape(size[0], size[1], channels).swapaxes(0, 1)


def matlab_resize_8bit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`matlab_resize`, rounded to uint8."""
    return matlab_resize(image, size).clip(0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Degradation:
    """A kind of damage: its task, the layer of the data set it makes, and how clips are damaged.

    Attributes:
        layer: the canonical name.
        task: car, deblur, sr or mixed.
        draw: a clip's parameters by name, a function of the clip's name alone, the same on every machine.
        damage: takes a clip and these parameters.
    """

    layer: str
    task: str
    draw: Callable[[str], dict[str, Any]]
    damage: Callable[..., list[np.ndarray]]


def _one_of(clip_id: str, task: str, parameter: str, values: Sequence[int]) -> dict[str, int]:
    digest = hashlib.sha256(f'{clip_id}\n{task}'.encode()).digest()
    return {parameter: values[int.from_bytes(digest[:8], 'big') % len(values)]}


def _mixture(clip_id: str, layer: str) -> dict[str, Any]:
    return asdict(Mixture.drawn(f'{clip_id}\n{layer}'))


def _mixed(frames: Frames, **mixture: Any) -> list[np.ndarray]:
    return Mixture(**mixture).apply(frames)


def _call(clip_id: str, layer: str) -> dict[str, Any]:
    return asdict(VideoCall.drawn(f'{clip_id}\n{layer}'))


def _called(frames: Frames, **call: Any) -> list[np.ndarray]:
    return VideoCall(**call).apply(frames)


# What a layer's name begins with: task, parameter, damage, allowed levels.
_KINDS = {
    'car_crf': ('car', 'crf', compress_crf, range(52)),
    'blur_k': ('blur', 'kernel', gaussian_blur, range(1, 256, 2)),
    'sr_x': ('sr', 'factor', downscale, range(1, 65)),
    'sr_cv2_x': ('sr', 'factor', partial(downscale, method='cv2'), range(1, 65)),
}
_ALIASES = {'car': 'car_crf45', 'deblur': 'blur'}
_FACTORS = tuple(range(2, 9))
# Layers whose clips each draw a level of their own.
_DRAWN = {
    'blur': ('blur_k', tuple(range(15, 26, 2))),
    'sr': ('sr_x', _FACTORS),
    'sr_cv2': ('sr_cv2_x', _FACTORS),
}
_LEVEL = re.compile(rf'({"|".join(_KINDS)})(\d+)')
_MANY = re.compile(r'(mixed|call)(_v\d+)?')

# What the paper's tables need: the mixed layers and the fixed levels of its table 2.
NAMES = (
    'car_crf35', 'car_crf40', 'car_crf45', 'blur', 'blur_k17', 'blur_k21', 'blur_k25',
    'sr', 'sr_x2', 'sr_x4', 'sr_x8')


def degradation(name: str) -> Degradation:
    """The damage called `car` (CRF 45), `blur` (kernel 15..25), `sr` (factor 2..8) or `mixed`, or one level.

    A level is named as `car_crf35`, `blur_k21` or `sr_x4`, any that the parameter allows. `sr_cv2` and
    `sr_cv2_x4` are reduced by OpenCV, which aliases (see `downscale`). `mixed_v1`, `mixed_v2` ... are as
    `mixed`, each drawn anew (see `gavn.data.mixture`); `call` and `call_v1` ... are video calls and downloads
    (see `gavn.data.video_call`).

    Raises ValueError for any other name, with the nearest that exists.
    """
    layer = _ALIASES.get(name, name)
    if many := _MANY.fullmatch(layer):
        draw, damage = (_mixture, _mixed) if many[1] == 'mixed' else (_call, _called)
        return Degradation(layer, 'mixed', partial(draw, layer=layer), damage)
    level = _LEVEL.fullmatch(layer)
    kind, values = _DRAWN.get(layer) or ((level[1], (int(level[2]),)) if level else (None, ()))
    if kind is None or not set(values) <= set(_KINDS[kind][3]):
        near = difflib.get_close_matches(name, [*NAMES, *_ALIASES, 'mixed', 'call'], 1, 0)[0]
        raise ValueError(f'no degradation is called {name!r}; did you mean {near!r}?')
    task, parameter, damage, _ = _KINDS[kind]
    draw = partial(_one_of, task=task, parameter=parameter, values=values)
    return Degradation(layer, task, draw, damage)


def degrade(frames: Frames, name: str, clip_id: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Damages a whole clip (T pictures uint8 BGR (h, w, 3)) as `name` says, with the clip's own parameters.

    Returns the damaged pictures and what was done, ready for JSON: layer, task, parameter, versions of
    the tools.
    """
    chosen = degradation(name)
    drawn = chosen.draw(clip_id)
    tools = {} if chosen.task == 'car' else {'opencv': cv2.__version__}
    if chosen.task in ('car', 'mixed'):
        tools |= encoder_versions()
    return chosen.damage(frames, **drawn), {'layer': chosen.layer, 'task': chosen.task, **drawn, **tools}
