"""Statistics of the training data that a new network needs."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.config.option_file import OptionError
from gavn.data.clip_store import read_stats


def adopt_audio_statistics(network: nn.Module, training: Mapping[str, Any]) -> None:
    """Sets the MFCC mean and standard deviation of audio encoders from stats.json of the training data.

    Args:
        network: may contain AudioEncoder modules.
        training: section `datasets.train`.

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
