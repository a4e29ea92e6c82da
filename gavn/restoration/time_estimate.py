"""How long restoring will take, measured on the networks before a long run."""
from __future__ import annotations

import time

import numpy as np

from gavn.faces.geometry import CROP_SIZE
from gavn.restoration.restorer import Restorer

WORTH_TELLING = 60  # seconds
_FEWEST = 200  # crops; measuring takes less than a tenth of the time of these
_SHARE = 10  # calls, of which one is measured


def seconds_for(restorer: Restorer, crops: int) -> float | None:
    """About how many seconds the networks will take for so many crops; None for a few, which just begin."""
    if crops < max(_FEWEST, _SHARE * restorer.together):
        return None
    return crops * _seconds_a_crop(restorer)


def in_words(seconds: float) -> str:
    """As in `40 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f'{seconds:.0f} seconds'
    return f'{seconds / 60:.0f} minutes' if seconds < 5400 else f'{seconds / 3600:.1f} hours'


def _seconds_a_crop(restorer: Restorer) -> float:
    """Of one full call; what only the first call does, as compiling, is done before."""
    crops = [np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)] * restorer.together
    if restorer.device.type != 'cpu' or restorer.compile:
        _all(restorer, crops)
    started = time.monotonic()
    _all(restorer, crops)
    return (time.monotonic() - started) / len(crops)


def _all(restorer: Restorer, crops: list[np.ndarray]) -> None:
    for _ in restorer.residuals(crops):
        pass
