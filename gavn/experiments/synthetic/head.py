"""Synthetic talking heads from one photograph and a synthetic voice, with exact landmarks.

Nothing is downloaded: the photograph is part of scikit-image (extra `[demo]`), the voice is computed.
Everything is a function of identity, seed and length.
"""
from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from gavn.audio.rates import FRAME_RATE
from gavn.experiments.synthetic.motion import Camera, MovingFace, Pose
from gavn.experiments.synthetic.people import PEOPLE, still
from gavn.experiments.synthetic.voice import Speech, speak

SIDE = 224  # pixels, the size of the networks' face crops


@dataclass(frozen=True)
class TalkingClip:
    """A clip of t frames.

    `frames` (t, 224, 224, 3) uint8 BGR, `audio` (640 t,) int16, `landmarks` (t, 68, 2) float32 in pixels.
    `speech` has the words and the mouth, `poses` the head pose of each frame.
    """

    identity: str
    frames: np.ndarray
    audio: np.ndarray
    landmarks: np.ndarray
    speech: Speech
    poses: tuple[Pose, ...]
    camera: Camera


def identities() -> list[str]:
    """Names of the demo people. The last one is for testing only."""
    return list(PEOPLE)


def make_clip(identity: str, seed: int, seconds: float, words: str = 'train') -> TalkingClip:
    """Renders `identity` talking for `seconds` (whole frames), with words of the list 'train' or 'test'.

    The same arguments give the same bytes on one machine.

    Raises:
        KeyError: the identity is unknown.
        ValueError: the word list is unknown, or the clip has less than one frame.
    """
    count = round(seconds * FRAME_RATE)
    if count < 1:
        raise ValueError(f'a clip needs at least one frame (0.04 s), not {seconds} s')
    face = still(identity)
    draw = np.random.default_rng([seed, zlib.crc32(f'{identity} {words}'.encode())])
    speech = speak(draw, words, count / FRAME_RATE, *PEOPLE[identity].voice)
    poses = _poses(draw, speech.stress)
    centre = face.landmarks[[0, 16, 8, 27]].mean(0) + draw.uniform(-2.5, 2.5, 2) - (0, 4)
    camera = Camera(tuple(centre.tolist()), draw.uniform(1.18, 1.30), SIDE, SIDE)
    moving = [MovingFace(face, mouth, pose) for mouth, pose in zip(speech.mouths, poses, strict=True)]
    landmarks = np.stack([camera.forward(one.landmarks()) for one in moving]).astype(np.float32)
    frames = np.stack([one.image(camera) for one in moving])
    return TalkingClip(identity, frames, speech.audio, landmarks, speech, poses, camera)


def place_on_background(clip: TalkingClip, width: int = 480, height: int = 360) -> np.ndarray:
    """Renders the same motion from a larger distance: frames (t, height, width, 3) uint8 BGR."""
    zoom = max(1.0, width / 460, height / 460)
    centre_x, head_y = clip.camera.centre
    camera = Camera((centre_x, max(head_y + 20, height / 2 / zoom - 8)), zoom, width, height)
    face = still(clip.identity)
    return np.stack([MovingFace(face, mouth, pose).image(camera)
                     for mouth, pose in zip(clip.speech.mouths, clip.poses, strict=True)])


def _drift(draw: np.random.Generator, count: int, size: float) -> np.ndarray:
    """A smooth random walk around zero, mostly within `size`."""
    times = np.arange(count)[:, None] / FRAME_RATE
    speeds, phases = draw.uniform(0.15, 0.95, 4), draw.uniform(0, 2 * np.pi, 4)
    return size * np.sin(2 * np.pi * speeds * times + phases).sum(1) / 2


def _blinks(draw: np.random.Generator, count: int) -> np.ndarray:
    """Blinks (1: closed eyes) about every two seconds."""
    times, closed = np.arange(count) / FRAME_RATE, np.zeros(count)
    moment = draw.uniform(0.2, 1.6)
    while moment < times[-1] + 0.2:
        closed = np.maximum(closed, np.clip(1.35 - np.abs(times - moment) / 0.085, 0, 1))
        moment += draw.uniform(1.0, 3.2)
    return closed


def _poses(draw: np.random.Generator, stress: np.ndarray) -> tuple[Pose, ...]:
    """Head motion: slow drifts, nods and raised brows at stressed syllables, blinks."""
    count = len(stress)
    sizes = {'x': 3.5, 'y': 2.5, 'roll': 0.045, 'yaw': 0.11, 'pitch': 0.05}
    tracks = {name: _drift(draw, count, size) for name, size in sizes.items()}
    tracks['pitch'] = tracks['pitch'] + 0.05 * (stress - 0.4)
    tracks['size'] = 1 + _drift(draw, count, 0.018)
    tracks['blink'] = _blinks(draw, count)
    tracks['brows'] = np.clip(stress - 0.35, 0, 1) * draw.uniform(0.2, 1.3) + _drift(draw, count, 0.12)
    return tuple(Pose(**{name: float(track[i]) for name, track in tracks.items()}) for i in range(count))
