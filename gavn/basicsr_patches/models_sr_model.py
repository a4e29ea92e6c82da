"""Replacement of basicsr.models.sr_model.SRModel."""
from __future__ import annotations

from typing import Any

import torch
from basicsr.models import sr_model
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from gavn.errors import DataError
from gavn.registry import replaces_in

MAX_SHOWN = 3
"""Images of a validation that tensorboard receives."""


class CheckedModel(BaseModel):
    """What all replaced models share, in front of the model of basicsr."""

    opt: dict[str, Any]
    net_g: nn.Module
    strips: tuple[torch.Tensor, ...] = ()  # of the last validation

    def feed_data(self, data: dict[str, Any]) -> None:
        """Defect: images of different size fail in the loss without a file name.

        The patch raises DataError with the file name. It also accepts a window of frames (n, t, c, h, w) with
        one ground truth frame (n, 1, c, h, w).
        """
        lq, gt = data['lq'], data.get('gt')
        if gt is not None and gt.dim() == lq.dim() == 5 and gt.shape[1] == 1 < lq.shape[1]:
            data = {**data, 'gt': gt[:, 0]}
        if gt is not None and 'lq_path' in data and 'scale' in self.opt:
            _check_sizes(data, self.opt['scale'])
        super().feed_data(data)

    def validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                   save_img: bool = False) -> None:
        """Defect: tensorboard receives numbers only. The patch also sends the first MAX_SHOWN images."""
        data_set: Any = dataloader.dataset
        none: tuple[torch.Tensor, ...] = ()
        self.strips = none
        super().validation(dataloader, current_iter, tb_logger, save_img)
        if tb_logger is None:
            return
        for number, image in enumerate(self.strips):
            tb_logger.add_image(f'{data_set.opt["name"]}/{number}', image, current_iter)

    def get_current_visuals(self) -> dict[str, torch.Tensor]:
        """Input, result and ground truth. Keeps the first ones of a validation."""
        visuals = super().get_current_visuals()
        if len(self.strips) < MAX_SHOWN:
            self.strips = (*self.strips, image_strip(visuals))
        return visuals


@replaces_in(MODEL_REGISTRY)
class SRModel(CheckedModel, sr_model.SRModel):
    """Trains on images."""


def _check_sizes(data: dict[str, Any], scale: int) -> None:
    (height, width), gt_size = data['lq'].shape[-2:], data['gt'].shape[-2:]
    if gt_size != (height * scale, width * scale):
        path = data['lq_path'] if isinstance(data['lq_path'], str) else data['lq_path'][0]
        raise DataError(f'{path}: the image is {width}x{height} pixels, its ground truth {gt_size[1]}x'
                        f'{gt_size[0]}; with scale: {scale} that must be {width * scale}x{height * scale}')


def image_strip(visuals: dict[str, torch.Tensor]) -> torch.Tensor:
    """Input, result and ground truth of the first image side by side.

    Args:
        visuals: `lq`, `result` and maybe `gt`, each (..., c, h, w). Of a window with one result the middle
            frame is shown.

    Returns:
        (3, h, 2w or 3w) in [0, 1], all images at the size of the last one.
    """
    lq = visuals['lq']
    if lq.dim() == 5 and visuals['result'].dim() == 4:
        lq = lq[:, lq.shape[1] // 2]
    images = [lq, *(visuals[key] for key in ('result', 'gt') if key in visuals)]
    first = [image.flatten(0, -4)[:1].float().cpu().clamp(0, 1) for image in images]
    size = first[-1].shape[-2:]
    return torch.cat([interpolate(image, size, mode='nearest') for image in first], -1)[0]
