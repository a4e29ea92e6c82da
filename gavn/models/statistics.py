"""What a new network takes from its training data before the first step."""
import json
from pathlib import Path

import torch
from torch import nn

from gavn.archs.audio_encoder import AudioEncoder


def adopt_audio_statistics(network: nn.Module, root: str | Path) -> None:
    """Gives audio encoders in `network` the MFCC statistics of a data set folder (its stats.json).

    Raises FileNotFoundError where that file is absent.
    """
    encoders = [module for module in network.modules() if isinstance(module, AudioEncoder)]
    if not encoders:
        return
    path = Path(root) / 'stats.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: the preparation of a data set ends with '
                                'these statistics of its MFCC; run its last step again')
    stats = json.loads(path.read_text(encoding='utf-8'))
    for encoder in encoders:
        encoder.set_audio_statistics(torch.tensor(stats['mfcc_mean']), torch.tensor(stats['mfcc_std']))
