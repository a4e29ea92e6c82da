"""A restorer that selects pretrained weights for each video by the degradation of its faces."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from gavn.audio.mfcc import SAMPLE_RATE
from gavn.checkpoints import pretrained
from gavn.errors import ArgumentError
from gavn.restoration.degradation import DegradationEstimate
from gavn.restoration.in_memory import restore_in_memory
from gavn.restoration.protocols import Channels
from gavn.restoration.restorer import AUTO, Restorer, check_computation
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import FAST, FOR_ALL, QUALITIES, Choice, select_weights
from gavn.runtime.devices import default_dtype, find_device
from gavn.runtime.files import sha256


@dataclass
class AutoRestorer:
    """Selects pretrained weights for each video. Use it in place of a `Restorer`.

    Attributes:
        device: see `Restorer`.
        dtype: see `Restorer`.
        batch: see `Restorer`.
        compile: see `Restorer`.
        quality: `best`, or `fast`: the weights `mixed` for every kind of degradation.

    Raises:
        ArgumentError: `quality` is not one of these, or another argument is wrong; see `Restorer`.
        DeviceError: the device is not available.
    """

    device: str = 'auto'
    dtype: str = AUTO
    batch: int | None = None
    compile: str | None = None
    quality: str = 'best'
    _loaded: dict[str, Restorer] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ArgumentError(f'quality {self.quality!r} is not one of {", ".join(QUALITIES)}')
        check_computation(self.dtype, self.batch, self.compile)
        device = find_device(self.device)
        self.device, self.dtype = str(device), default_dtype(device) if self.dtype == AUTO else self.dtype

    @cached_property
    def weights(self) -> dict[str, str]:
        """The weight files to select from: path -> SHA-256."""
        names = [FOR_ALL] if self.quality == FAST else pretrained.list_pretrained()
        files = map(pretrained.weights_of, names)
        return {str(file): sha256(file) for file in files}

    def named(self, name: str) -> Restorer:
        """Returns the restorer with the pretrained weights `name`; loads it on first use."""
        if name not in self._loaded:
            self._loaded[name] = Restorer.from_pretrained(
                name, self.device, self.dtype, self.batch, self.compile)
        return self._loaded[name]

    def choose_weights(self, estimator: Callable[[], DegradationEstimate], force: bool = False
                       ) -> Choice:
        """Selects the weights that suit the degradation, whatever `force` says."""
        return select_weights(self.named, estimator(), self.quality)

    def restore_frames(self, frames: Iterable[np.ndarray], fps: float | Fraction,
                       audio: np.ndarray | None = None, *, channels: Channels = 'rgb',
                       sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
        """Restores whole frames with the selected weights; see `Restorer.restore_frames`."""
        return restore_in_memory(self, frames, fps, audio, channels, sample_rate, settings)
