"""Checks before and during training, statistics of the training data, and groups of parameters."""
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from basicsr.archs import spynet_arch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor, nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.archs.span_arch import SPAN
from gavn.archs.spynet import FlowNetwork
from gavn.config.option_file import OptionError, option_errors
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.clip_store import read_stats
from gavn.data.samples import parse_options
from gavn.errors import RunError
from gavn.models.schedule import Phase, has_prefix
from gavn.ops import DeformableAlignPack, offset_magnitudes
from gavn.runtime.windows import Layout

FLOW_NETWORKS = (FlowNetwork, spynet_arch.SpyNet)


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


def train_only(network: nn.Module, phase: Phase, idle: Collection[str] = ()) -> int:
    """Makes the parameters of a phase trainable, freezes the others and removes all gradients.

    Optimizers skip parameters without a gradient, so that frozen parameters do not change by a single bit.

    Args:
        network: not wrapped.
        idle: names of parameters that the network does not use in this phase. They are frozen.

    Returns:
        Number of trained values.
    """
    count = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(phase.trains(name) and name not in idle)
        parameter.grad = None
        count += parameter.numel() if parameter.requires_grad else 0
    return count


def parameter_groups(network: nn.Module, dcn_lr_mul: float = 1.0, flow_lr_mul: float = 1.0
                     ) -> list[tuple[list[nn.Parameter], float]]:
    """Groups of parameters and the factors of their learning rates.

    The groups do not depend on the factors, so that a run can resume with other factors.

    Args:
        network: not wrapped.
        flow_lr_mul: factor for the flow network (SpyNet).
    """
    kinds = ((DeformableAlignPack, dcn_lr_mul), (FLOW_NETWORKS, flow_lr_mul))
    kind_of = {id(parameter): kind for module in network.modules() for kind, _ in kinds
               if isinstance(module, kind) for parameter in module.parameters()}
    groups: list[tuple[list[nn.Parameter], float]] = []
    for kind, factor in ((None, 1.0), *kinds):
        members = [parameter for parameter in network.parameters() if kind_of.get(id(parameter)) is kind]
        if members:
            groups.append((members, factor))
    return groups


def adopt_audio_statistics(network: nn.Module, training: Mapping[str, Any]) -> None:
    """Sets the MFCC mean and standard deviation of audio encoders from stats.json of the training data.

    Raises:
        OptionError: the data have no root.
        FileNotFoundError: stats.json does not exist.
    """
    encoders = [module for module in network.modules() if isinstance(module, AudioEncoder)]
    if not encoders:
        return
    if training.get('root') is None:
        raise OptionError(f'datasets.train: {type(network).__name__} needs audio, but {training["type"]} has '
                          'none: use AVClipDataset, or give the folder of a stats.json as its root')
    stats = read_stats(training['root'])
    for encoder in encoders:
        encoder.set_audio_statistics(torch.tensor(stats['mfcc_mean']), torch.tensor(stats['mfcc_std']))


def warn_of_untrained_parts(network: nn.Module, options: Mapping[str, Any]) -> None:
    """Logs a warning if a new network contains a flow network or SPAN, which start from published weights."""
    name, parts = type(network).__name__, list(network.modules())
    if any(isinstance(part, FLOW_NETWORKS) for part in parts) and options.get('spynet_path') is None:
        get_root_logger().warning(
            f'{name} starts with an untrained flow network and must learn optical flow too, which takes '
            'long. Fetch the published weights with `gavn models fetch spynet` and give their file as '
            'network_g.spynet_path')
    if any(isinstance(part, SPAN) for part in parts):
        get_root_logger().warning(
            f'{name} starts with an untrained SPAN, which spoils enlargements by 4. Add the published '
            'weights to those of a trained network with `scripts/prepare/span.py`, and give the file '
            'as path.pretrain_network_g')


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
