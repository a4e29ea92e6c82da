"""Silence that is too long to be computed."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LONGEST_SILENCE = 60  # seconds of silence that are given as samples where holes are asked for; more is a hole
_BLOCK = 1 << 16  # zeros made at once, so that a gap of hours takes no memory


@dataclass(frozen=True)
class AudioGap:
    """So many samples of silence, as between recordings that are strung together."""

    samples: int

    def __len__(self) -> int:
        return self.samples


def silent_blocks(samples: int) -> Iterator[np.ndarray]:
    """So many zeros as int16 blocks (n,); nothing where `samples` is negative."""
    for at in range(0, samples, _BLOCK):
        yield np.zeros(min(_BLOCK, samples - at), np.int16)


def silence_or_hole(samples: int, rate: int) -> Iterator[np.ndarray | AudioGap]:
    """Silence as zeros, or as one hole where it is longer than LONGEST_SILENCE seconds of `rate` samples."""
    if samples > LONGEST_SILENCE * rate:
        yield AudioGap(samples)
    else:
        yield from silent_blocks(samples)
