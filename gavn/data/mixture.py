"""The damage of real videos: mixtures of blur, low resolution, noise and compression, once or twice.

The paper degrades with one thing at a time. A video from the world was taken by a lens that was not sharp,
made smaller, carried noise, was compressed, enlarged again and compressed once more; how much of each, nobody
knows.
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


@dataclass(frozen=True)
class Mixture:
    """What one clip suffers, in this order; a part that is None is left out.

    Attributes:
        sigma: of a Gaussian blur, in pixels, along its own axes.
        angle: of these axes, in degrees.
        factor: by which the picture is then reduced, by area.
        noise: standard deviation of Gaussian noise in grey levels of 255, new in every frame.
        coloured: whether the noise is one of three channels, or of brightness alone.
        crf: of x264, at the reduced size.
        up: how it is enlarged to its old size.
        crf_again: of x264, at the old size: a video that was uploaded once more.
        seed: of the noise.
    """

    sigma: tuple[float, float] | None = None
    angle: float = 0.
    factor: float | None = None
    noise: float | None = None
    coloured: bool = False
    crf: int | None = None
    up: str = 'cubic'
    crf_again: int | None = None
    seed: int = 0

    @classmethod
    def drawn(cls, name: str) -> 'Mixture':
        """The mixture that belongs to a name, on every machine.

        A quarter of the clips is nearly clean: networks must learn to leave a good picture alone.
        """
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big')
        draw = np.random.default_rng(seed)

        def between(low: float, high: float) -> float:
            return round(float(np.exp(draw.uniform(np.log(low), np.log(high)))), 3)

        blurred, reduced, noisy, compressed, again = draw.random(5) < (0.5, 0.6, 0.5, 0.9, 0.4)
        factor = between(1.2, 5) if reduced else None
        mixture = cls(
            sigma=(between(0.5, 4), between(0.5, 4)) if blurred else None,
            angle=round(float(draw.uniform(0, 180)), 1),
            factor=factor,
            noise=between(1, 12) if noisy else None,
            coloured=bool(draw.random() < 0.5),
            crf=int(draw.integers(18, _worst_crf(factor) + 1)) if compressed else None,
            up=str(draw.choice(sorted(_UP))),
            crf_again=int(draw.integers(20, 37)) if again else None,
            seed=seed)
        mild = draw.random() < 0.25
        return cls(crf=int(draw.integers(16, 27)), seed=seed) if mild else mixture

    def apply(self, frames: Frames) -> list[np.ndarray]:
        """A clip of uint8 BGR pictures (h, w, 3), degraded; of the same size and number."""
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
    """Frames uint8 (h, w, 3) with Gaussian noise of a standard deviation in grey levels of 255.

    Args:
        frames: of any number.
        deviation: of the noise.
        channels: 3 for coloured noise, 1 for noise of brightness alone.
        seed: of the noise, which is new in every frame.
    """
    draw = np.random.default_rng(seed)
    grain = (draw.normal(0, deviation, (*frame.shape[:2], channels)) for frame in frames)
    return [(frame + more).round().clip(0, 255).astype(np.uint8)
            for frame, more in zip(frames, grain, strict=True)]


def _worst_crf(factor: float | None) -> int:
    """42, and less for a small picture, of which that would leave nothing: a face must stay one."""
    return 42 - round(4 * ((factor or 1) - 1))


def _gaussian(sigma_x: float, sigma_y: float, angle: float) -> np.ndarray:
    """A kernel of sum 1 that reaches three times the larger sigma; its axes are turned by `angle` degrees."""
    reach = math.ceil(3 * max(sigma_x, sigma_y))
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = (x * cos + y * sin) / sigma_x, (y * cos - x * sin) / sigma_y
    kernel = np.exp(-(along**2 + across**2) / 2)
    return kernel / kernel.sum()
