"""Bundles, checkpoints and states changed at random: loaded and run, or refused in words."""
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from basicsr.archs import build_network
from mutators import mutate_archive, mutate_safetensors

from gavn.basicsr_patches.training_state import ResumeError
from gavn.basicsr_patches.training_state import load_state as load_training_state
from gavn.checkpoints.checkpoint import (
    CheckpointError,
    load_state,
    load_strict,
    load_trained,
    training_budget,
)
from gavn.restoration.model_spec import RestoreError
from gavn.restoration.restorer import Restorer

FILES = 80
SLOWEST = 10.  # seconds for one file, on a busy machine


class Sources:
    """A bundle, a checkpoint and a training state, small and right."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.network = build_network(dict(tiny_run.NETWORK))
        torch.save({'params': self.network.state_dict(), 'params_ema': self.network.state_dict(),
                    'waiting': [], 'budget': {'iterations': 3}}, folder / 'net_g.pth')
        tiny = tiny_run.options(folder, tiny_run.make_detector(folder / 'net_l.pth'), folder)
        read = ('network_g', 'network_l', 'network_inputs', 'path')
        options = tiny_run.write({key: tiny[key] for key in read}, folder / 'options.yml')
        Restorer.from_options(options, folder / 'net_g.pth', device='cpu').save(folder / 'b.safetensors')
        optimizer = torch.optim.Adam(self.network.parameters())
        sum(parameter.sum() for parameter in self.network.parameters()).backward()
        optimizer.step()
        torch.save({'epoch': 0, 'iter': 1, 'networks': ['net_g_1.pth'],
                    'optimizers': [optimizer.state_dict()], 'schedulers': []}, folder / '1.state')
        self.bundle, self.checkpoint, self.state = (
            (folder / name).read_bytes() for name in ('b.safetensors', 'net_g.pth', '1.state'))


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> Sources:
    return Sources(tmp_path_factory.mktemp('sources'))


def use_bundle(path: Path) -> None:
    restorer = Restorer.load(path, 'cpu')
    frames = [np.full((32, 32, 3), 99, np.uint8)] * 2
    assert [frame.shape for frame in restorer.restore(frames)] == [(32, 32, 3)] * 2


def use_checkpoint(path: Path, network: torch.nn.Module) -> None:
    load_strict(network, load_trained(path, tiny_run.NETWORK)[1], path.name)
    load_state(path)
    training_budget(path)


def try_file(path: Path, content: bytes, use: Callable[[], None], what: str) -> bool:
    """Whether a file of this content can be used. Fails for an exception without a message for the user."""
    path.write_bytes(content)
    start = time.monotonic()
    try:
        use()
    except (CheckpointError, RestoreError, ResumeError) as error:
        assert len(str(error)) < 5000
        return False
    except Exception as error:
        path.rename(path.with_name(f'failed_{what}{path.suffix}'.replace(' ', '_')))
        raise AssertionError(f'{what}: kept in {path.parent}') from error
    finally:
        assert time.monotonic() - start < SLOWEST, what
    return True


def try_all(sources: Sources, seeds: range, folder: Path) -> int:
    """How many of the mutated files can be used."""
    bundle, checkpoint, state = (folder / name for name in ('b.safetensors', 'net_g.pth', '1.state'))
    used = 0
    for seed in seeds:
        draw = random.Random(seed)
        if seed % 4 < 2:
            used += try_file(bundle, mutate_safetensors(sources.bundle, draw), lambda: use_bundle(bundle),
                             f'bundle {seed}')
        elif seed % 4 == 2:
            used += try_file(checkpoint, mutate_archive(sources.checkpoint, draw),
                             lambda: use_checkpoint(checkpoint, sources.network), f'checkpoint {seed}')
        else:
            used += try_file(state, mutate_archive(sources.state, draw), lambda: load_training_state(state),
                             f'state {seed}')
    return used


@pytest.mark.filterwarnings('ignore')
def test_mutated_weights(sources, tmp_path):
    use_bundle_and_others_unchanged(sources, tmp_path)
    assert 2 < try_all(sources, range(FILES), tmp_path) < FILES * 2 / 3


def use_bundle_and_others_unchanged(sources: Sources, folder: Path) -> None:
    for name, content in (('b.safetensors', sources.bundle), ('net_g.pth', sources.checkpoint)):
        (folder / name).write_bytes(content)
    use_bundle(folder / 'b.safetensors')
    use_checkpoint(folder / 'net_g.pth', sources.network)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_many_mutated_weights(sources, tmp_path):
    try_all(sources, range(FILES, 25 * FILES), tmp_path)
