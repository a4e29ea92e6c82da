"""Audio that comes in blocks, and a count of those that are still held."""
import weakref
from collections.abc import Iterator

import numpy as np


class Passing:
    """Yields the blocks as copies of its own; `most` is how many were alive at once."""

    def __init__(self, blocks: list[np.ndarray]) -> None:
        self.blocks = blocks
        self.alive = self.most = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            copy = block.copy()
            weakref.finalize(copy, self._gone)
            self.alive += 1
            self.most = max(self.most, self.alive)
            yield copy
            del copy

    def _gone(self) -> None:
        self.alive -= 1
