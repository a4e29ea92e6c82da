"""Patch of basicsr.models.lr_scheduler."""
from collections.abc import Callable
from functools import wraps

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR

from gavn.basicsr_patches.replace import wrap


def clamped_get_lr(original: Callable[..., list[float]]) -> Callable[..., list[float]]:
    """Defect: after its last period the cosine schedule raises TypeError.

    The patch keeps the last learning rate.
    """
    @wraps(original)
    def get_lr(self: CosineAnnealingRestartLR) -> list[float]:
        epoch, end = self.last_epoch, self.cumulative_period[-1]
        self.last_epoch = min(epoch, end)
        try:
            return original(self)
        finally:
            self.last_epoch = epoch
    return get_lr


def apply() -> None:
    """Patches CosineAnnealingRestartLR."""
    wrap(CosineAnnealingRestartLR, 'get_lr', clamped_get_lr)
