"""A compact array of boxes."""
from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex, overload

import numpy as np

from gavn.faces.geometry import Box


class Boxes(Sequence[Box]):
    """A sequence of boxes that takes 32 bytes per box.

    Args:
        corners: float (n, 4): x0, y0, x1, y1 in pixels; stored as read-only float64.
    """

    def __init__(self, corners: np.ndarray) -> None:
        self.corners = np.asarray(corners, np.float64).view()
        self.corners.flags.writeable = False

    @classmethod
    def repeated(cls, box: Box, count: int) -> Boxes:
        """Returns the same box `count` times; needs the memory of one."""
        return cls(np.broadcast_to(np.array((box.x0, box.y0, box.x1, box.y1), np.float64), (count, 4)))

    def __len__(self) -> int:
        return len(self.corners)

    @overload
    def __getitem__(self, number: SupportsIndex) -> Box: ...

    @overload
    def __getitem__(self, number: slice) -> Boxes: ...

    def __getitem__(self, number: SupportsIndex | slice) -> Box | Boxes:
        if isinstance(number, slice):
            return Boxes(self.corners[number])
        return Box(*self.corners[index(number)].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxes) and np.array_equal(self.corners, other.corners)

    @property
    def heights(self) -> np.ndarray:
        """Heights in pixels: (n,)."""
        return self.corners[:, 3] - self.corners[:, 1]

    @property
    def areas(self) -> np.ndarray:
        """Areas in square pixels: (n,)."""
        return (self.corners[:, 2] - self.corners[:, 0]) * self.heights

    def scaled(self, across: float, down: float) -> Boxes:
        """Returns the boxes scaled by factors for x and y."""
        return Boxes(self.corners * (across, down, across, down))

    def intersection(self, other: Boxes) -> np.ndarray:
        """Returns the intersection areas with the boxes of the same index, in square pixels: (n,)."""
        first = np.maximum(self.corners[:, :2], other.corners[:, :2])
        last = np.minimum(self.corners[:, 2:], other.corners[:, 2:])
        return np.maximum(last - first, 0).prod(axis=1)
