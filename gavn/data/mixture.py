"""Mixtures of blur, low resolution, noise and compression, as in real videos.

The paper applies one degradation at a time. A real video is blurred by the lens, downscaled, noisy,
compressed, upscaled and compressed again, with unknown parameters.
"""
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gavn.media import compress

Frames = Sequence[np.ndarray]

_UP = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC}


def seed_of(name: str) -> int:
    """Returns a seed that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big')


@dataclass(frozen=True)
class Mixture:
    """Degradation of one clip, in this order. Parts that are None are skipped."""

    sigma: tuple[float, float] | None = None  # of a Gaussian blur, in pixels, along its two axes
    angle: float = 0.  # of these axes, in degrees
    factor: float | None = None  # of downscaling, by area
    # standard deviation of Gaussian noise in grey levels of 255, independent in every frame
    noise: float | None = None
    coloured: bool = False  # whether the three channels have independent noise
    crf: int | None = None  # of x264, at the small size
    up: str = 'cubic'  # interpolation back to the original size
    crf_again: int | None = None  # of x264, at the original size, as for a second upload
    seed: int = 0  # of the noise

    @classmethod
    def from_name(cls, name: str) -> 'Mixture':
        """The mixture of a name, the same on every machine.

        A quarter of the clips is nearly clean, so that networks learn to keep good images.
        """
        seed = seed_of(name)
        draw = np.random.default_rng(seed)

        def between(low: float, high: float) -> float:
            return round(float(np.exp(draw.uniform(np.log(low), np.log(high)))), 3)

        blurred, reduced, noisy, compressed, again = draw.random(5) < (0.5, 0.6, 0.5, 0.9, 0.4)
        factor = between(1.2, 5) if reduced else None
        worst = 42 - round(4 * ((factor or 1) - 1))  # CRF 42 would leave no face in a small image
        mixture = cls(
            sigma=(between(0.5, 4), between(0.5, 4)) if blurred else None,
            angle=round(float(draw.uniform(0, 180)), 1),
            factor=factor,
            noise=between(1, 12) if noisy else None,
            coloured=bool(draw.random() < 0.5),
            crf=int(draw.integers(18, worst + 1)) if compressed else None,
            up=str(draw.choice(sorted(_UP))),
            crf_again=int(draw.integers(20, 37)) if again else None,
            seed=seed)
        mild = draw.random() < 0.25
        return cls(crf=int(draw.integers(16, 27)), seed=seed) if mild else mixture

    def apply(self, frames: Frames) -> list[np.ndarray]:
        """Degrades a clip of uint8 BGR images (h, w, 3); keeps size and number of frames."""
        frames = [np.ascontiguousarray(frame) for frame in frames]
        if not frames:
            return frames
        height, width = frames[0].shape[:2]
        if self.sigma is not None:
            kernel = _gaussian(*self.sigma, self.angle)
            frames = [cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101) for frame in frames]
        if self.factor is not None:
            small = max(8, round(width / self.factor)), max(8, round(height / self.factor))
            frames = [cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in frames]
        if self.noise is not None:
            frames = add_noise(frames, self.noise, 3 if self.coloured else 1, self.seed)
        if self.crf is not None:
            frames = compress(frames, self.crf)
        if self.factor is not None:
            frames = [cv2.resize(frame, (width, height), interpolation=_UP[self.up]) for frame in frames]
        return frames if self.crf_again is None else compress(frames, self.crf_again)


def add_noise(frames: Frames, deviation: float, channels: int, seed: int) -> list[np.ndarray]:
    """Adds Gaussian noise to uint8 frames (h, w, 3), independent in every frame.

    Args:
        deviation: standard deviation in grey levels of 255.
        channels: 3 for independent noise in each channel, 1 for the same noise in all.
    """
    draw = np.random.default_rng(seed)
    noise = (draw.normal(0, deviation, (*frame.shape[:2], channels)) for frame in frames)
    return [(frame + grain).round().clip(0, 255).astype(np.uint8)
            for frame, grain in zip(frames, noise, strict=True)]


def _gaussian(sigma_x: float, sigma_y: float, angle: float) -> np.ndarray:
    """Gaussian kernel with sum 1 and a radius of three times the larger sigma, rotated by `angle` degrees."""
    reach = math.ceil(3 * max(sigma_x, sigma_y))
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = (x * cos + y * sin) / sigma_x, (y * cos - x * sin) / sigma_y
    kernel = np.exp(-(along**2 + across**2) / 2)
    return kernel / kernel.sum()
