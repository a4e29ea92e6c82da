"""A network, a data set and a run that fit into a second, for the tests of the training loop.

`linear_training.py [--kill-in NAME] train -opt FILE ...` runs the patched pipeline on them.
"""
import importlib.util
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import BinaryIO
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
if __name__ == '__main__':
    sys.path[0] = str(ROOT)

import gavn  # noqa: E402, F401, I001  (makes basicsr importable)
import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from basicsr.utils.logger import initialized_logger  # noqa: E402
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY  # noqa: E402
from torch import nn  # noqa: E402

from gavn import basicsr_patches, basicsr_plugin  # noqa: E402, F401  (fills the registries)
from gavn.basicsr_patches import utils_options  # noqa: E402
from gavn.cli import main as cli  # noqa: E402


@ARCH_REGISTRY.register()
class StandInNet(nn.Module):
    """A convolution with normalisation and dropout: buffers, and draws in the training step."""

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Dropout(0.5))
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x))


@DATASET_REGISTRY.register()
class StandInData(torch.utils.data.Dataset):
    """Noise, indexed plainly, with draws from all global generators, as stock data sets make them."""

    def __init__(self, opt: dict) -> None:
        self.opt = opt

    def __len__(self) -> int:
        return self.opt.get('length', 10)

    def __getitem__(self, index: int) -> dict:
        if index == self.opt.get('bad'):
            raise ValueError(f'sample {index} is bad')
        level = random.random() + np.random.rand() + torch.rand(()).item() + index
        image = torch.full((3, 4, 4), level)
        return {'lq': image, 'gt': image.flip(0), 'lq_path': f'{index}.png'}


def write_options(folder: Path, **changes: object) -> Path:
    """An option file of a short run; `changes` replace its sections' keys ('train__total_iter=3')."""
    options = {
        'name': 'stand_in', 'model_type': 'SRModel', 'scale': 1, 'num_gpu': 'auto', 'manual_seed': 3,
        'datasets': {'train': {'name': 'noise', 'type': 'StandInData', 'batch_size_per_gpu': 2,
                               'num_worker_per_gpu': 0}},
        'network_g': {'type': 'StandInNet'},
        'path': {'experiments_root': str(folder / 'experiments'), 'results_root': str(folder / 'results')},
        'train': {'total_iter': 13, 'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-2},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [9]},
                  'pixel_opt': {'type': 'L1Loss'}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 4},
    }
    for name, value in changes.items():
        *path, last = name.split('__')
        section = options
        for part in path:
            section = section.setdefault(part, {})
        section.update({last: value})
    file = folder / 'options.yml'
    file.write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')
    return file


def run(*arguments: str, check: bool = True, script: str | Path = __file__, **settings: object
        ) -> subprocess.CompletedProcess:
    """This file, or another script, as a process of its own; its output is in `stdout`."""
    command = [sys.executable, str(script), *arguments]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, **settings)
    assert not check or done.returncode == 0, done.stdout
    return done


def run_here(kind: str, *arguments: str) -> None:
    """The patched pipeline in this process; its log goes to the run's folder."""
    forget_logger()  # whoever asked for it first kept the run from setting it up
    command, sys.argv = sys.argv, [kind, *arguments]
    try:
        basicsr_patches.run_pipeline(kind)
    finally:
        sys.argv = command
        forget_logger()


def parse(file: Path, *arguments: str, module: object = utils_options) -> dict:
    """The options of a training from its command line, as gavn's or basicsr's own module parses it."""
    with patch.object(sys, 'argv', ['train.py', '-opt', str(file), *arguments]):
        return module.parse_options(str(file.parent), is_train=True)[0]


def forget_logger() -> None:
    """Closes what BasicSR's logger writes to, and lets it be set up anew."""
    initialized_logger.clear()
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def stock(name: str) -> ModuleType:
    """A copy of a module of basicsr as it is on the disk, without patches: 'models.base_model'."""
    place = importlib.util.find_spec(f'basicsr.{name}')
    copy = f'basicsr.{name}_stock'
    if copy not in sys.modules:
        spec = importlib.util.spec_from_file_location(copy, place.origin)
        sys.modules[copy] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[copy])
    return sys.modules[copy]


def weights(folder: Path, name: str = 'net_g_latest') -> dict[str, torch.Tensor]:
    """Weights a run left, trained and averaged."""
    states = torch.load(folder / f'experiments/stand_in/models/{name}.pth', weights_only=True)
    return {f'{kind}.{key}': value for kind, state in states.items() for key, value in state.items()}


def kill_in_write(name: str) -> None:
    """Lets the process die by SIGKILL in the middle of writing the file that starts like this."""
    save = torch.save

    def half(content: object, file: BinaryIO) -> None:
        save(content, file)
        if Path(file.name).name.startswith(f'.{name}.'):
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half


def main() -> None:
    if sys.argv[1] == '--kill-in':
        kill_in_write(sys.argv[2])
        del sys.argv[1:3]
    sys.exit(cli.main(sys.argv[1:]))


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
