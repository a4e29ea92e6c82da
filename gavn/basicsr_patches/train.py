"""One run of the stock train_pipeline: the helpers it looks up, which here know of each other."""
from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import basicsr.test
import basicsr.train
import torch
from basicsr.data import build_dataloader
from basicsr.models.base_model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gavn.basicsr_patches import reading, stock_data, utils_logger
from gavn.basicsr_patches.build import build_dataset, build_model, first_sample, try_sample
from gavn.basicsr_patches.data_data_sampler import (
    EpochSampler,
    SeededSamples,
    divide,
    draws_by_itself,
    seed_step,
)
from gavn.basicsr_patches.data_prefetch_dataloader import CUDAPrefetcher, Prefetcher
from gavn.basicsr_patches.training_state import check_room, load_resume_state, remove_parts
from gavn.basicsr_patches.utils_misc import Folders
from gavn.basicsr_patches.utils_options import keep_options, parse_options, set_seed


class TrainingRun:
    """Holds what the stock helpers cannot hand each other: where a run resumes and how far it has come."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.opt: dict[str, Any] = {}
        self.folders = Folders()
        self.waiting = utils_logger.Waiting()
        self.started = 0  # iterations handed to the model, counted over all starts of the run

    def parse_options(self, root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Namespace]:
        """Options of the command line, and its arguments."""
        opt, self.args = parse_options(root_path, is_train)
        if self.args.drawn and not is_train and opt['rank'] == 0:
            print(_drawn(opt), flush=True)  # too early for the log
        return opt, self.args

    def copy_opt_file(self, opt_file: str, experiments_root: str) -> None:
        """Keeps the options in the folder of the run; by now their file may be in an archived one."""
        keep_options(self.args.account(), opt_file, experiments_root)

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """The state to resume from, if any; makes the folders of a run that goes on from another's state."""
        self.opt, self.state = opt, load_resume_state(opt)
        self.started = self.state['iter'] if self.state else 0
        if self.state and self.args.drawn and 'manual_seed' in self.state:
            set_seed(opt, self.state['manual_seed'], self.args.given)
        if self.state and opt['rank'] == 0:
            paths = opt['path']
            for key in ('experiments_root', 'models', 'training_states', 'visualization'):
                os.makedirs(paths[key], exist_ok=True)
            remove_parts(paths['models'], paths['training_states'])
        return self.state

    def create_train_val_dataloader(
            self, opt: dict[str, Any], logger: logging.Logger
    ) -> tuple[DataLoader, EpochSampler, list[DataLoader], int, int]:
        """Loaders, sampler, the last epoch's number and the iterations of the run.

        Stock counts batches that the loader drops, so that a run ends early, and starts a resumed epoch over.
        """
        logger.addFilter(lambda record: '*only* supported by SRModel' not in str(record.msg))  # not true here
        if self.args.drawn:
            logger.info(_drawn(opt))
        train_opt = opt['datasets']['train']
        data = build_dataset(train_opt)
        epochs = divide(len(data), train_opt, opt)
        sampler = EpochSampler(epochs, opt['rank'], opt['manual_seed'],
                               shuffle=train_opt.get('use_shuffle') is not False, start=self.started)
        if self.state:
            self.state['epoch'] = sampler.epoch  # another batch size divides the iterations otherwise
        if not draws_by_itself(data):
            data = SeededSamples(data, opt['manual_seed'])
        self.sample = first_sample(data, train_opt)
        loader = _loader(data, _training_loader(train_opt), opt, sampler)
        loader.worker_init_fn = _start_worker
        logger.info(f'Training: {len(data)} samples, {epochs.samples} an epoch; batches of {epochs.batch}, '
                    f'{epochs.iterations} an epoch, {epochs.total} in all, {self.started} done')
        last_epoch = (epochs.total - 1) // epochs.iterations
        self.val_loaders = _val_loaders(opt, logger)
        return loader, sampler, self.val_loaders, last_epoch, epochs.total

    def build_model(self, opt: dict[str, Any]) -> BaseModel:
        """The model, remembered, once it is known to take the training data."""
        self.model = build_model(opt)
        try_sample(self.model, self.sample, opt['datasets']['train']['name'])
        check_room(self.model, opt)
        return self.model

    def message_logger(self, opt: dict[str, Any], start_iter: int, tb_logger: Any
                       ) -> utils_logger.MessageLogger:
        """The log of the training loop, and its bar."""
        total, self.tb_logger = opt['train']['total_iter'], tb_logger
        self.progress = utils_logger.Progress(start_iter, total, logging.getLogger('basicsr'))
        return utils_logger.MessageLogger(opt, start_iter, tb_logger, self.progress, self.waiting,
                                      self._gradients)

    def _gradients(self) -> Iterator[Tensor]:
        """Gradients of the last step."""
        for parameter in self.model.net_g.parameters() if hasattr(self.model, 'net_g') else ():
            if parameter.grad is not None:
                yield parameter.grad

    def cpu_prefetcher(self, loader: DataLoader) -> Prefetcher:
        """Hands out batches and keeps count."""
        return Prefetcher(loader, self._next_iteration, self._end_of_epoch, self.waiting)

    def cuda_prefetcher(self, loader: DataLoader, opt: dict[str, Any]) -> Prefetcher:
        """Hands out batches on the GPU, if there is one, and keeps count."""
        kind = CUDAPrefetcher if opt['num_gpu'] else Prefetcher
        return kind(loader, self._next_iteration, self._end_of_epoch, self.waiting)

    def _next_iteration(self) -> None:
        self.progress.reach(self.started)
        if self.state and self.started == self.state['iter']:
            self._validate_what_was_cut_short()
        self.started += 1
        seed_step(self.opt['manual_seed'], self.opt['rank'], self.started)

    def _validate_what_was_cut_short(self) -> None:
        """Does the validation of the iteration that is resumed from, where the last start did not finish it.

        Stock saves, then validates: a run that is killed in between would never know how good it was then.
        """
        val = self.opt.get('val') or {}
        if not val.get('val_freq') or self.started % val['val_freq']:
            return
        lacks = getattr(self.model, 'lacks_validation', None)  # stock models leave no sign of theirs
        for loader in self.val_loaders if lacks else ():
            if lacks(loader.dataset.opt['name']):
                self.model.validation(loader, self.started, self.tb_logger, val.get('save_img', False))

    def _end_of_epoch(self) -> None:
        self.progress.reach(self.started)


