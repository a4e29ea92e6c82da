"""Two processes on CPUs train one network through all phases, and validate together."""
import json
import os
import subprocess
import sys
from pathlib import Path

import linear_training
import pytest
import tiny_run
import torch

from gavn.metrics.results_file import TRUTH, read_results

PROBE = '''
import hashlib, os, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from gavn import train
from gavn.models import GAVNModel

step = GAVNModel.optimize_parameters
def noted(self, current_iter):
    step(self, current_iter)
    network = self.get_bare_model(self.net_g)
    digest = hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest()
    with open({folder!r} + '/rank' + os.environ['RANK'], 'a') as file:
        print(current_iter, type(self.net_g).__name__, self._phase.name, digest, file=file)
GAVNModel.optimize_parameters = noted
sys.exit(train.main())
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run of two processes with a batch of one sample each."""
    folder = tmp_path_factory.mktemp('distributed')
    data, detector = tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'detector.pth')
    opt = tiny_run.options(data, detector, folder)
    opt['datasets']['train'].update(batch_size_per_gpu=1)
    script = folder / 'probe.py'
    script.write_text(PROBE.format(root=str(linear_training.ROOT), folder=str(folder)), encoding='utf-8')
    options = tiny_run.write(opt, folder / 'options.yml')
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2',
               str(script), '-opt', str(options), '--launcher', 'pytorch']
    done = subprocess.run(command, env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0, done.stdout
    return folder


def test_the_processes_agree_at_every_step_of_every_phase(folder):
    first, second = ((folder / f'rank{rank}').read_text().splitlines() for rank in (0, 1))
    assert first == second
    assert [line.split()[:3] for line in first] == [
        [str(i + 1), 'DistributedDataParallel', name]
        for i, name in enumerate(['temporal'] * 2 + ['warmup'] * 2 + ['finetune'] * 3)]
    assert len({line.split()[3] for line in first}) == 7


def test_clips_are_shared_and_gathered(folder):
    rows = read_results(folder / 'experiments/tiny/metrics/val_7.csv')
    assert [row.clip for row in rows if row.run.method == 'GAVN'] == [*tiny_run.VAL, 'mean', 'std']
    assert rows[0].run.fps > 0 and rows[-1].run.method == TRUTH


def test_the_budget_counts_the_clips_of_all_processes(folder):
    assert json.loads((folder / 'experiments/tiny/budget.json').read_text())['clips_seen'] == 14


def test_two_processes_do_what_one_does_with_the_whole_batch(folder, tmp_path):
    opt = tiny_run.options(folder / 'data', folder / 'detector.pth', tmp_path)
    del opt['val'], opt['datasets']['val']
    linear_training.run_here('train', '-opt', str(tiny_run.write(opt, tmp_path / 'options.yml')))
    path = Path('experiments/tiny/models/net_g_latest.pth')
    ours, theirs = (torch.load(place / path, weights_only=True)['params'] for place in (folder, tmp_path))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)
