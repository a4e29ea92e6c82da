"""Replacements of basicsr's video models: VideoBaseModel, EDVRModel and VideoRecurrentModel."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from basicsr.models import edvr_model, sr_model, video_base_model, video_recurrent_model
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import DataLoader

from gavn.basicsr_patches.models_sr_model import CheckedModel
from gavn.registry import replaces_in


class _PortableVideoModel(CheckedModel):
    """Trains and validates on any device, resumed or not."""

    freeze_option: str | None = None
    """Key of `train` with the number of iterations in which some parameters are frozen."""

    def is_frozen(self, name: str) -> bool:
        """Whether the parameter of a name is frozen in these iterations."""
        raise NotImplementedError

    def optimize_parameters(self, current_iter: int) -> None:
        """Defect: basicsr freezes at iteration 1 only, so that a resumed run trains everything."""
        if length := self.opt['train'].get(self.freeze_option):
            for name, parameter in self.get_bare_model(self.net_g).named_parameters():
                parameter.requires_grad_(current_iter >= length or not self.is_frozen(name))
        sr_model.SRModel.optimize_parameters(self, current_iter)

    def nondist_validation(self, *args: Any) -> None:
        """Defect: basicsr warns that this is not implemented, and then does it."""
        self.dist_validation(*args)

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
                        ) -> None:
        """Defect: validation needs a GPU and `metrics`, sizes its table for the first data set only, and
        refuses to save images during training.

        The patch makes the table for each data set on the model's device and saves images.
        """
        metrics = self.opt['val'].setdefault('metrics', None)
        if metrics is not None:
            data_set: Any = dataloader.dataset
            frames: Counter[str] = Counter(data_set.data_info['folder'])
            self.metric_results = {folder: torch.zeros(count, len(metrics), device=self.device)
                                   for folder, count in frames.items()}
        with self._image_names(current_iter):
            super().dist_validation(dataloader, current_iter, tb_logger, save_img)

    @contextmanager
    def _image_names(self, current_iter: int | str) -> Iterator[None]:
        """During training, names of images contain the iteration, as those of SRModel do."""
        opt = self.opt
        if opt['is_train']:
            val = {**opt['val'], 'suffix': str(current_iter)}
            self.opt = {**opt, 'is_train': False, 'name': str(current_iter), 'val': val}
        else:
            opt['val'].setdefault('suffix', None)
        try:
            yield
        finally:
            self.opt = opt


@replaces_in(MODEL_REGISTRY)
class VideoBaseModel(_PortableVideoModel, video_base_model.VideoBaseModel):
    """Trains on windows of frames."""


@replaces_in(MODEL_REGISTRY)
class EDVRModel(_PortableVideoModel, edvr_model.EDVRModel):
    """Until `train.tsa_iter` only the fusion (TSA) module is trained."""

    freeze_option = 'tsa_iter'

    def is_frozen(self, name: str) -> bool:
        """Whether a parameter is outside the fusion module."""
        return 'fusion' not in name


@replaces_in(MODEL_REGISTRY)
class VideoRecurrentModel(_PortableVideoModel, video_recurrent_model.VideoRecurrentModel):
    """Trains on clips. Until `train.fix_flow` the flow network is frozen."""

    freeze_option = 'fix_flow'

    def is_frozen(self, name: str) -> bool:
        """Whether a parameter belongs to the flow network or the feature extractor."""
        return 'spynet' in name or 'edvr' in name

    def feed_data(self, data: dict[str, Any]) -> None:
        """Defect: validation reshapes the batch in place after feeding it.

        On a CPU the model's input is the same tensor and changes too. The patch feeds views.
        """
        super().feed_data({key: value.view_as(value) for key, value in data.items() if key in ('lq', 'gt')})

    def test(self) -> None:
        """Defect: the averaged network is saved, but the trained one is validated.

        The patch validates the averaged network if there is one.
        """
        trained: torch.nn.Module = self.net_g
        self.net_g: torch.nn.Module = getattr(self, 'net_g_ema', trained)
        try:
            super().test()
        finally:
            self.net_g = trained
