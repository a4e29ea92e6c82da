"""Patch of basicsr.models.lr_scheduler."""
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR

from gavn.basicsr_patches.replace import replaces

_original = CosineAnnealingRestartLR.get_lr


@replaces(CosineAnnealingRestartLR)
def get_lr(self: CosineAnnealingRestartLR) -> list[float]:
    """Defect: after its last period the cosine schedule raises TypeError.

    The patch keeps the last learning rate.
    """
    epoch, end = self.last_epoch, self.cumulative_period[-1]
    self.last_epoch = min(epoch, end)
    try:
        return _original(self)
    finally:
        self.last_epoch = epoch
