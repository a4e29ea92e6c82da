"""Patches of basicsr.models.video_recurrent_model."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from basicsr.models.sr_model import SRModel
from basicsr.models.video_recurrent_model import VideoRecurrentModel

from gavn.basicsr_patches.models_video_base_model import optimize_with_frozen, validation_on_any_device
from gavn.basicsr_patches.replace import wrap


def feed_clip(self: VideoRecurrentModel, data: dict[str, Any]) -> None:
    """Defect: validation reshapes the batch in place after feeding it.

    On a CPU the model's input is the same tensor and changes too. The patch feeds views.
    """
    SRModel.feed_data(self, {key: value.view_as(value) for key, value in data.items() if key in ('lq', 'gt')})


def test_averaged(original: Callable[..., None]) -> Callable[..., None]:
    """Defect: the averaged network is saved, but the trained one is validated.

    The patch validates the averaged network where there is one.
    """
    @wraps(original)
    def test(self: VideoRecurrentModel) -> None:
        trained = self.net_g
        self.net_g = getattr(self, 'net_g_ema', trained)
        try:
            original(self)
        finally:
            self.net_g = trained
    return test


def apply() -> None:
    """Patches VideoRecurrentModel: until `train.fix_flow` the flow network is frozen, and more."""
    VideoRecurrentModel.optimize_parameters = optimize_with_frozen(
        lambda name: 'spynet' in name or 'edvr' in name, 'fix_flow')
    VideoRecurrentModel.feed_data = feed_clip
    wrap(VideoRecurrentModel, 'test', test_averaged)
    wrap(VideoRecurrentModel, 'dist_validation', validation_on_any_device)
