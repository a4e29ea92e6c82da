"""Patches of basicsr.models.base_model."""
from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from gavn.basicsr_patches.replace import replaces
from gavn.basicsr_patches.training_state import ResumeError, prune_checkpoints, save_atomically


@replaces(BaseModel)
@master_only
def save_network(self: BaseModel, net: nn.Module | list[nn.Module], net_label: str, current_iter: int | str,
                 param_key: str | list[str] = 'params') -> None:
    """Writes weights to `models/<label>_<iteration>.pth`, completely or not at all.

    Defect: basicsr writes in place, so that a killed process leaves half a file, and continues with a warning
    after a failure such as a full disk. The patch raises the error.

    A model may have a method `checkpoint_metadata`. What it returns is stored beside the weights.
    """
    nets = net if isinstance(net, list) else [net]
    keys = param_key if isinstance(param_key, list) else [param_key]
    states: dict[str, Any] = {
        key: {name: value.cpu() for name, value in self.get_bare_model(one).state_dict().items()}
        for one, key in zip(nets, keys, strict=True)}
    states |= self.checkpoint_metadata() if hasattr(self, 'checkpoint_metadata') else {}
    label = 'latest' if current_iter == -1 else current_iter
    path = Path(self.opt['path']['models']) / f'{net_label}_{label}.pth'
    save_atomically(states, path)
    iteration, files = getattr(self, 'saved_files', (current_iter, ()))
    self.saved_files = current_iter, (*(files if iteration == current_iter else ()), path.name)


@replaces(BaseModel)
@master_only
def save_training_state(self: BaseModel, epoch: int, current_iter: int) -> None:
    """Writes the state that resuming needs and removes checkpoints beyond `logger.keep_checkpoints`.

    Defect: basicsr's state does not name its weights, and old checkpoints are never removed. The patch writes
    the state after its weights, lists their files, and stores `checkpoint_metadata` of the model as `notes`.
    """
    if not isinstance(current_iter, int) or current_iter < 0:
        return  # 'latest' or another name: weights only
    iteration, files = getattr(self, 'saved_files', (None, ()))
    state = {'epoch': epoch, 'iter': current_iter,
             'networks': list(files) if iteration == current_iter else [],
             'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
             'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
             'manual_seed': self.opt.get('manual_seed')}
    state |= {'notes': self.checkpoint_metadata()} if hasattr(self, 'checkpoint_metadata') else {}
    save_atomically(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')
    prune_checkpoints(self.opt['path'], self.opt['logger'].get('keep_checkpoints'))


@replaces(BaseModel)
def resume_training(self: BaseModel, resume_state: dict[str, Any]) -> None:
    """Restores the moments of optimizers; schedulers run again from the start.

    Defect: basicsr also restores learning rates, weight decay, milestones and periods, so that changes of the
    option file have no effect. The patch keeps the settings of the option file.

    Raises:
        ResumeError: the state belongs to other optimizers.
    """
    try:
        for optimizer, state in zip(self.optimizers, resume_state['optimizers'], strict=True):
            _restore_optimizer(optimizer, state)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ResumeError(f'the state to resume from does not belong to these optimizers: {error}\n'
                          'give a state of a training with the same options, or start a new run') from error
    if self.schedulers:
        _replay_schedule(self, resume_state['iter'])


def _restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    settings = [{k: v for k, v in group.items() if k != 'params'} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, setting in zip(optimizer.param_groups, settings, strict=True):
        group.update(setting)


def _replay_schedule(model: BaseModel, iterations: int) -> None:
    get_root_logger().info('Replaying the learning rate schedule from the start.')
    warmup = model.opt['train'].get('warmup_iter', -1)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Detected call of `lr_scheduler.step')  # no optimizer step
        for iteration in range(1, iterations + 1):
            model.update_learning_rate(iteration, warmup_iter=warmup)


@replaces(BaseModel)
def model_ema(self: BaseModel, decay: float = 0.999) -> None:
    """Updates the averaged network: weights by exponential moving average, buffers by copying.

    Defect: basicsr does not copy buffers, so that batch normalisation keeps its initial statistics.
    """
    trained = self.get_bare_model(self.net_g)
    with torch.no_grad():
        for averaged, parameter in zip(self.net_g_ema.parameters(), trained.parameters(), strict=True):
            averaged.mul_(decay).add_(parameter, alpha=1 - decay)
        for averaged, buffer in zip(self.net_g_ema.buffers(), trained.buffers(), strict=True):
            averaged.copy_(buffer)


@replaces(BaseModel)
def get_optimizer(self: BaseModel, optim_type: str, params: Iterable[Any], lr: float, **settings: Any
                  ) -> Optimizer:
    """Builds any optimizer of torch.optim.

    Defect: basicsr 1.4.2 accepts Adam only.
    """
    return getattr(torch.optim, optim_type)(params, lr=lr, **settings)


@replaces(BaseModel)
def model_to_device(self: BaseModel, net: nn.Module) -> nn.Module:
    """Moves a network to the device and wraps it for several processes or for `num_gpu` GPUs.

    Defect: basicsr requires a GPU in every process, and DataParallel uses all GPUs whatever `num_gpu` says.
    """
    net = net.to(self.device)
    if self.opt['dist']:
        ids = [torch.cuda.current_device()] if self.device.type == 'cuda' else None
        unused = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=unused)
    count = self.opt['num_gpu']
    return DataParallel(net, device_ids=list(range(count))) if count > 1 else net
