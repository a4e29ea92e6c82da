"""Training in phases for any network and loss."""
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import reduce
from operator import add
from typing import Any

import torch
import torch.distributed as dist
from basicsr.losses import build_loss
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gavn.checkpoints.checkpoint import BUDGET, load_state, load_strict
from gavn.config.option_file import OptionError, option_errors
from gavn.config.sections import PhasedTrainOptions
from gavn.models.budget import Budget
from gavn.models.parameter_groups import parameter_groups, train_only
from gavn.models.schedule import Phase, Schedule
from gavn.models.training_checks import check_health, check_phases, read_offsets
from gavn.models.training_memory import peak_memory
from gavn.runtime.devices import SLOW_BFLOAT16, has_bfloat16

PRECISIONS = {'none': None, 'bf16': torch.bfloat16}


class PhasedModel(BaseModel):
    """A model whose phase, learning rate and frozen parts depend on the iteration only (see `Schedule`).

    The optimizer keeps its moments when the phase changes, also those of frozen parameters. The trained
    network is `net_g`. A subclass builds it, calls `prepare_training` and implements `_save_networks` and,
    with `step`, `optimize_parameters`.
    """

    TrainOptions = PhasedTrainOptions  # schema of section `train`
    net_g: nn.Module
    net_g_ema: nn.Module

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.iteration = 0
        self.budget = Budget({})
        self.log_dict: dict[str, Tensor] = {}
        self.precision = PRECISIONS[(opt.get('train') or {}).get('amp', 'none')]
        if self.precision is torch.bfloat16 and not has_bfloat16(self.device):
            get_root_logger().warning(f'train.amp: {SLOW_BFLOAT16}; give --force_yml train:amp=none')
        self._phase: Phase | None = None

    def prepare_training(self, network: nn.Module) -> None:
        """Builds schedule, loss and optimizer. Raises OptionError if options are missing or wrong."""
        options = self.opt['train']
        if missing := [key for key in ('pixel_opt', 'optim_g') if not options.get(key)]:
            raise OptionError(f'{type(self).__name__} needs train.{", train.".join(missing)}')
        with option_errors('train'):
            self.schedule = Schedule.from_options(options)
        check_phases(network, self.schedule.phases)
        self._compare_lengths(options.get('total_iter'))
        with option_errors('train.pixel_opt'):
            self.criterion = build_loss(options['pixel_opt']).to(self.device)
        self.ema_decay = options.get('ema_decay', 0)
        with option_errors('train.optim_g'):
            self.optimizer_g = self._build_optimizer(network, dict(options['optim_g']))
        self.optimizers.append(self.optimizer_g)
        network.train()

    def _compare_lengths(self, total: int | None) -> None:
        """Warns where the phases do not add up to the length of the training."""
        if total is not None and total != self.schedule.total:
            last = self.schedule.phase(total).name
            get_root_logger().warning(
                f'train.phases last {self.schedule.total:,} iterations, train.total_iter is {total:,}: '
                f'training ends in the phase {last}')

    def _build_optimizer(self, network: nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
        options = self.opt['train']
        groups = parameter_groups(network, options.get('dcn_lr_mul', 1), options.get('flow_lr_mul', 1))
        self.lr_factors = [factor for _, factor in groups]
        return self.get_optimizer(settings.pop('type'), [{'params': p} for p, _ in groups],
                                  **{**settings, 'lr': self.schedule.lr(1)})

    def start_averaging(self, network: nn.Module, part: str = '', file: str | None = None) -> None:
        """Makes the averaged network `net_g_ema` if `train.ema_decay` is above 0.

        Args:
            network: whose weights the average starts from.
            part: submodule that takes the averaged weights of a resumed run; empty: the whole network.
            file: of these weights.
        """
        if self.ema_decay <= 0:
            return
        self.net_g_ema = deepcopy(network).eval().requires_grad_(False)
        if self.opt['path'].get('resume_state'):
            assert file is not None, 'resuming sets the paths of weights'
            load_strict(self.net_g_ema.get_submodule(part), load_state(file, 'params_ema'), file)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restores the optimizer's moments, iteration and budget. Settings stay those of the option file."""
        super().resume_training(resume_state)
        self.iteration = resume_state['iter']
        self.budget = Budget((resume_state.get('notes') or {}).get(BUDGET))
        self._enter(self.schedule.phase(self.iteration))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets phase and learning rate of this iteration. `warmup_iter` is part of the schedule already."""
        self.iteration = current_iter
        self._enter(self.schedule.phase(current_iter))
        lr = self.schedule.lr(current_iter)
        self._set_lr([[lr * factor for factor in self.lr_factors]])

    def _enter(self, phase: Phase) -> None:
        """Freezes parameters and wraps the network again: DDP expects gradients of all trainable ones."""
        if phase == self._phase:
            return
        network = self.get_bare_model(self.net_g)
        self.net_g = network  # drops the old wrapper and its hooks
        count = train_only(network, phase, self._idle(network, phase))
        self.net_g = self.model_to_device(network)
        self._phase = phase
        trained = ', '.join(phase.train) or 'all'
        frozen = f' but {", ".join(phase.freeze)}' if phase.freeze else ''
        get_root_logger().info(f'Phase {phase.name}, iterations {phase.start + 1:,} to {phase.end:,}: lr '
                               f'{self.schedule.full_lr(phase.start + 1):g}, {count:,} parameters '
                               f'({trained}{frozen})')

    def _idle(self, network: nn.Module, phase: Phase) -> set[str]:
        """Names of parameters that the network does not use in a phase."""
        return set()

    def step(self, *parts: Callable[[], dict[str, Tensor]]) -> None:
        """Makes one optimizer step on the sum of the losses, averaged over equal parts of the batch.

        Args:
            *parts: functions that return the losses of one part by name. They are called one after the other,
                so that only one part needs memory. The device is not synchronised.
        """
        self.optimizer_g.zero_grad(set_to_none=True)
        self.log_dict = {}
        parallel = self.net_g if isinstance(self.net_g, DistributedDataParallel) else None
        for number, losses_of in enumerate(parts, 1):  # processes exchange gradients after the last
            with nullcontext() if parallel is None or number == len(parts) else parallel.no_sync():
                losses = losses_of()
                (reduce(add, losses.values()) / len(parts)).backward()
            for name, loss in losses.items():
                self.log_dict[name] = self.log_dict.get(name, 0) + loss.detach() / len(parts)
        if clip := self.opt['train'].get('grad_clip'):
            trained = [p for p in self.net_g.parameters() if p.grad is not None]
            self.log_dict['grad_norm'] = nn.utils.clip_grad_norm_(trained, clip)
        self.optimizer_g.step()
        if self.ema_decay > 0:
            self.model_ema(self.ema_decay)

    def get_current_log(self) -> dict[str, float]:
        """Values of the last step, averaged over the processes. Synchronises the device.

        Basicsr calls this every `print_freq` iterations.

        Raises:
            TrainingDivergedError: see `check_health`.
        """
        named = dict(self.log_dict)
        offset = read_offsets(self.get_bare_model(self.net_g))
        if offset is not None:
            named['offset'] = offset
        values = torch.stack([value.float() for value in named.values()])
        if self.opt['dist']:
            dist.all_reduce(values)
            values /= self.opt['world_size']
        log = OrderedDict(zip(named, values.tolist(), strict=True))
        check_health(log, self.iteration, self.opt['train'].get('offset_limit'))
        if (peak := peak_memory(self.device)) is not None:
            log['peak_gib'] = peak  # of this process
        return log

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes the networks, the training state and `budget.json`; at the end (-1) also a bundle."""
        check_health({name: float(value) for name, value in self.log_dict.items()}, self.iteration, None)
        self._save_networks(current_iter)
        self.save_training_state(epoch, current_iter)
        if self.opt['rank'] == 0:
            self.budget.write(self.opt['path']['experiments_root'], self.iteration)
        if current_iter == -1:
            self.save_restorer('latest')

    def checkpoint_metadata(self) -> dict[str, Any]:
        """Entries that are stored in weights and states."""
        return self.budget.checkpoint_entry(self.iteration)

    def count_clips(self, count: int) -> None:
        """Counts the clips of a batch; every process has as many."""
        self.budget.count(count * self.opt['world_size'])

    def save_restorer(self, label: str) -> None:
        """Writes a bundle for restoring videos. The default writes none."""
