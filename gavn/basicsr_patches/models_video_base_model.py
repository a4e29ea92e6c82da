"""Patches of basicsr.models.video_base_model, and of its subclasses."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.models.video_base_model import VideoBaseModel
from torch.utils.data import DataLoader

from gavn.basicsr_patches.replace import wrap


def optimize_with_frozen(is_frozen: Callable[[str], bool], length_option: str) -> Callable[..., None]:
    """Makes an `optimize_parameters` that freezes some parameters before iteration `train.<length_option>`.

    Defect: basicsr freezes at iteration 1 only, so that a resumed run trains everything.

    Args:
        is_frozen: whether the parameter of a name is frozen.
        length_option: key of `train` with the number of iterations.
    """
    def optimize_parameters(self: SRModel, current_iter: int) -> None:
        length = self.opt['train'].get(length_option)
        if length:
            for name, parameter in self.get_bare_model(self.net_g).named_parameters():
                parameter.requires_grad_(current_iter >= length or not is_frozen(name))
        super(VideoBaseModel, self).optimize_parameters(current_iter)
    return optimize_parameters


def validation_on_any_device(original: Callable[..., None]) -> Callable[..., None]:
    """Defect: validation needs a GPU and `metrics`, sizes its table for the first data set only, and refuses
    to save images during training.

    The patch makes the table for each data set on the model's device and saves images.
    """
    @wraps(original)
    def dist_validation(self: VideoBaseModel, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                        save_img: bool) -> None:
        metrics = self.opt['val'].setdefault('metrics', None)
        if metrics is not None:
            frames = Counter(dataloader.dataset.data_info['folder'])
            self.metric_results = {folder: torch.zeros(count, len(metrics), device=self.device)
                                   for folder, count in frames.items()}
        with _image_names(self, current_iter):
            original(self, dataloader, current_iter, tb_logger, save_img)
    return dist_validation


@contextmanager
def _image_names(model: VideoBaseModel, current_iter: int | str) -> Iterator[None]:
    """During training, names of images contain the iteration, as those of SRModel do."""
    opt = model.opt
    if opt['is_train']:
        val = {**opt['val'], 'suffix': str(current_iter)}
        model.opt = {**opt, 'is_train': False, 'name': str(current_iter), 'val': val}
    else:
        opt['val'].setdefault('suffix', None)
    try:
        yield
    finally:
        model.opt = opt


def apply() -> None:
    """Patches VideoBaseModel."""
    wrap(VideoBaseModel, 'dist_validation', validation_on_any_device)
