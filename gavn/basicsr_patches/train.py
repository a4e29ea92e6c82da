"""Patches of basicsr.train and basicsr.test: the helpers that the pipelines look up by name."""
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

from gavn.basicsr_patches.build import build_dataset, build_model, first_sample
from gavn.basicsr_patches.data_data_sampler import (
    EpochSampler,
    SeededDataset,
    plan_epochs,
    reads_epoch_from_index,
    seed_iteration,
)
from gavn.basicsr_patches.data_loading import start_worker
from gavn.basicsr_patches.data_prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
from gavn.basicsr_patches.training_state import ResumeError, load_resume_state, remove_partial_files
from gavn.basicsr_patches.utils_logger import DataWaitTimer, MessageLogger, ProgressBar, init_tb_loggers
from gavn.basicsr_patches.utils_misc import RunFolders
from gavn.basicsr_patches.utils_options import keep_options, parse_options, set_seed
from gavn.config.option_file import option_errors


class TrainingRun:
    """State shared by the helpers of one run: options, model, resumed state and finished iterations."""

    def __init__(self, args: Namespace | None) -> None:
        self.given_args = args
        self.state: dict[str, Any] | None = None
        self.opt: dict[str, Any] = {}
        self.folders = RunFolders()
        self.wait_timer = DataWaitTimer()
        self.started = 0  # iterations started since the beginning of the run, over all resumes

    def parse_options(self, root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Namespace]:
        """Reads the option file that the arguments name."""
        opt, self.args = parse_options(root_path, is_train, self.given_args)
        if self.args.drawn and not is_train and opt['rank'] == 0:
            print(_seed_notice(opt), flush=True)  # the log does not exist yet
        return opt, self.args

    def copy_opt_file(self, opt_file: str, experiments_root: str) -> None:
        """Writes the options of the run into its folder.

        Defect: basicsr copies the option file, which may by now be in an archived folder.
        """
        keep_options(self.args.resolved_config(), opt_file, experiments_root)

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """Loads the state to resume from, if any, and makes the folders that it needs.

        Defect: basicsr makes no folders for a run that resumes from the state of another run.
        """
        self.opt, self.state = opt, load_resume_state(opt)
        self.started = self.state['iter'] if self.state else 0
        if self.state and self.args.drawn and 'manual_seed' in self.state:
            set_seed(opt, self.state['manual_seed'], self.args.given)
        if self.state and opt['rank'] == 0:
            paths = opt['path']
            for key in ('experiments_root', 'models', 'training_states', 'visualization'):
                os.makedirs(paths[key], exist_ok=True)
            remove_partial_files(paths['models'], paths['training_states'])
        return self.state

    def create_train_val_dataloader(
            self, opt: dict[str, Any], logger: logging.Logger
    ) -> tuple[DataLoader, EpochSampler, list[DataLoader], int, int]:
        """Makes the loaders and the sampler.

        Defect: basicsr counts batches that the loader drops, so that a run ends early, and a resumed run
        starts its epoch again.

        Returns:
            training loader, sampler, validation loaders, number of the last epoch, iterations of the run.
        """
        # Basicsr warns about stock video models; the patched ones do not need the warning.
        logger.addFilter(lambda record: '*only* supported by SRModel' not in str(record.msg))
        if self.args.drawn:
            logger.info(_seed_notice(opt))
        train_opt = opt['datasets']['train']
        data = build_dataset(train_opt)
        epochs = plan_epochs(len(data), train_opt, opt)
        if self.started > epochs.total:
            raise ResumeError(f'cannot resume from {opt["path"]["resume_state"]}: it is at iteration '
                              f'{self.started}, but training ends at {epochs.total}; raise train.total_iter')
        sampler = EpochSampler(epochs, opt['rank'], opt['manual_seed'],
                               shuffle=train_opt.get('use_shuffle') is not False, start=self.started)
        if self.state:
            self.state['epoch'] = sampler.epoch  # differs from the state's if the batch size changed
        if not reads_epoch_from_index(data):
            data = SeededDataset(data, opt['manual_seed'])
        self.sample = first_sample(data, train_opt)
        loader = _loader(data, _training_loader_options(train_opt), opt, sampler)
        loader.worker_init_fn = start_worker
        logger.info(f'Training: {len(data)} samples, {epochs.samples} per epoch; batches of {epochs.batch}, '
                    f'{epochs.iterations} per epoch, {epochs.total} in all, {self.started} done')
        last_epoch = (epochs.total - 1) // epochs.iterations
        self.val_loaders = _val_loaders(opt, logger)
        return loader, sampler, self.val_loaders, last_epoch, epochs.total

    def build_model(self, opt: dict[str, Any]) -> BaseModel:
        """Builds the model. If it has a method `check_sample`, that checks the first training sample."""
        self.model = build_model(opt)
        if hasattr(self.model, 'check_sample'):
            with option_errors(f'data set {opt["datasets"]["train"]["name"]}'):
                self.model.check_sample(self.sample)
        return self.model

    def message_logger(self, opt: dict[str, Any], start_iter: int, tb_logger: Any) -> MessageLogger:
        """Makes the logger of the training loop and its progress bar."""
        total, self.tb_logger = opt['train']['total_iter'], tb_logger
        self.progress = ProgressBar(start_iter, total, logging.getLogger('basicsr'))
        return MessageLogger(opt, start_iter, tb_logger, self.progress, self.wait_timer, self._gradients)

    def _gradients(self) -> Iterator[Tensor]:
        """Gradients of the last step."""
        for parameter in self.model.net_g.parameters() if hasattr(self.model, 'net_g') else ():
            if parameter.grad is not None:
                yield parameter.grad

    def cpu_prefetcher(self, loader: DataLoader) -> CPUPrefetcher:
        """Makes the prefetcher of `prefetch_mode: cpu`."""
        return CPUPrefetcher(loader, self._start_iteration, self._end_epoch, self.wait_timer)

    def cuda_prefetcher(self, loader: DataLoader, opt: dict[str, Any]) -> CPUPrefetcher:
        """Makes the prefetcher of `prefetch_mode: cuda`; without a GPU, the one of `cpu`."""
        kind = CUDAPrefetcher if opt['num_gpu'] else CPUPrefetcher
        return kind(loader, self._start_iteration, self._end_epoch, self.wait_timer)

    def _start_iteration(self) -> None:
        self.progress.update_to(self.started)
        if self.state and self.started == self.state['iter']:
            self._finish_validation()
        self.started += 1
        seed_iteration(self.opt['manual_seed'], self.opt['rank'], self.started)

    def _finish_validation(self) -> None:
        """Runs the validation of the resumed iteration if the last start did not finish it.

        Defect: basicsr saves first and then validates. A run killed in between lacks that validation.
        """
        val = self.opt.get('val') or {}
        if not val.get('val_freq') or self.started % val['val_freq']:
            return
        lacks = getattr(self.model, 'lacks_validation', None)  # models of basicsr do not record theirs
        for loader in self.val_loaders:
            data_set: Any = loader.dataset
            if lacks is not None and lacks(data_set.opt['name']):
                self.model.validation(loader, self.started, self.tb_logger, val.get('save_img', False))

    def _end_epoch(self) -> None:
        self.progress.update_to(self.started)


def _seed_notice(opt: dict[str, Any]) -> str:
    return f'manual_seed: {opt["manual_seed"]} was drawn at random; set it to repeat this run'


def _training_loader_options(dataset_opt: dict[str, Any]) -> dict[str, Any]:
    """Keeps workers alive for the whole run by default, because starting them takes seconds each epoch."""
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


def prepare_run(args: Namespace | None) -> None:
    """Puts the helpers of a new run where the pipelines look them up. None: parse the command line."""
    run = TrainingRun(args)
    train, test = basicsr.train, basicsr.test
    train.parse_options = test.parse_options = run.parse_options
    train.make_exp_dirs = test.make_exp_dirs = run.folders.make_exp_dirs
    train.mkdir_and_rename = run.folders.mkdir_and_rename
    train.copy_opt_file = run.copy_opt_file
    train.load_resume_state = run.load_resume_state
    train.build_model = run.build_model
    train.create_train_val_dataloader = run.create_train_val_dataloader
    train.init_tb_loggers = init_tb_loggers
    train.MessageLogger = run.message_logger
    train.CPUPrefetcher = run.cpu_prefetcher
    train.CUDAPrefetcher = run.cuda_prefetcher
    test.build_dataset = build_dataset
    test.build_model = build_model
