"""Estimate of the restoration time, measured on the network before a long run."""
from __future__ import annotations

import time

import numpy as np

from gavn.faces.geometry import CROP_SIZE
from gavn.restoration.face_clip import CropRestorer

WORTH_TELLING = 60  # seconds
_MIN_CROPS = 200  # measuring takes less than a tenth of the time of so many crops
_MIN_CALLS = 10  # the same, in calls of the network


def seconds_for(restorer: CropRestorer, crops: int) -> float | None:
    """Estimates the seconds that the network takes for `crops` crops; None if there are only a few."""
    if crops < max(_MIN_CROPS, _MIN_CALLS * restorer.chunk_size):
        return None
    return crops * _seconds_per_crop(restorer)


def format_duration(seconds: float) -> str:
    """Formats a duration as in `40 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f'{seconds:.0f} seconds'
    return f'{seconds / 60:.0f} minutes' if seconds < 5400 else f'{seconds / 3600:.1f} hours'


def _seconds_per_crop(restorer: CropRestorer) -> float:
    """Times one full call, after a warm-up call where the first is slower (GPU, compilation)."""
    crops = [np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)] * restorer.chunk_size
    if restorer.device.type != 'cpu' or restorer.compile:
        _restore_all(restorer, crops)
    started = time.monotonic()
    _restore_all(restorer, crops)
    return (time.monotonic() - started) / len(crops)


def _restore_all(restorer: CropRestorer, crops: list[np.ndarray]) -> None:
    for _ in restorer.residuals(crops):
        pass
