"""What a new network takes from its training data before the first step."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.config.option_file import OptionError
from gavn.data.clip_store import read_stats


def adopt_audio_statistics(network: nn.Module, training: Mapping[str, Any]) -> None:
    """Gives audio encoders in `network` the MFCC statistics of the training data (stats.json in their root).

    Raises OptionError for data without a root, FileNotFoundError where that file is absent.
    """
    encoders = [module for module in network.modules() if isinstance(module, AudioEncoder)]
    if not encoders:
        return
    if training.get('root') is None:
        raise OptionError(f'datasets.train: {type(network).__name__} hears, but {training["type"]} has no '
                          'sound: take AVClipDataset, or name the folder of a stats.json as its root')
    stats = read_stats(training['root'])
    for encoder in encoders:
        encoder.set_audio_statistics(torch.tensor(stats['mfcc_mean']), torch.tensor(stats['mfcc_std']))
