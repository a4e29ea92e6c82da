"""Which samples an iteration sees and with which random draws: functions of seed, epoch and position."""
from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from basicsr.utils import set_random_seed
from torch.utils.data import Dataset, Sampler

from gavn.config.option_file import OptionError

_logger = logging.getLogger('basicsr')  # get_root_logger would set it up too early
_STEP = 1  # marks the draws of a training step, apart from those of samples


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seeds all generators for an iteration, so that dropout and the like go on after a resume as before."""
    set_random_seed(int(np.random.SeedSequence([seed, rank, iteration, _STEP]).generate_state(1)[0]))


@contextmanager
def _draws_of(*entropy: int) -> Iterator[None]:
    """CPU draws inside are those of `entropy`; the ones outside go on undisturbed."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = [int(word) for word in np.random.SeedSequence(entropy).generate_state(3)]
    random.seed(words[0])
    np.random.seed(words[1])
    torch.default_generator.manual_seed(words[2])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def draws_by_itself(dataset: Dataset) -> bool:
    """Whether a data set reads the epoch from its index: those whose `Options` name `manual_seed` do."""
    options = getattr(dataset, 'Options', None)
    return options is not None and 'manual_seed' in {f.name for f in dataclasses.fields(options)}


class SeededSamples(Dataset):
    """A data set that indexes plainly and draws from global generators, given draws per epoch and sample.

    Stock workers seed numpy and random alike in every epoch, so each epoch repeats the augmentations of the
    first. Other attributes are those of the data set within.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        epoch, i = divmod(index, len(self.dataset))
        with _draws_of(self.seed, epoch, i):
            return self.dataset[i]

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # while it is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


@dataclasses.dataclass(frozen=True)
class Epochs:
    """How training data divide into batches.

    samples: of one epoch, repetitions included. batch: over all processes and GPUs. processes: that share a
    batch. total: iterations of the whole training.
    """

    samples: int
    batch: int
    processes: int
    total: int

    @property
    def iterations(self) -> int:
        """Of one epoch: whole batches only, since the loader drops the rest (stock counted it)."""
        return self.samples // self.batch

    def position(self, iteration: int) -> tuple[int, int]:
        """(epoch, batches of it that are done) after so many iterations."""
        return divmod(iteration, self.iterations)


class EpochSampler(Sampler[int]):
    """Indices of one process, epoch by epoch; takes the place of EnlargedSampler.

    An index counts on from epoch to epoch and holds it: `divmod(index, len(data))` are the repetition of the
    data set, counted over the whole run, and the sample. The stock order ignores manual_seed, starts a
    resumed epoch over, and goes on past the last iteration.

    Args:
        epochs: of the whole run.
        rank: of this process.
        start: iterations done before; the first epoch starts behind them.
    """

    def __init__(self, epochs: Epochs, rank: int, seed: int, shuffle: bool = True, start: int = 0) -> None:
        self.shuffle = shuffle
        self.epochs, self.rank, self.seed = epochs, rank, seed
        self.start = start
        self.epoch = epochs.position(start)[0]

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def _batches(self) -> range:
        """The batches of this epoch that are left to do."""
        first = self.epoch * self.epochs.iterations
        end = min(self.epochs.iterations, self.epochs.total - first)
        return range(max(0, self.start - first), end)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.epochs.samples)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        batches = self._batches()
        order = order[batches.start * self.epochs.batch:max(batches.start, batches.stop) * self.epochs.batch]
        return iter((order[self.rank::self.epochs.processes] + self.epoch * self.epochs.samples).tolist())

    def __len__(self) -> int:
        return len(self._batches()) * self.epochs.batch // self.epochs.processes


def batch_size(dataset_opt: Mapping[str, Any], opt: Mapping[str, Any]) -> int:
    """Samples per iteration over all processes, or over all GPUs of DataParallel (which stock forgets)."""
    return dataset_opt['batch_size_per_gpu'] * (opt['world_size'] if opt['dist'] else max(1, opt['num_gpu']))


def divide(samples: int, dataset_opt: Mapping[str, Any], opt: Mapping[str, Any]) -> Epochs:
    """The epochs of a run; turns `train.phases` given in epochs into iterations, with a notice.

    Sets `train.total_iter` to the length of the phases where it is not given, and where all phases have
    learning rates of their own: option files of that form may lie over one that gives `total_iter`.

    Raises OptionError where the data do not fill one batch: stock then ends without an error, untrained.
    """
    samples *= dataset_opt.get('dataset_enlarge_ratio', 1)
    batch = batch_size(dataset_opt, opt)
    if samples < batch:
        raise OptionError(f'{dataset_opt["name"]}: {samples} training samples do not fill a batch of '
                          f'{batch}; lower batch_size_per_gpu or raise dataset_enlarge_ratio')
    train = opt['train']
    for phase in train.get('phases') or ():
        if (epochs := phase.get('epochs')) is not None:
            phase['iters'] = max(1, round(epochs * (samples // batch)))
            _logger.warning(f'train.phases, {phase.get("name")}: {epochs:g} epochs of these data are '
                            f'{phase["iters"]:,} iterations; option files now say iters: {phase["iters"]}')
    phases = train.get('phases') or ()
    if phases and (train.get('total_iter') is None or all(phase.get('lr') is not None for phase in phases)):
        train['total_iter'] = sum(phase['iters'] for phase in train['phases'])
    return Epochs(samples, batch, opt['world_size'], int(train['total_iter']))
