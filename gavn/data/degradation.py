"""Degradations of clips: compression, blur, low resolution, mixtures of them, and hidden mouths.

Functions of uint8 BGR images (h, w, 3) that keep size and number of frames. All frames of a clip have the
same parameters, a function of its name. So every machine makes the same data set, and a network cannot copy
from a less degraded neighbour frame.
"""
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from scipy.sparse import csr_array

from gavn.data.mixture import Frames, Mixture, seed_of
from gavn.data.video_call import VideoCall
from gavn.media import compress, encoder_versions


def gaussian_blur(frames: Frames, kernel: int) -> list[np.ndarray]:
    """Blurs a clip with a Gaussian of `kernel` (odd) pixels and OpenCV's sigma, 0.15 kernel + 0.35."""
    return [cv2.GaussianBlur(np.ascontiguousarray(frame), (kernel, kernel), 0) for frame in frames]


def downscale(frames: Frames, factor: float, method: str = 'matlab') -> list[np.ndarray]:
    """Downscales a clip to 1 / factor of its resolution and upscales it again, both bicubic and in 8 bits.

    Args:
        factor: of the resolution; the small size is rounded to pixels.
        method: `matlab`, antialiased like MATLAB's and BasicSR's `imresize`, or `cv2`, OpenCV's bicubic,
            which aliases.
    """
    resizes: dict[str, Callable[..., np.ndarray]] = {
        'matlab': matlab_resize_8bit, 'cv2': partial(cv2.resize, interpolation=cv2.INTER_CUBIC)}
    resize = resizes[method]

    def down_and_up(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        small = max(1, round(width / factor)), max(1, round(height / factor))
        return resize(resize(np.ascontiguousarray(frame), small), (width, height))

    return [down_and_up(frame) for frame in frames]


def hide_lower_face(frames: Frames, percent: int) -> list[np.ndarray]:
    """Covers the lowest `percent` of the rows, without a fifth of the width on either side, with grey.

    Only audio shows how a hidden mouth moves, so this shows what a network takes from audio.
    """
    def hidden(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        result = frame.copy()
        result[height - height * percent // 100:, width // 5:width - width // 5] = 128
        return result

    return [hidden(frame) for frame in frames]


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' interpolation kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


@lru_cache(maxsize=64)
def _weights(size: int, target: int, scale: float) -> csr_array:
    """Weights (target, size) that resample a line, which is mirrored beyond its ends.

    For downscaling, the kernel is stretched by the factor as an antialiasing filter. The matrix is sparse
    because that is 1.4 to 1.8 times as fast as a dense product.
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
    """Resizes an image (h, w, c) like MATLAB's bicubic `imresize`; the result is float64 and not clipped.

    In 8 bits it differs from BasicSR's `imresize` by one level in fewer than one of 10,000 values, where the
    exact value lies halfway between two levels.

    Args:
        image: of any number of channels.
        size: (width, height) of the result.
        scale: distance of samples, if it is not exactly the ratio of the sizes. `imresize(image, 1 / 3)` of
            224 pixels gives 75 pixels, at a distance of 3.
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
    """A degradation."""

    layer: str  # canonical name, also of the layer in the data set
    task: str  # car, blur, sr, mixed or hidden
    draw: Callable[[str], dict[str, Any]]  # returns the parameters of a clip, a function of its name
    apply: Callable[..., list[np.ndarray]]  # degrades a clip, given these parameters


# Prefix of a layer's name -> task, parameter, function, valid levels.
_KINDS: dict[str, tuple[str, str, Callable[..., list[np.ndarray]], range]] = {
    'car_crf': ('car', 'crf', compress, range(52)),
    'blur_k': ('blur', 'kernel', gaussian_blur, range(1, 256, 2)),
    'sr_x': ('sr', 'factor', downscale, range(1, 65)),
    'sr_cv2_x': ('sr', 'factor', partial(downscale, method='cv2'), range(1, 65)),
    'hidden_p': ('hidden', 'percent', hide_lower_face, range(1, 101)),
}
_ALIASES = {'car': 'car_crf45', 'deblur': 'blur'}
_FACTORS = tuple(range(2, 9))
# Layers with a random level for each clip.
_DRAWN = {
    'blur': ('blur_k', tuple(range(15, 26, 2))),
    'sr': ('sr_x', _FACTORS),
    'sr_cv2': ('sr_cv2_x', _FACTORS),
    'stored': ('car_crf', tuple(range(24))),
}
_LEVEL = re.compile(rf'({"|".join(_KINDS)})(\d+)')
_COMPOUNDS: dict[str, type[Mixture] | type[VideoCall]] = {'mixed': Mixture, 'call': VideoCall}
_COMPOUND = re.compile(rf'({"|".join(_COMPOUNDS)})(_v\d+)?')

# Layers of the paper's tables: random levels, and the fixed levels of its table 2.
NAMES = (
    'car_crf35', 'car_crf40', 'car_crf45', 'blur', 'blur_k17', 'blur_k21', 'blur_k25',
    'sr', 'sr_x2', 'sr_x4', 'sr_x8')


def degradation(name: str) -> Degradation:
    """Returns the degradation of a name.

    Args:
        name: `car` (CRF 45), `blur` (kernel 15..25), `sr` (factor 2..8), or one level such as `car_crf35`,
            `blur_k21`, `sr_x4`. `sr_cv2` and `sr_cv2_x4` use OpenCV, which aliases (see `downscale`).
            `stored` is a mild compression (CRF 0..23). `hidden_p45` hides the lower face (see
            `hide_lower_face`). `mixed` and `mixed_v1`, `mixed_v2` ... are random mixtures (see
            `gavn.data.mixture`). `call` and `call_v1` ... are video calls and downloads (see
            `gavn.data.video_call`). `blur+stored` applies one after the other; its task is that of the first.

    Raises:
        ValueError: there is no such name. The message has the most similar one.
    """
    steps = [_single(part) for part in name.split('+')]
    return steps[0] if len(steps) == 1 else _sequence(steps)


def _sequence(steps: Sequence[Degradation]) -> Degradation:
    def apply(frames: Frames, steps_drawn: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        for step, drawn in zip(steps, steps_drawn, strict=True):
            frames = step.apply(frames, **drawn)
        return list(frames)

    return Degradation(
        '+'.join(step.layer for step in steps), steps[0].task,
        lambda clip_id: {'steps_drawn': [step.draw(clip_id) for step in steps]}, apply)


def _single(name: str) -> Degradation:
    layer = _ALIASES.get(name, name)
    if compound := _COMPOUND.fullmatch(layer):
        kind_of_clip = _COMPOUNDS[compound[1]]
        return Degradation(
            layer, 'mixed', lambda clip_id: asdict(kind_of_clip.from_name(f'{clip_id}\n{layer}')),
            lambda frames, **parameters: kind_of_clip(**parameters).apply(frames))
    level = _LEVEL.fullmatch(layer)
    kind, values = _DRAWN.get(layer) or ((level[1], (int(level[2]),)) if level else (None, ()))
    if kind is None or not set(values) <= set(_KINDS[kind][3]):
        near = difflib.get_close_matches(name, [*NAMES, *_ALIASES, *_COMPOUNDS], 1, 0)[0]
        raise ValueError(f'no degradation is called {name!r}; did you mean {near!r}?')
    task, parameter, apply, _ = _KINDS[kind]
    return Degradation(
        layer, task, lambda clip_id: {parameter: values[seed_of(f'{clip_id}\n{task}') % len(values)]}, apply)


def degrade(frames: Frames, name: str, clip_id: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Degrades a clip of T uint8 BGR images (h, w, 3).

    Returns:
        The degraded images, and a record for JSON: layer, task, parameters, versions of the tools.
    """
    chosen = degradation(name)
    drawn = chosen.draw(clip_id)
    tools = {} if chosen.task == 'car' else {'opencv': cv2.__version__}
    if chosen.task in ('car', 'mixed') or '+' in chosen.layer:
        tools |= encoder_versions()
    return chosen.apply(frames, **drawn), {'layer': chosen.layer, 'task': chosen.task, **drawn, **tools}
