"""The models and schedules that come with BasicSR, made to do what their options say on any device."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.edvr_model import EDVRModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR
from basicsr.models.sr_model import SRModel
from basicsr.models.video_base_model import VideoBaseModel
from basicsr.models.video_recurrent_model import VideoRecurrentModel
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader


def model_ema(self: BaseModel, decay: float = 0.999) -> None:
    """Moves the averaged network towards the trained one; buffers are copied.

    Stock leaves buffers alone: batch normalisation of the averaged network keeps the statistics of the start.
    """
    trained = self.get_bare_model(self.net_g)
    with torch.no_grad():
        for averaged, parameter in zip(self.net_g_ema.parameters(), trained.parameters(), strict=True):
            averaged.mul_(decay).add_(parameter, alpha=1 - decay)
        for averaged, buffer in zip(self.net_g_ema.buffers(), trained.buffers(), strict=True):
            averaged.copy_(buffer)


def get_optimizer(self: BaseModel, optim_type: str, params: Iterable[Any], lr: float, **settings: Any
                  ) -> Optimizer:
    """Any optimizer of torch.optim; stock 1.4.2 knows Adam alone."""
    return getattr(torch.optim, optim_type)(params, lr=lr, **settings)


def clamp_cosine(stock_lr: Callable[..., list[float]]) -> Callable[..., list[float]]:
    """Past its last period a cosine schedule stays where that ended; stock raises TypeError."""
    @wraps(stock_lr)
    def get_lr(self: CosineAnnealingRestartLR) -> list[float]:
        reached, end = self.last_epoch, self.cumulative_period[-1]
        self.last_epoch = min(reached, end)
        try:
            return stock_lr(self)
        finally:
            self.last_epoch = reached
    return get_lr


def train_while(frozen: Callable[[str], bool], length_option: str) -> Callable[..., None]:
    """An optimize_parameters that freezes the parameters `frozen` names before iteration `length_option`.

    Stock freezes at iteration 1 only, so that a resumed run trains everything at once.
    """
    def optimize_parameters(self: SRModel, current_iter: int) -> None:
        length = self.opt['train'].get(length_option)
        if length:
            _freeze(self.get_bare_model(self.net_g), frozen, current_iter < length)
        super(VideoBaseModel, self).optimize_parameters(current_iter)
    return optimize_parameters


def _freeze(network: nn.Module, frozen: Callable[[str], bool], early: bool) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (early and frozen(name)))


def validate_anywhere(stock: Callable[..., None]) -> Callable[..., None]:
    """Validation of the stock video models on any device, for any number of data sets, also of pictures.

    Stock puts the metrics on a GPU, makes their table once for the first data set, demands `metrics`, and
    refuses to save pictures during training.
    """
    @wraps(stock)
    def dist_validation(self: VideoBaseModel, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                        save_img: bool) -> None:
        metrics = self.opt['val'].setdefault('metrics', None)
        if metrics is not None:
            frames = Counter(dataloader.dataset.data_info['folder'])
            self.metric_results = {folder: torch.zeros(count, len(metrics), device=self.device)
                                   for folder, count in frames.items()}
        with _pictures_named(self, current_iter):
            stock(self, dataloader, current_iter, tb_logger, save_img)
    return dist_validation


@contextmanager
def _pictures_named(model: VideoBaseModel, current_iter: int | str) -> Iterator[None]:
    """During training, pictures carry the iteration in their names, as SRModel's do."""
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


def feed_clip(self: VideoRecurrentModel, data: dict[str, Any]) -> None:
    """Takes a batch under tensors of its own: stock validation reshapes the data in place after feeding it.

    On a CPU, where moving to the device copies nothing, that reshapes the model's input as well.
    """
    SRModel.feed_data(self, {key: value.view_as(value) for key, value in data.items() if key in ('lq', 'gt')})


def nondist_validation(self: VideoBaseModel, *args: Any) -> None:
    """The same as in several processes; stock warns that it is not implemented, and then does this."""
    self.dist_validation(*args)


def test_averaged(stock: Callable[..., None]) -> Callable[..., None]:
    """Tests the averaged network where there is one; VideoRecurrentModel saves it but tests the other."""
    @wraps(stock)
    def test(self: VideoRecurrentModel) -> None:
        trained = self.net_g
        self.net_g = getattr(self, 'net_g_ema', trained)
        try:
            stock(self)
        finally:
            self.net_g = trained
    return test


def install() -> None:
    """Puts the functions of this file in the place of the stock ones."""
    BaseModel.model_ema = model_ema
    BaseModel.get_optimizer = get_optimizer
    CosineAnnealingRestartLR.get_lr = clamp_cosine(CosineAnnealingRestartLR.get_lr)
    EDVRModel.optimize_parameters = train_while(lambda name: 'fusion' not in name, 'tsa_iter')
    VideoRecurrentModel.optimize_parameters = train_while(
        lambda name: 'spynet' in name or 'edvr' in name, 'fix_flow')
    VideoRecurrentModel.feed_data = feed_clip
    VideoRecurrentModel.test = test_averaged(VideoRecurrentModel.test)
    VideoBaseModel.nondist_validation = nondist_validation
    for model in (VideoBaseModel, VideoRecurrentModel):
        model.dist_validation = validate_anywhere(model.dist_validation)
