"""`restore_in_memory`: restores the faces in whole frames in memory."""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from math import gcd, inf
from numbers import Real
from typing import get_args

import numpy as np
from scipy.signal import resample_poly

from gavn.audio.mfcc import SAMPLE_RATE, StoredMFCC
from gavn.errors import ArgumentError
from gavn.faces.geometry import paste
from gavn.faces.tracker import follow_faces
from gavn.faces.tracks import Faces, choose, fixed_box
from gavn.media import Frame, enlarged, enlarged_size
from gavn.restoration.face_clip import FaceClipRestorer, FrameBuffer
from gavn.restoration.protocols import Channels, VideoRestorer
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import estimate_degradation

_INT16_MAX = np.iinfo(np.int16).max
_MAX_SAMPLE = 2.  # floating-point audio may exceed 1 a little; larger values are in other units

_log = logging.getLogger(__name__)


def restore_in_memory(restorer: VideoRestorer, frames: Iterable[np.ndarray], fps: float | Fraction,
                      audio: np.ndarray | None = None, channels: Channels = 'rgb',
                      sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
    """Returns consecutive frames of one video with restored faces; see `Restorer.restore_frames`."""
    settings = settings or Settings()
    stored = _checked(frames, channels)
    samples = _padded(_samples(audio, sample_rate), round(len(stored) / _rate(fps) * SAMPLE_RATE))
    times = [float(index / _rate(fps)) for index in range(len(stored))]
    faces = _faces(stored, settings)
    size = faces.size if settings.scale is None else enlarged_size(*faces.size, settings.scale)
    large = faces.enlarged(size)

    def read() -> Iterator[Frame]:
        whole = (Frame.from_image(image, index, times[index], index) for index, image in enumerate(stored))
        return whole if size == faces.size else enlarged(whole, size)

    choice = restorer.choose_weights(lambda: estimate_degradation(read(), large, faces.size[0]),
                                     force=settings.force_task)
    if choice.message:
        _log.warning(choice.message)
    if not choice.restores:
        return [_ordered(frame.image, channels) for frame in read()]
    with closing(StoredMFCC([samples], tempfile.gettempdir())) as mfcc_frames:
        clip_restorer = FaceClipRestorer(choice.restorer, mfcc_frames, large, settings.strength)
        return [_ordered(image, channels) for image in _restored(clip_restorer, read())]


def _restored(clip_restorer: FaceClipRestorer, frames: Iterator[Frame]) -> Iterator[np.ndarray]:
    for frame, changes in clip_restorer.changes(FrameBuffer(frames), range(clip_restorer.faces.count)):
        yield paste(frame.image, [clip_restorer.patch(frame, *change) for change in changes])


def _faces(images: list[np.ndarray], settings: Settings) -> Faces:
    height, width = images[0].shape[:2]
    if settings.box is not None:
        return fixed_box(settings.box, len(images), (width, height))
    return choose(follow_faces(images, min_face=settings.min_face), settings.faces)


def _rate(fps: float | Fraction) -> float | Fraction:
    if not (isinstance(fps, Real) and 0 < fps < inf):
        raise ArgumentError(f'fps must be a number above 0, not {fps!r}')
    return fps


def _checked(frames: Iterable[np.ndarray], channels: str) -> list[np.ndarray]:
    """Checks the frames and returns them as BGR."""
    if channels not in get_args(Channels):
        raise ArgumentError(f'channels must be {" or ".join(get_args(Channels))}, not {channels!r}')
    images = list(frames)
    if not images:
        raise ArgumentError('there are no frames; pass at least one')
    for index, image in enumerate(images):
        _check(image, index, images[0])
    return [_ordered(image, channels) for image in images]


def _check(image: np.ndarray, index: int, first: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        found = f'{image.dtype} {image.shape}' if hasattr(image, 'shape') else type(image).__name__
        raise ArgumentError(f'frame {index} is {found}; frames must be numpy arrays uint8 (h, w, 3)')
    if image.shape[2] != 3:
        hint = '; move the channels to the end: frame.transpose(1, 2, 0)' if image.shape[0] == 3 else ''
        raise ArgumentError(f'frame {index} is {image.shape}; frames must be (h, w, 3), without alpha{hint}')
    if image.shape != first.shape:
        raise ArgumentError(f'frame {index} is {image.shape}, but frame 0 is {first.shape}; '
                         'frames must have one size')


def _ordered(image: np.ndarray, channels: str) -> np.ndarray:
    """Converts between BGR and the order of `channels`; returns a copy."""
    return np.array(image[..., ::-1] if channels == 'rgb' else image, order='C')


def _padded(samples: np.ndarray, count: int) -> np.ndarray:
    return np.pad(samples, (0, max(0, count - len(samples))))


def _samples(audio: np.ndarray | None, rate: int) -> np.ndarray:
    """Returns the samples (n,) at SAMPLE_RATE in int16 units."""
    if audio is None:
        return np.zeros(0, np.int16)
    if not isinstance(audio, np.ndarray) or audio.ndim != 1:
        found = getattr(audio, 'shape', type(audio).__name__)
        raise ArgumentError(f'audio must be mono samples (n,), not {found}; use the mean of several channels')
    if rate < 1:
        raise ArgumentError(f'sample_rate must be above 0, not {rate}')
    if audio.dtype != np.int16:
        audio = _in_int16_units(audio)
    if rate == SAMPLE_RATE:
        return audio
    common = gcd(rate, SAMPLE_RATE)
    return resample_poly(audio.astype(np.float64), SAMPLE_RATE // common, rate // common)


def _in_int16_units(audio: np.ndarray) -> np.ndarray:
    if audio.dtype.kind != 'f' or not np.isfinite(audio).all() or np.abs(audio).max(initial=0) > _MAX_SAMPLE:
        raise ArgumentError(f'audio must be int16, or floating point in [-1, 1], not {audio.dtype} with '
                         'other values')
    return audio.astype(np.float64) * _INT16_MAX
