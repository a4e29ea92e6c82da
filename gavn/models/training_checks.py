"""Checks before and during training: phases, windows, samples, losses and offsets."""
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor, nn

from gavn.config.option_file import OptionError, option_errors
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.samples import parse_options
from gavn.errors import RunError
from gavn.models.schedule import Phase, has_prefix
from gavn.ops import offset_magnitudes
from gavn.runtime.windows import Layout


class TrainingDivergedError(RunError):
    """Training diverged. The message says what to change."""


def check_phases(network: nn.Module, phases: Iterable[Phase]) -> None:
    """Raises OptionError if a phase names an unknown part of the network or trains nothing."""
    names = [name for name, _ in network.named_parameters()]
    for phase in phases:
        for key, prefix in [('train', p) for p in phase.train] + [('freeze', p) for p in phase.freeze]:
            if not any(has_prefix(name, [prefix]) for name in names):
                parts = ', '.join(name for name, _ in network.named_children())
                raise OptionError(f'train.phases, {phase.name}: {key} names {prefix!r}, but '
                                  f'{type(network).__name__} has no such part; it has {parts}')
        if not any(phase.trains(name) for name in names):
            raise OptionError(f'train.phases, {phase.name}: freeze leaves nothing to train')


def check_windows(network: nn.Module, layout: Layout, section: Mapping[str, Any]) -> None:
    """Raises OptionError if the windows of the training data do not fit the network.

    Args:
        network: not wrapped. With `any_length` it accepts other lengths than that of its layout.
        section: `datasets.train`. Only AVClipDataset is checked.
    """
    if not issubclass(DATASET_REGISTRY.get(section['type']), AVClipDataset):
        return
    with option_errors('datasets.train'):
        options = parse_options(AVClipDataset.Options, section, section['type'])
        truths = len(range(options.num_frame)[options.outputs()])
    name, frames = type(network).__name__, options.num_frame
    fixed = layout.mode in ('sequence', 'centre') and not getattr(network, 'any_length', False)
    if fixed and frames != layout.inputs:
        raise OptionError(f'datasets.train: num_frame is {frames}, but {name} as network_g builds it takes '
                          f'{layout.inputs}: set num_frame: {layout.inputs}')
    choice, returned = {'sequence': ('valid', frames - 2 * layout.context),
                        'centre': ('center', 1)}.get(layout.mode, ('all', frames))
    if truths != returned:
        raise OptionError(f'datasets.train: gt_frames: {options.gt_frames} of {frames} frames are {truths}, '
                          f'but {name} returns {returned}: set gt_frames: {choice}')


def check_keys(sample: Mapping[str, Any], needed: Iterable[str], consumer: str) -> None:
    """Raises ValueError if a training sample lacks a tensor that `consumer` needs."""
    if missing := [key for key in needed if not isinstance(sample.get(key), Tensor)]:
        raise ValueError(f'{consumer} needs {", ".join(missing)}, but its samples have {", ".join(sample)}; '
                         'AVClipDataset has all of them')


def read_offsets(network: nn.Module) -> Tensor | None:
    """Largest mean |offset| in pixels of deformable layers since the last call; None without any."""
    magnitudes = offset_magnitudes(network)
    return torch.stack(list(magnitudes.values())).max() if magnitudes else None


def check_health(log: Mapping[str, float], iteration: int, offset_limit: float | None) -> None:
    """Raises TrainingDivergedError if a log value is not finite or deformable offsets exceed the limit.

    Deformable networks do not recover once their offsets leave the image (Chan et al., "Understanding
    Deformable Alignment in Video Super-Resolution").

    Args:
        offset_limit: in pixels; None: no limit.
    """
    not_finite = [name for name, value in log.items() if not math.isfinite(value)]
    if not_finite:
        raise TrainingDivergedError(
            f'iteration {iteration}: {", ".join(not_finite)} is not finite. Resume from an earlier state '
            'with a lower lr, a longer warmup_iter or a smaller grad_clip')
    offset = log.get('offset', 0.0)
    if offset_limit is not None and offset > offset_limit:
        raise TrainingDivergedError(
            f'iteration {iteration}: the offsets of a deformable layer are {offset:.1f} pixels on average, '
            f'above offset_limit: {offset_limit}. Resume from an earlier state with a lower lr, '
            'dcn_lr_mul: 0.25 or a longer warmup_iter')
