"""Checkpoints: whole or absent, few, and found again."""
from __future__ import annotations

import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from gavn.checkpoints.safe_files import CheckpointError, existing, read_pickle
from gavn.config.check import section_problems
from gavn.errors import RunError
from gavn.runtime.files import atomic_path

_MIB = 2**20
_NUMBERED = re.compile(r'(\d+)\.state')


class ResumeError(RunError):
    """A run cannot go on from the state it was told to; the message says what is missing."""


@master_only
def save_network(self: BaseModel, net: nn.Module | list[nn.Module], net_label: str, current_iter: int | str,
                 param_key: str | list[str] = 'params') -> None:
    """Writes weights, `models/<label>_<iteration>.pth`, whole or not at all.

    Stock writes in place, so that a kill leaves half a file, and goes on after a failure (full disk) with
    nothing but a warning. Here the error is raised. A model may have a method `notes`: what it returns is
    written beside the weights.
    """
    nets, keys = ([item] if not isinstance(item, list) else item for item in (net, param_key))
    states = {key: {name: value.cpu() for name, value in self.get_bare_model(one).state_dict().items()}
              for one, key in zip(nets, keys, strict=True)}
    states |= self.notes() if hasattr(self, 'notes') else {}
    path = Path(self.opt['path']['models']) / f'{net_label}_{_name(current_iter)}.pth'
    _write(states, path)
    written = getattr(self, 'written', (current_iter, ()))
    self.written = current_iter, (*(written[1] if written[0] == current_iter else ()), path.name)


