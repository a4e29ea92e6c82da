"""Replacement of basicsr.data.data_sampler: samples and random numbers as functions of seed and iteration.

A resumed run therefore continues with the samples and random numbers of an uninterrupted one.
"""
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
_STEP_STREAM = 1  # separates the random numbers of training steps from those of samples


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seeds all random generators for an iteration, so that dropout continues after a resume as before."""
    sequence = np.random.SeedSequence([seed, rank, iteration, _STEP_STREAM])
    set_random_seed(int(sequence.generate_state(1)[0]))


@contextmanager
def _seeded(*entropy: int) -> Iterator[None]:
    """Seeds the CPU generators inside from `entropy` and restores their states afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = [int(seed) for seed in np.random.SeedSequence(entropy).generate_state(3)]
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def reads_epoch_from_index(dataset: Dataset) -> bool:
    """Whether a data set takes the epoch from its index: those whose `Options` have `manual_seed` do."""
    options = getattr(dataset, 'Options', None)
    return options is not None and 'manual_seed' in {f.name for f in dataclasses.fields(options)}


class SeededDataset(Dataset):
    """Wraps a data set that draws from global generators and seeds these for every epoch and sample.

    Defect: basicsr seeds its workers alike in every epoch, so that each epoch repeats the augmentations of
    the first. Other attributes are those of the wrapped data set.

    Args:
        dataset: indexed from 0 to its length.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        epoch, i = divmod(index, len(self.dataset))
        with _seeded(self.seed, epoch, i):
            return self.dataset[i]

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # not yet set while unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)


@dataclasses.dataclass(frozen=True)
class EpochPlan:
    """How training data divide into batches.

    With shards, nodes draw from their own parts of the data, so that each keeps its part only in memory.
    """

    samples: int  # of one epoch, with repetitions (`dataset_enlarge_ratio`)
    batch: int  # samples of one iteration over all processes and GPUs
    processes: int  # that share a batch
    total: int  # iterations of the run
    repetitions: int = 1  # of the data set in `samples`
    shards: int = 1  # parts of the data set; each is read by the processes of one node

    @property
    def iterations(self) -> int:
        """Iterations of one epoch. The loader drops an incomplete batch; basicsr counts it.

        All shards have as many, so the smallest one decides.
        """
        smallest = self.samples // self.repetitions // self.shards * self.repetitions
        return smallest // (self.batch // self.shards)

    def position(self, iteration: int) -> tuple[int, int]:
        """(epoch, finished batches of it) after a number of iterations."""
        return divmod(iteration, self.iterations)


class EpochSampler(Sampler[int]):
    """Indices of one process, epoch by epoch. Replaces EnlargedSampler.

    Defect: basicsr's order ignores `manual_seed`, restarts the epoch of a resumed run, and continues after
    the last iteration.

    Indices count on from epoch to epoch: `divmod(index, len(data))` are the repetition of the data set since
    the start of the run, and the sample.

    Args:
        epochs: of the whole run.
        shuffle: whether to permute each epoch.
        start: finished iterations of a resumed run.
    """

    def __init__(self, epochs: EpochPlan, rank: int, seed: int, shuffle: bool = True, start: int = 0) -> None:
        self.shuffle = shuffle
        self.epochs, self.rank, self.seed = epochs, rank, seed
        self.start = start
        self.epoch = epochs.position(start)[0]

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch. The training loop calls this before each one."""
        self.epoch = epoch

    def _remaining_batches(self) -> range:
        first = self.epoch * self.epochs.iterations
        end = min(self.epochs.iterations, self.epochs.total - first)
        return range(max(0, self.start - first), end)

    def __iter__(self) -> Iterator[int]:
        epochs = self.epochs
        processes, batch = epochs.processes // epochs.shards, epochs.batch // epochs.shards
        shard, rank = divmod(self.rank, processes)
        samples = np.arange(epochs.samples).reshape(epochs.repetitions, -1)
        order = np.array_split(samples, epochs.shards, axis=1)[shard].ravel()
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, shard]).permutation(order)
        batches = self._remaining_batches()
        order = order[batches.start * batch:max(batches.start, batches.stop) * batch]
        return iter((order[rank::processes] + self.epoch * epochs.samples).tolist())

    def __len__(self) -> int:
        return len(self._remaining_batches()) * self.epochs.batch // self.epochs.processes


def batch_size(dataset_opt: Mapping[str, Any], opt: Mapping[str, Any]) -> int:
    """Samples of an iteration over all processes, or over all GPUs of DataParallel (ignored by basicsr)."""
    return dataset_opt['batch_size_per_gpu'] * (opt['world_size'] if opt['dist'] else max(1, opt['num_gpu']))


def plan_epochs(samples: int, dataset_opt: Mapping[str, Any], opt: Mapping[str, Any]) -> EpochPlan:
    """Divides training data into epochs. Converts phases given in epochs to iterations, with a notice.

    Sets `train.total_iter` to the length of the phases if it is absent, and if all phases have learning rates
    of their own, because such option files may overlay one with `total_iter`.

    Defect: with fewer samples than a batch, basicsr ends at once without an error and without training.

    Args:
        samples: of the data set, without repetitions.
        opt: all options; `train` is changed.

    Raises:
        OptionError: the samples do not fill one batch, or the processes do not divide into `shards`.
    """
    repetitions, shards = dataset_opt.get('dataset_enlarge_ratio', 1), dataset_opt.get('shards', 1)
    if shards < 1 or opt['world_size'] % shards:
        raise OptionError(f'{dataset_opt["name"]}: {opt["world_size"]} processes do not divide into '
                          f'{shards} shards; give one shard for each node')
    epochs = EpochPlan(samples * repetitions, batch_size(dataset_opt, opt), opt['world_size'], 0, repetitions,
                       shards)
    if not epochs.iterations:
        raise OptionError(f'{dataset_opt["name"]}: {epochs.samples} training samples do not fill a batch of '
                          f'{epochs.batch}; lower batch_size_per_gpu or raise dataset_enlarge_ratio')
    train = opt['train']
    for phase in train.get('phases') or ():
        if (length := phase.get('epochs')) is not None:
            phase['iters'] = max(1, round(length * epochs.iterations))
            _logger.warning(f'train.phases, {phase.get("name")}: {length:g} epochs of these data are '
                            f'{phase["iters"]:,} iterations; option files now say iters: {phase["iters"]}')
    phases = train.get('phases') or ()
    if phases and (train.get('total_iter') is None or all(phase.get('lr') is not None for phase in phases)):
        train['total_iter'] = sum(phase['iters'] for phase in train['phases'])
    return dataclasses.replace(epochs, total=int(train['total_iter']))
