"""The parts of scripts/gpu/run.py: steps under one deadline, the choice of the batch, lengths of parts."""
import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from option_files import load

from gavn.experiments.bench.batches import Rate, choose
from gavn.experiments.bench.networks import BenchNetwork
from gavn.experiments.gpu_run import (
    SAFETY,
    Steps,
    measured_rate,
    newest_checkpoint,
    part_length,
    placed,
    training_part,
)
from gavn.models.schedule import Schedule


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path, tmp_path / 'logs', 20, {})


def python(code: str) -> tuple[str, ...]:
    return sys.executable, '-S', '-c', code


def outcomes(steps: Steps) -> list[list[str]]:
    return [row.strip('| ').split(' | ') for row in steps.outcomes]


def test_a_failing_step_does_not_stop_the_next(steps):
    steps.run('bad', 10, *python('print("one"); print("a | b"); raise SystemExit(3)'))
    steps.run('good', 10, *python('print("fine")'))
    assert [(name, state, last) for name, state, _, last in outcomes(steps)] == [
        ('bad', 'failed (3)', 'a / b'), ('good', 'ok', 'fine')]


def test_a_step_ends_at_its_own_limit_and_at_that_of_the_run(tmp_path):
    steps = Steps(tmp_path, tmp_path / 'logs', 3, {})
    sleeping = steps.run('slow', 1, *python('import time; print("here", flush=True); time.sleep(60)'))
    assert outcomes(steps)[0][1] == 'out of time' and sleeping.poll() is not None
    steps.run('late', 60, *python('import time; time.sleep(60)'))
    assert outcomes(steps)[1][1] == 'out of time' and float(outcomes(steps)[1][2]) < 10


def test_steps_have_the_variables_of_the_run(steps):
    steps.environment['GAVN_DCN_BACKEND'] = 'reference'
    steps.run('env', 10, *python('import os; print(os.environ["GAVN_DCN_BACKEND"], "PATH" in os.environ)'))
    assert outcomes(steps)[0][3] == 'reference True'


@pytest.mark.parametrize(('rates', 'batch', 'backend'), [
    ({(8, ''): 50, (16, ''): 95, (32, ''): 100}, 16, ''),
    ({(8, ''): 50, (16, ''): 95, (16, 'triton'): 99, (32, ''): 100}, 16, 'triton'),
    ({(8, ''): 50, (32, 'triton'): 300}, 32, 'triton')])
def test_the_smallest_batch_near_the_best_rate_is_taken(rates, batch, backend):
    chosen = choose(json.dumps([size, operator, rate]) for (size, operator), rate in rates.items())
    assert (chosen.batch, chosen.backend) == (batch, backend)


def test_rates_are_read_between_other_lines():
    assert choose(['a warning', '[8, "", 12.5]', 'no figure']) == Rate(8, '', 12.5)
    assert choose([]) is None


def report(iteration: int, seconds: float) -> str:
    stamp = (datetime(2026, 1, 1) + timedelta(seconds=seconds)).strftime('%Y-%m-%d %H:%M:%S,%f')[:-3]
    return f'{stamp} INFO: [name..][epoch:  0, iter: {iteration:7,}, lr:(5.000e-04,)] l_pix: 2.0e-02'


def test_the_rate_is_that_of_the_log():
    lines = ['starting', report(500, 100), report(1000, 150), report(1500, 200)]
    assert measured_rate(lines) == pytest.approx(10)
    assert measured_rate(lines[:2]) is None


def test_a_part_fits_into_its_time():
    assert part_length(10, 60) == int(SAFETY * 600)
    assert part_length(None, 60) == part_length(10, -5) == 10


def test_the_parts_are_one_training(tmp_path):
    options = placed(load('pretrained/train_gavn_wide'), tmp_path, 8)
    sections = options['datasets'].values()
    assert {section['root'] for section in sections} == {str(tmp_path / 'data')}
    assert Path(options['path']['pretrain_network_l']).is_file()
    first, second = training_part(options, 100), training_part(options, 100, 900)
    schedules = [Schedule.from_options(part['train']) for part in (first, second)]
    assert [schedule.total for schedule in schedules] == [100, 1000]
    assert all(schedules[0].lr(i) == schedules[1].lr(i) for i in (1, 50, 100))
    assert schedules[1].full_lr(101) == 5e-4 and schedules[1].full_lr(1000) == pytest.approx(1e-5, rel=0.01)
    assert set(first['datasets']) == {'train'} and 'val' not in first
    assert second['val']['val_freq'] > 1000 and 'val_4' in second['datasets']
    assert second['datasets']['train']['batch_size_per_gpu'] == 8


def test_the_newest_checkpoint_is_bundled(tmp_path):
    for age, name in enumerate(('net_g_1500.pth', 'net_g_1000.pth', 'net_g_latest.pth')):
        file = tmp_path / 'wide' / 'models' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (100 - age, 100 - age))
    assert newest_checkpoint(tmp_path).name == 'net_g_1500.pth'
    assert newest_checkpoint(tmp_path / 'none') is None


def test_a_timed_network_gets_its_own_inputs_alone():
    class Sum(torch.nn.Module):
        def forward(self, lq, audio):
            return lq + audio

    inputs, device = ('lq', 'audio', 'region'), torch.device('cpu')
    subject = BenchNetwork('sum', Sum(), None, inputs, None, device, 8, 'gavn')
    batch = {name: torch.ones(1) for name in ('lq', 'audio', 'gt')}
    assert subject.restore(batch).item() == 2
