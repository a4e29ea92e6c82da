"""The models and schedules that come with BasicSR, made to do what their options say on any device."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import basicsr.metrics
import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.edvr_model import EDVRModel
from basicsr.models.hifacegan_model import HiFaceGANModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.models.sr_model import SRModel
from basicsr.models.video_base_model import VideoBaseModel
from basicsr.models.video_recurrent_model import VideoRecurrentModel
from basicsr.utils.registry import METRIC_REGISTRY
from torch import nn
from torch.nn.functional import interpolate
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from gavn.basicsr_patches.reading import replace_everywhere
from gavn.errors import DataError
from gavn.metrics.registered_calls import call_metric

SHOWN = 3  # pictures of a validation that tensorboard is shown


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


def feed_pictures(stock: Callable[..., None]) -> Callable[..., None]:
    """Takes a batch of stock data sets or of ours; stock knows no window that has one true frame.

    Raises DataError, naming the file, for a picture of another size than the true one: stock tells of two
    shapes alone.
    """
    @wraps(stock)
    def feed_data(self: SRModel, data: dict[str, Any]) -> None:
        lq, gt = data['lq'], data.get('gt')
        if gt is not None and gt.dim() == lq.dim() == 5 and gt.shape[1] == 1 < lq.shape[1]:
            data = {**data, 'gt': gt[:, 0]}
        if gt is not None and 'lq_path' in data and 'scale' in self.opt:
            _check_sizes(data, self.opt['scale'])
        stock(self, data)
    return feed_data


def _check_sizes(data: dict[str, Any], scale: int) -> None:
    (height, width), true = data['lq'].shape[-2:], data['gt'].shape[-2:]
    if true != (height * scale, width * scale):
        path = data['lq_path'] if isinstance(data['lq_path'], str) else data['lq_path'][0]
        raise DataError(f'{path}: it is {width}x{height} pixels, the true picture {true[1]}x{true[0]}; by '
                        f'scale: {scale} that should be {width * scale}x{height * scale}')


def calculate_metric(data: dict[str, Any], opt: dict[str, Any]) -> float:
    """The number of a registered metric; stock hands those that end in `_pt` pictures, not tensors."""
    options = {key: value for key, value in opt.items() if key not in ('type', 'better')}
    return call_metric(METRIC_REGISTRY.get(opt['type']), data, options)


def shown_validation(stock: Callable[..., None]) -> Callable[..., None]:
    """Validation that also shows tensorboard the first pictures; stock shows it numbers alone."""
    @wraps(stock)
    def validation(self: BaseModel, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                   save_img: bool = False) -> None:
        if tb_logger is None:
            stock(self, dataloader, current_iter, tb_logger, save_img)
            return
        strips, visuals = [], self.get_current_visuals

        def remember() -> dict[str, Any]:
            found = visuals()
            if len(strips) < SHOWN:
                strips.append(strip(found))
            return found
        self.get_current_visuals = remember
        try:
            stock(self, dataloader, current_iter, tb_logger, save_img)
        finally:
            del self.get_current_visuals
        for number, picture in enumerate(strips):
            tb_logger.add_image(f'{dataloader.dataset.opt["name"]}/{number}', picture, current_iter)
    return validation


def strip(visuals: dict[str, torch.Tensor]) -> torch.Tensor:
    """Lq, result and gt of the first picture beside each other, (3, h, w) in [0, 1], at the size of the last.

    Of a window with one result it is the middle one.
    """
    lq = visuals['lq']
    if lq.dim() == 5 and visuals['result'].dim() == 4:
        lq = lq[:, lq.shape[1] // 2]
    pictures = [lq, *(visuals[key] for key in ('result', 'gt') if key in visuals)]
    first = [picture.flatten(0, -4)[:1].float().cpu().clamp(0, 1) for picture in pictures]
    size = first[-1].shape[-2:]
    return torch.cat([interpolate(picture, size, mode='nearest') for picture in first], -1)[0]


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
    SRModel.feed_data = feed_pictures(SRModel.feed_data)
    for model in (SRModel, EDVRModel, VideoBaseModel, VideoRecurrentModel):
        model.feeds_plainly = True
    for model in (RealESRNetModel, RealESRGANModel, HiFaceGANModel):
        model.feeds_plainly = False
    BaseModel.validation = shown_validation(BaseModel.validation)
    replace_everywhere(basicsr.metrics.calculate_metric, calculate_metric)
    for model in (VideoBaseModel, VideoRecurrentModel):
        model.dist_validation = validate_anywhere(model.dist_validation)
