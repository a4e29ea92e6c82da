"""Silence, as samples or as gaps that need no memory."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LONGEST_SILENCE = 60  # seconds; longer silence becomes an AudioGap
_BLOCK = 1 << 16  # samples per block, so that long silence takes no memory


@dataclass(frozen=True)
class AudioGap:
    """`samples` samples of silence, as between concatenated recordings."""

    samples: int

    def __len__(self) -> int:
        return self.samples


def silent_blocks(samples: int) -> Iterator[np.ndarray]:
    """Yields `samples` zeros as int16 blocks (n,); nothing if `samples` is negative."""
    for at in range(0, samples, _BLOCK):
        yield np.zeros(min(_BLOCK, samples - at), np.int16)


def silence_or_gap(samples: int, rate: int) -> Iterator[np.ndarray | AudioGap]:
    """Yields silence as zeros, or as one AudioGap if it exceeds LONGEST_SILENCE seconds at `rate` Hz."""
    if samples > LONGEST_SILENCE * rate:
        yield AudioGap(samples)
    else:
        yield from silent_blocks(samples)
