"""Smooth image warps of the demo face, for pixels and landmarks.

Every warp is a *backward* function: it maps points of the new image to the source of their colour. Images are
resampled through it, and landmarks are moved by its numerical inverse, so both agree exactly. Points are
arrays (..., 2) of (x, y) in pixels, with whole numbers at pixel centres.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Backward = Callable[[np.ndarray], np.ndarray]
_NEWTON_STEPS = 20


def grid(width: int, height: int, zoom: float = 1.0) -> np.ndarray:
    """Pixel centres (height, width, 2), in the coordinates of the same image `zoom` times smaller."""
    x = ((np.arange(width) + 0.5) / zoom - 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5) / zoom - 0.5).astype(np.float32)
    return np.stack(np.meshgrid(x, y), axis=-1)


def sample(image: np.ndarray, points: np.ndarray, zoom: float = 1.0, interpolation: int = cv2.INTER_CUBIC
           ) -> np.ndarray:
    """Samples `image`, which is `zoom` times larger than the coordinates; the border is reflected."""
    where = ((points + 0.5) * zoom - 0.5).astype(np.float32)
    # `where` holds both maps; the stubs do not know that the second one may be None
    return cv2.remap(image, where, None, interpolation,  # type: ignore[call-overload]
                     borderMode=cv2.BORDER_REFLECT_101)


def invert(backward: Backward, sources: np.ndarray) -> np.ndarray:
    """Inverts a map for `sources` (n, 2): points q with backward(q) = sources, by Newton's method."""
    sources = np.asarray(sources, np.float64)
    points = sources.copy()
    step_x, step_y = np.array([1e-3, 0.0]), np.array([0.0, 1e-3])
    for _ in range(_NEWTON_STEPS):
        error = backward(points) - sources
        if np.abs(error).max() < 1e-6:
            break
        along_x = (backward(points + step_x) - backward(points - step_x)) / 2e-3
        along_y = (backward(points + step_y) - backward(points - step_y)) / 2e-3
        jacobian = np.stack([along_x, along_y], axis=-1)
        move = np.linalg.solve(jacobian, error[..., None])[..., 0]
        points = points - np.clip(move, -6.0, 6.0)
    return points


def bell(distance: np.ndarray) -> np.ndarray:
    """exp(-d^2): 1 at the centre, flat there, 0.018 at distance 2."""
    return np.exp(-distance * distance)


def smoothstep(value: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with flat ends."""
    t = np.clip(value, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True)
class Bump:
    """A local stretch and shift with a bell-shaped weight around `centre`, 1/e at `reach`."""

    centre: tuple[float, float]
    reach: tuple[float, float]
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def offset(self, points: np.ndarray) -> np.ndarray:
        """Backward displacement (..., 2) at `points`."""
        away = points - np.asarray(self.centre, points.dtype)
        weight = bell(away[..., 0] / self.reach[0]) * bell(away[..., 1] / self.reach[1])
        stretch = np.array([1.0 / self.scale[0] - 1.0, 1.0 / self.scale[1] - 1.0], points.dtype)
        return weight[..., None] * (away * stretch - np.asarray(self.shift, points.dtype))


def bumps(points: np.ndarray, listed: tuple[Bump, ...]) -> np.ndarray:
    """Backward map of several bumps."""
    return points + sum((bump.offset(points) for bump in listed), np.zeros_like(points))
