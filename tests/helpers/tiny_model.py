"""GAVNModel on the tiny data set, step by step, for tests that watch what it changes."""
from pathlib import Path

import tiny_run
import torch
from basicsr.models import build_model

from gavn.basicsr_patches import apply
from gavn.data.av_clip_dataset import AVClipDataset

TEMPORAL, WARMUP, FINETUNE = range(3)
STARTS = {TEMPORAL: 1, WARMUP: 3, FINETUNE: 5}


def make_place(folder: Path) -> tuple[Path, Path, Path]:
    """The folder, with data and weights of a detector in it."""
    apply()
    return folder, tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'detector.pth')


def make_batch(place):
    """Two windows of the training data."""
    data = AVClipDataset({'root': str(place[1]), 'degradation': 'blur', 'num_frame': 5})
    return torch.utils.data.default_collate([data[0], data[1]])


def model_of(place, **changes):
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder)
    for phase in opt['train']['phases']:
        phase['iters'] = phase.get('iters', 2)
    opt.update(is_train=True, dist=False, rank=0, world_size=1)
    for name in ('models', 'training_states', 'visualization'):
        opt['path'][name] = str(folder / 'run' / name)
    opt['path']['experiments_root'] = str(folder / 'run')
    for section, values in changes.items():
        opt[section] = {**opt[section], **values} if isinstance(values, dict) else values
    torch.manual_seed(1)
    return build_model(opt)


def run(model, batch, iterations):
    for iteration in iterations:
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}
