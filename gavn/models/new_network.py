"""Preparation of a new network: audio statistics of the training data, and a warning of missing weights."""
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.archs.span_arch import SPAN
from gavn.config.option_file import OptionError
from gavn.data.clip_store import read_stats
from gavn.models.parameter_groups import FLOW_NETWORKS


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
            'weights to those of a trained network with `scripts/prepare/span.py` of the repository, and '
            'give the file as path.pretrain_network_g')
