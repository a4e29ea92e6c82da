"""Whole frames in memory and their sound in, the same frames with restored faces out; no files."""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from math import gcd
from typing import Literal, get_args

import numpy as np
from scipy.signal import resample_poly

from gavn.audio.mfcc import SAMPLE_RATE, StoredMFCC
from gavn.faces.geometry import paste
from gavn.faces.tracker import follow_faces
from gavn.faces.tracks import Faces, check_choice, choose, fixed_box
from gavn.media import Frame, enlarged, enlarged_size
from gavn.restoration.choosing import Chooser, choose_weights, look_at
from gavn.restoration.face_clip import CropRestorer, FaceClipRestorer, FrameBuffer
from gavn.restoration.settings import Settings

Channels = Literal['rgb', 'bgr']
_HIGHEST = np.iinfo(np.int16).max
_LOUDEST = 2.  # of floating-point sound, which may overshoot 1 a little but is not in other units

_log = logging.getLogger(__name__)


def restore_frames(restorer: CropRestorer | Chooser, frames: Iterable[np.ndarray], fps: float | Fraction,
                   audio: np.ndarray | None = None, channels: Channels = 'rgb',
                   sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
    """Restores the faces in consecutive whole frames of one video; what is beside them keeps every bit.

    Args:
        restorer: networks with their weights, or a choice of such.
        frames: uint8 (h, w, 3), all of one size, or an array (n, h, w, 3) of them.
        fps: frames a second; sound and frames go together by it.
        audio: mono samples (n,), int16 or floating-point in [-1, 1], heard from the first frame on; None =
            silence.
        channels: their order in the frames given and returned: `rgb` (as of PIL and torchvision) or `bgr`
            (as of OpenCV).
        sample_rate: of `audio`, samples a second.
        settings: which faces, how much, at which scale; what is said of files and encoders does not matter.

    Returns as many frames of the same kind; larger ones where a scale is asked for. Raises ValueError for
    frames or sound of another kind, NoFace, and what `gavn.restore_video` raises for faces and weights.
    """
    settings = settings or Settings()
    check_choice(settings.faces)
    stored, sound = _checked(frames, channels), _sound(audio, sample_rate)
    times = [float(index / _rate(fps)) for index in range(len(stored))]
    faces = _faces(stored, settings)
    size = faces.size if settings.scale is None else enlarged_size(*faces.size, settings.scale)
    large = faces.enlarged(size)

    def read() -> Iterator[Frame]:
        whole = (Frame.of_image(image, index, times[index], index) for index, image in enumerate(stored))
        return whole if size == faces.size else enlarged(whole, size)

    choice = choose_weights(restorer, lambda: look_at(read(), large, faces.size[0]), False,
                            settings.force_task)
    if choice.words:
        _log.warning(choice.words)
    if not choice.restores:
        return [_ordered(frame.image, channels) for frame in read()]
    padded = np.pad(sound, (0, max(0, round(len(stored) / _rate(fps) * SAMPLE_RATE) - len(sound))))
    with closing(StoredMFCC([padded], tempfile.gettempdir())) as mfcc_frames:
        story = FaceClipRestorer(choice.restorer, mfcc_frames, large, settings.strength)
        return [_ordered(image, channels) for image in _restored(story, read())]


def _restored(story: FaceClipRestorer, frames: Iterator[Frame]) -> Iterator[np.ndarray]:
    for frame, changes in story.changes(FrameBuffer(frames), range(story.faces.count)):
        yield paste(frame.image, [story.patch(frame, *change) for change in changes])


def _faces(images: list[np.ndarray], settings: Settings) -> Faces:
    height, width = images[0].shape[:2]
    if settings.box is not None:
        return fixed_box(settings.box, len(images), (width, height))
    return choose(follow_faces(images, min_face=settings.min_face), settings.faces)


def _rate(fps: float | Fraction) -> float | Fraction:
    if not fps > 0:
        raise ValueError(f'fps is above 0, not {fps}')
    return fps


def _checked(frames: Iterable[np.ndarray], channels: str) -> list[np.ndarray]:
    """The frames as BGR."""
    if channels not in get_args(Channels):
        raise ValueError(f'channels are {" or ".join(get_args(Channels))}, not {channels!r}')
    images = list(frames)
    if not images:
        raise ValueError('there are no frames; give one at least')
    for index, image in enumerate(images):
        _check(image, index, images[0])
    return [_ordered(image, channels) for image in images]


def _check(image: np.ndarray, index: int, first: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        found = f'{image.dtype} {image.shape}' if hasattr(image, 'shape') else type(image).__name__
        raise ValueError(f'frame {index} is {found}; frames are numpy arrays uint8 (h, w, 3) from 0 to 255')
    if image.shape[2] != 3:
        first_of_all = '; put the channels last: frame.transpose(1, 2, 0)' if image.shape[0] == 3 else ''
        raise ValueError(f'frame {index} is {image.shape}; frames are (h, w, 3), without alpha{first_of_all}')
    if image.shape != first.shape:
        raise ValueError(f'frame {index} is {image.shape}, but frame 0 {first.shape}; frames are of one size')


def _ordered(image: np.ndarray, channels: str) -> np.ndarray:
    """From BGR to the order of `channels`, or back: an array of its own."""
    return np.array(image[..., ::-1] if channels == 'rgb' else image, order='C')


def _sound(audio: np.ndarray | None, rate: int) -> np.ndarray:
    """Samples at SAMPLE_RATE in int16 units (n,)."""
    if audio is None:
        return np.zeros(0, np.int16)
    if not isinstance(audio, np.ndarray) or audio.ndim != 1:
        raise ValueError(f'audio is mono samples (n,), not {getattr(audio, "shape", type(audio).__name__)}; '
                         'of several channels give the mean')
    if rate < 1:
        raise ValueError(f'sample_rate is above 0, not {rate}')
    if audio.dtype != np.int16:
        audio = _in_int16_units(audio)
    if rate == SAMPLE_RATE:
        return audio
    common = gcd(rate, SAMPLE_RATE)
    return resample_poly(audio.astype(np.float64), SAMPLE_RATE // common, rate // common)


def _in_int16_units(audio: np.ndarray) -> np.ndarray:
    if audio.dtype.kind != 'f' or not np.isfinite(audio).all() or np.abs(audio).max(initial=0) > _LOUDEST:
        raise ValueError(f'audio is int16, or floating-point in [-1, 1], not {audio.dtype} of other values')
    return audio.astype(np.float64) * _HIGHEST
