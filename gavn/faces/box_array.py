"""Boxes of one frame after the other, as compact as their numbers."""
from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from gavn.faces.geometry import Box


class Boxes(Sequence[Box]):
    """Boxes by number, 32 bytes each: a `Box` is made when it is asked for.

    Args:
        corners: float (n, 4), x0, y0, x1 and y1 of each in pixels; kept as float64, not to be written to.
    """

    def __init__(self, corners: np.ndarray) -> None:
        self.corners = np.asarray(corners, np.float64).view()
        self.corners.flags.writeable = False

    @classmethod
    def repeated(cls, box: Box, count: int) -> Boxes:
        """The same box `count` times, in the memory of one."""
        return cls(np.broadcast_to(np.array((box.x0, box.y0, box.x1, box.y1), np.float64), (count, 4)))

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, number: int) -> Box:
        return Box(*self.corners[index(number)].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxes) and np.array_equal(self.corners, other.corners)

    @property
    def heights(self) -> np.ndarray:
        """From top to bottom, in pixels: (n,)."""
        return self.corners[:, 3] - self.corners[:, 1]

    @property
    def areas(self) -> np.ndarray:
        """In square pixels: (n,)."""
        return (self.corners[:, 2] - self.corners[:, 0]) * self.heights

    def scaled(self, across: float, down: float) -> Boxes:
        """The same boxes in pictures that are so many times as wide and high."""
        return Boxes(self.corners * (across, down, across, down))

    def shared(self, other: Boxes) -> np.ndarray:
        """The area of the intersection of each with the box of the same number, in square pixels: (n,)."""
        first = np.maximum(self.corners[:, :2], other.corners[:, :2])
        last = np.minimum(self.corners[:, 2:], other.corners[:, 2:])
        return np.maximum(last - first, 0).prod(axis=1)
