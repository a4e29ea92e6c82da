"""What a new network takes from its training data before the first step."""
from pathlib import Path

import torch
from torch import nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.data.clip_store import read_stats


def adopt_audio_statistics(network: nn.Module, root: str | Path) -> None:
    """Gives audio encoders in `network` the MFCC statistics of a data set folder (its stats.json).

    Raises FileNotFoundError where that file is absent.
    """
    encoders = [module for module in network.modules() if isinstance(module, AudioEncoder)]
    if not encoders:
        return
    stats = read_stats(root)
    for encoder in encoders:
        encoder.set_audio_statistics(torch.tensor(stats['mfcc_mean']), torch.tensor(stats['mfcc_std']))
