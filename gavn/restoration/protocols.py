"""`VideoRestorer`: what restoring asks of a restorer."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from gavn.audio.mfcc import SAMPLE_RATE
from gavn.restoration.degradation import DegradationEstimate
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import Choice

Channels = Literal['rgb', 'bgr']
"""Channel order of frames in memory."""


@runtime_checkable
class VideoRestorer(Protocol):
    """A restorer with given weights (`Restorer`), or one that selects weights (`AutoRestorer`)."""

    @property
    def device(self) -> torch.device | str:
        """Where the networks run."""

    @property
    def dtype(self) -> str:
        """`float32` or `bfloat16`."""

    @property
    def batch(self) -> int | None:
        """Windows per call of the network; None = default of the device."""

    @property
    def compile(self) -> str | None:
        """A mode of `torch.compile`; None = not compiled."""

    @property
    def weights(self) -> dict[str, str]:
        """All files that may be used: path -> SHA-256."""

    def choose_weights(self, estimator: Callable[[], DegradationEstimate], force: bool = False
                       ) -> Choice:
        """Returns what restores the faces of one video.

        Args:
            estimator: returns the degradation of the faces; called only if it is needed.
            force: use the weights even if they are for another kind of degradation.

        Raises:
            TaskError: the weights are certainly for another degradation, and `force` is False.
        """

    def restore_frames(self, frames: Iterable[np.ndarray], fps: float | Fraction,
                       audio: np.ndarray | None = None, *, channels: Channels = 'rgb',
                       sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
        """Restores the faces in consecutive whole frames of one video; see `Restorer.restore_frames`."""
