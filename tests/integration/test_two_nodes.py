"""A node of two dies while a network is trained; another takes its place, and the weights are the same."""
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import linear_training
import pytest
import tiny_run
import torch
from two_nodes import Node, cut_power, two_nodes

pytestmark = pytest.mark.slow

STOP = 5  # the node dies in this iteration; the newest state is that of iteration 4
PROBE = '''
import os, sys, time
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from gavn import train
from gavn.models import GAVNModel

step = GAVNModel.optimize_parameters
def noted(self, current_iter):
    if current_iter == int(os.environ.get('HOLD', 0)):
        print('holds', flush=True)
        time.sleep(1000)
    step(self, current_iter)
GAVNModel.optimize_parameters = noted
sys.exit(train.main())
'''


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('nodes')
    (folder / 'probe.py').write_text(PROBE.format(root=str(linear_training.ROOT)), encoding='utf-8')
    tiny_run.make_data(folder / 'data')
    tiny_run.make_detector(folder / 'detector.pth')
    return folder


def arguments(place: Path, folder: Path) -> list[str]:
    """Of a run in `folder` with a state every other iteration."""
    opt = tiny_run.options(place / 'data', place / 'detector.pth', folder)
    opt['datasets']['train'].update(batch_size_per_gpu=1, shards=2)
    opt['logger'].update(save_checkpoint_freq=2, print_freq=1)
    del opt['val'], opt['datasets']['val']
    options = tiny_run.write(opt, folder / 'options.yml')
    return [str(place / 'probe.py'), '-opt', str(options), '--launcher', 'pytorch', '--auto_resume']


@pytest.fixture(scope='module')
def uninterrupted(place, tmp_path_factory):
    """Two processes of one machine."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    done = subprocess.run([*command, *arguments(place, folder)], text=True, stdout=subprocess.PIPE,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
                          stderr=subprocess.STDOUT, timeout=300)
    assert done.returncode == 0, done.stdout
    return weights(folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    file = torch.load(folder / 'experiments/tiny/models/net_g_latest.pth', weights_only=True)
    groups = ('params', 'params_ema')
    return {f'{group}.{key}': value for group in groups for key, value in file[group].items()}


def wait_for(condition: Callable[[], bool], log: Path, *nodes: Node) -> None:
    """Waits while the nodes run."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        assert all(node.agent.poll() is None for node in nodes), log.read_text()
        time.sleep(0.2)


@pytest.mark.parametrize('silent', [False, True], ids=['killed', 'without power'])
def test_a_node_that_dies_is_replaced_and_the_weights_are_the_same(silent, place, uninterrupted, tmp_path):
    run, logs = arguments(place, tmp_path), [tmp_path / f'node{number}.log' for number in (0, 1)]
    state = tmp_path / 'experiments/tiny/training_states/4.state'  # the other node may still be writing it
    with two_nodes() as (first, second):
        first.torchrun(logs[0], *run)
        second.torchrun(logs[1], *run, HOLD=str(STOP))
        wait_for(lambda: 'holds' in logs[1].read_text() and state.exists(), logs[1], first, second)
        if silent:
            cut_power(first, second)
        else:
            second.kill()
        second.torchrun(logs[1], *run)
        assert [node.wait(300) for node in (second, first)] == [0, 0], logs[0].read_text()
    log = logs[0].read_text() + logs[1].read_text()
    assert log.count('Resuming training from epoch: 2, iter: 4') == 1, log
    ours = weights(tmp_path)
    assert ours.keys() == uninterrupted.keys()
    assert [name for name in ours if not torch.equal(ours[name], uninterrupted[name])] == []
