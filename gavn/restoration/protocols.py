"""What is asked of a restorer, whether its weights are given (`Restorer`) or chosen (`AutoRestorer`)."""
from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch


@runtime_checkable
class VideoRestorer(Protocol):
    """What `restore_video` takes: `Restorer` and `AutoRestorer` answer the same questions.

    `batch` and `compile` are None where they were left to the device.
    """

    @property
    def device(self) -> torch.device | str:
        """Where the networks run."""

    @property
    def dtype(self) -> str:
        """The number format that they run in: float32 or bfloat16."""

    @property
    def batch(self) -> int | None:
        """Windows of one call."""

    @property
    def compile(self) -> str | None:
        """The mode of torch.compile."""

    @property
    def weights(self) -> dict[str, str]:
        """All files that may be used, with their SHA-256."""

    def restore_frames(self, frames: Iterable[np.ndarray], fps: float | Fraction,
                       audio: np.ndarray | None = None, **choices: Any) -> list[np.ndarray]:
        """Restores the faces in consecutive whole frames of one video, in memory."""