def _drawn(opt: dict[str, Any]) -> str:
    return f'manual_seed: {opt["manual_seed"]} was drawn; give it to repeat this run'


def _training_loader(dataset_opt: dict[str, Any]) -> dict[str, Any]:
    """Workers live as long as the run unless told otherwise: starting them takes seconds in each epoch."""
    persistent = dataset_opt.get('persistent_workers')
    return {**dataset_opt, 'pin_memory': bool(dataset_opt.get('pin_memory')) and torch.cuda.is_available(),
            'persistent_workers': persistent is not False and dataset_opt['num_worker_per_gpu'] > 0}


def _loader(data: Dataset, dataset_opt: dict[str, Any], opt: dict[str, Any], sampler: EpochSampler | None
            ) -> DataLoader:
    return build_dataloader(data, dataset_opt, num_gpu=opt['num_gpu'], dist=opt['dist'], sampler=sampler,
                            seed=opt['manual_seed'])


def _val_loaders(opt: dict[str, Any], logger: logging.Logger) -> list[DataLoader]:
    loaders = []
    for phase, dataset_opt in opt['datasets'].items():
        if phase != 'train':
            data = build_dataset(dataset_opt)
            logger.info(f'{dataset_opt["name"]}: {len(data)} images or clips to validate on')
            loaders.append(_loader(data, dataset_opt, opt, None))
    return loaders


def _start_worker(_: int) -> None:
    """Mends reading in a worker that was spawned (a forked one has it)."""
    reading.install()
    stock_data.install()


def install() -> None:
    """Puts the helpers of a new run where the stock pipelines look them up."""
    run = TrainingRun()
    train = basicsr.train
    train.parse_options = basicsr.test.parse_options = run.parse_options
    train.copy_opt_file = run.copy_opt_file
    train.make_exp_dirs = basicsr.test.make_exp_dirs = run.folders.make_exp_dirs
    train.mkdir_and_rename = run.folders.mkdir_and_rename
    train.load_resume_state = run.load_resume_state
    train.build_model = run.build_model
    basicsr.test.build_dataset, basicsr.test.build_model = build_dataset, build_model
    train.create_train_val_dataloader = run.create_train_val_dataloader
    train.init_tb_loggers = utils_logger.init_tb_loggers
    train.MessageLogger = run.message_logger
    train.CPUPrefetcher = run.cpu_prefetcher
    train.CUDAPrefetcher = run.cuda_prefetcher
