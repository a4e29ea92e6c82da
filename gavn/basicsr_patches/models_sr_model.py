"""Replacement of basicsr.models.sr_model.SRModel."""
from __future__ import annotations

from typing import Any

from basicsr.models import sr_model
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import MODEL_REGISTRY

from gavn.errors import DataError
from gavn.registry import replaces_in


class CheckedModel(BaseModel):
    """What all replaced models share, in front of the model of basicsr."""

    opt: dict[str, Any]

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


@replaces_in(MODEL_REGISTRY)
class SRModel(CheckedModel, sr_model.SRModel):
    """Trains on images."""


def _check_sizes(data: dict[str, Any], scale: int) -> None:
    (height, width), gt_size = data['lq'].shape[-2:], data['gt'].shape[-2:]
    if gt_size != (height * scale, width * scale):
        path = data['lq_path'] if isinstance(data['lq_path'], str) else data['lq_path'][0]
        raise DataError(f'{path}: the image is {width}x{height} pixels, its ground truth {gt_size[1]}x'
                        f'{gt_size[0]}; with scale: {scale} that must be {width * scale}x{height * scale}')