@master_only
def save_training_state(self: BaseModel, epoch: int, current_iter: int) -> None:
    """Writes what resuming needs, after the weights of the same iteration, and names those in it.

    A state is therefore never without its weights. As `notes` it holds what the model's method of that name
    returns, if there is one. Then prunes to `logger.keep_checkpoints`.
    """
    if not isinstance(current_iter, int) or current_iter < 0:
        return  # 'latest' or another name: weights alone
    iteration, files = getattr(self, 'written', (None, ()))
    state = {'epoch': epoch, 'iter': current_iter,
             'networks': list(files) if iteration == current_iter else [],
             'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
             'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
             'manual_seed': self.opt.get('manual_seed')}
    state |= {'notes': self.notes()} if hasattr(self, 'notes') else {}
    _write(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')
    prune(self.opt['path'], self.opt['logger'].get('keep_checkpoints'))


def _write(content: dict[str, Any], path: Path) -> None:
    """Raises OSError, with the file, where the disk is full; torch itself tells of an unexpected position."""
    with atomic_path(path) as part, part.open('wb') as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def check_room(model: BaseModel, opt: dict[str, Any]) -> None:
    """Raises RunError where the disk of a run has no room for one checkpoint: told now, not hours later."""
    network = getattr(model, 'net_g', None)
    if network is None or opt['rank'] != 0:
        return
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    copies = 3 + hasattr(model, 'net_g_ema')  # weights, and two moments of each number in the state
    folder = opt['path']['experiments_root']
    free = shutil.disk_usage(folder).free
    if free < copies * weights:
        raise RunError(f'{folder}: its disk has {free / _MIB:.0f} MiB left, a checkpoint takes about '
                       f'{copies * weights / _MIB:.0f} MiB; make room, or name another path.experiments_root')


def _name(current_iter: int | str) -> int | str:
    return 'latest' if current_iter == -1 else current_iter


def prune(paths: dict[str, str], keep: int | None) -> None:
    """Removes what is older than the newest `keep` whole numbered checkpoints.

    A damaged one does not count: it must not crowd out one that a run can go on from. Weights go before their
    state, so that what a kill leaves in between is found and removed next time.
    """
    if keep is None:
        return
    models, whole = Path(paths['models']), 0
    for iteration, state in sorted(_states(Path(paths['training_states'])), reverse=True):
        files = [*models.glob(f'*_{iteration}.pth'), state]
        if whole >= keep:
            for path in files:
                path.unlink()
        elif len(files) > 1 and all(zipfile.is_zipfile(path) for path in files):
            whole += 1


def remove_parts(*folders: str) -> None:
    """Removes the unfinished files that a killed process left."""
    for folder in folders:
        for part in Path(folder).glob('.*.part.*'):
            part.unlink(missing_ok=True)


def _states(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob('*.state'):
        if match := _NUMBERED.fullmatch(path.name):
            yield int(match[1]), path


def newest_complete(folder: Path, networks: list[str]) -> Path | None:
    """The newest state of a folder that can be resumed from; None where there is none.

    Stock looks in ./experiments whatever the root of the run is, and takes a truncated file for a good one.
    """
    for _, path in sorted(_states(folder), reverse=True):
        missing = incomplete(path, networks)
        if not missing:
            return path
        print(f'WARNING: {path} is passed over: {missing}', flush=True)  # too early for the run's log
    return None


def incomplete(state: Path, networks: list[str]) -> str:
    """What keeps a run from resuming from a state; empty if nothing does."""
    if not zipfile.is_zipfile(state):  # torch's files are archives, and the end of one is its directory
        return f'{state} is missing or cut short'
    try:
        names = weights_of(load_state(state), networks)
    except ResumeError as error:
        return str(error)
    for name in names:
        if not zipfile.is_zipfile(weights_folder(state) / name):
            return f'its weights {weights_folder(state) / name} are missing or cut short'
    return ''


def weights_folder(state: str | os.PathLike[str]) -> Path:
    """The folder of the weights that belong to a state."""
    return Path(state).absolute().parents[1] / 'models'


def weights_of(state: dict[str, Any], networks: list[str]) -> list[str]:
    """File names of the weights that belong to a state; one written by stock BasicSR does not name them."""
    stock = [f'net_{name.removeprefix("network_")}_{state["iter"]}.pth' for name in networks]
    return state.get('networks') or stock


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A training state on the CPU, whatever it was saved on; runs no code that a file might hold.

    Raises ResumeError for a file that is damaged, holds pickled objects or is no training state.
    """
    try:
        state = dict(read_pickle(existing(path)))
    except CheckpointError as error:
        raise ResumeError(str(error)) from error
    if problems := section_problems(state, _State, 'the state'):
        raise ResumeError(f'{path} is no training state: {"; ".join(problems[:4])}\n'
                          'give a file of training_states that training wrote')
    return state


@dataclass
class _State:
    """What `save_training_state` writes; a state of stock BasicSR lacks what has a default."""

    epoch: int
    iter: int
    optimizers: list[dict]
    schedulers: list[dict]
    networks: list[str] | None = None
    notes: dict | None = None
    manual_seed: int | None = None


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The state to resume from: the newest complete one with --auto_resume, else path.resume_state.

    Stock needs a GPU here. Raises ResumeError where the named state is incomplete.
    """
    networks = [name for name in opt if name.startswith('network_') and name != 'network_inputs']
    found = newest_complete(Path(opt['path']['training_states']), networks) if opt['auto_resume'] else None
    path = str(found) if found else opt['path'].get('resume_state')
    if path is None:
        return None
    if missing := incomplete(Path(path), networks):
        raise ResumeError(f'cannot resume from {path}: {missing}')
    opt['path']['resume_state'] = path
    state = load_state(path)
    point_at_weights(opt, state, networks)
    return state


def point_at_weights(opt: dict[str, Any], state: dict[str, Any], networks: list[str]) -> None:
    """Sets path.pretrain_network_* to the weights beside a state; networks saved nowhere keep what is set.

    Stock looks for them in the folder of the present run, though the state may be another run's.
    """
    paths = opt['path']
    for network in networks:
        name = f'net_{network.removeprefix("network_")}_{state["iter"]}.pth'
        weights = weights_folder(paths['resume_state']) / name
        if weights.is_file() and network not in (paths.get('ignore_resume_networks') or ()):
            paths[f'pretrain_{network}'] = str(weights)
    for key in [key for key in paths if key.startswith('param_key') and paths[key] == 'params_ema']:
        paths[key] = 'params'  # the weights that were trained; models load the averaged ones beside them


def resume_training(self: BaseModel, resume_state: dict[str, Any]) -> None:
    """Restores what optimizers and schedulers have come to know, under the options of today's file.

    Stock restores learning rates, weight decay, milestones and periods as well, so that changes of the option
    file go unheard. Schedulers are run again from the start, with the file's settings.

    Raises ResumeError for a state of other optimizers.
    """
    try:
        for optimizer, state in zip(self.optimizers, resume_state['optimizers'], strict=True):
            _restore_optimizer(optimizer, state)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ResumeError(f'the state to resume from is not one of these optimizers: {error}\n'
                          'give one of a training with the same options, or begin anew') from error
    if self.schedulers:
        _replay_schedule(self, resume_state['iter'])


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    settings = [{k: v for k, v in group.items() if k != 'params'} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, setting in zip(optimizer.param_groups, settings, strict=True):
        group.update(setting)


def _replay_schedule(model: BaseModel, iterations: int) -> None:
    get_root_logger().info('Running the learning rate schedule from the start.')
    warmup = model.opt['train'].get('warmup_iter', -1)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Detected call of `lr_scheduler.step')  # without optimizer
        for iteration in range(1, iterations + 1):
            model.update_learning_rate(iteration, warmup_iter=warmup)


def install() -> None:
    """Puts the functions of this file in the place of BaseModel's methods."""
    BaseModel.save_network = save_network
    BaseModel.save_training_state = save_training_state
    BaseModel.resume_training = resume_training
