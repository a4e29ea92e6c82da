"""What a comparison is made of: arithmetic of budgets, jobs side by side."""
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavn.experiments.compare import jobs
from gavn.experiments.compare.jobs import JobOutcome, JobSpec, Runner
from gavn.experiments.compare.settings import (
    CompareBudget,
    CompareError,
    divided,
    iterations_for_minutes,
    rescaled,
)

# ---- arithmetic

def test_budgets():
    assert str(CompareBudget.parse('15min')) == '15min'
    assert CompareBudget.parse('4000it') == CompareBudget(4000, 'it')
    assert CompareBudget.parse('0.5min').amount == 0.5
    for text in ('15', '4k it', '0it', '-3min', '1.5it', 'min'):
        with pytest.raises(CompareError, match='neither minutes'):
            CompareBudget.parse(text)


@given(st.lists(st.integers(1, 10 ** 6), min_size=1, max_size=9), st.integers(0, 10 ** 6))
def test_phases_keep_their_shares(shares, spare):
    total = len(shares) + spare
    parts = divided(total, shares)
    assert sum(parts) == total and min(parts) >= 1
    exact = [total * share / sum(shares) for share in shares]
    if min(exact) >= 1:
        assert all(abs(part - value) < 1 for part, value in zip(parts, exact, strict=True))


def test_a_budget_shorter_than_the_phases():
    with pytest.raises(CompareError, match='2 iterations is less than the 3 phases'):
        divided(2, [5, 5, 5])


def test_minutes_become_iterations():
    # 3 of 4 iterations take 1 s, the others 5 s: 2 s each, 30 a minute
    assert iterations_for_minutes(1, [75, 25], [1.0, 5.0]) == 30
    assert iterations_for_minutes(0.001, [1], [10.0]) == 1


def test_everything_in_a_schedule_is_scaled():
    options = {'train': {'phases': [{'name': 'a', 'iters': 30, 'lr': 1}, {'name': 'b', 'iters': 10, 'lr': 2}],
                         'warmup_iter': 10, 'ema_decay': 0.8}, 'val': {'val_freq': 20},
               'logger': {'print_freq': 5, 'save_checkpoint_freq': 10}}
    new = rescaled(options, 400)
    assert [(phase['iters'], phase['lr']) for phase in new['train']['phases']] == [(300, 1), (100, 2)]
    assert new['train']['total_iter'] == 400
    cosine = {'type': 'CosineAnnealingRestartLR', 'periods': [30, 10], 'restart_weights': [1, 0.5]}
    steps = {'type': 'MultiStepLR', 'milestones': [10, 30], 'gamma': 0.5}
    for scheduler, scaled in ((cosine, {'periods': [300, 100]}), (steps, {'milestones': [100, 300]})):
        longer = rescaled({**options, 'train': {**options['train'], 'scheduler': scheduler}}, 400)
        assert scaled.items() <= longer['train']['scheduler'].items()
    assert new['train']['warmup_iter'] == 100 and new['val']['val_freq'] == 200
    assert new['train']['ema_decay'] == pytest.approx(0.98)  # 5 iterations were averaged, 50 are now
    assert new['logger'] == {'print_freq': 5, 'save_checkpoint_freq': 100}
    small = rescaled(options, 4)
    assert [phase['iters'] for phase in small['train']['phases']] == [3, 1] and small['val']['val_freq'] == 2
    assert small['logger'] == {'print_freq': 1, 'save_checkpoint_freq': 1}
    assert small['train']['ema_decay'] == 0  # half an iteration: no average
    assert options['train']['phases'][0]['iters'] == 30 and options['val']['val_freq'] == 20


# ---- jobs

def python(code: str, *, name: str = 'one', **more) -> JobSpec:
    return JobSpec(name, (sys.executable, '-c', code), more.pop('inputs', ()), more.pop('outputs', ()),
                   **more)


def do(folder: Path, *work: JobSpec, parallel: int = 2, **more) -> dict[str, JobOutcome]:
    def environment(slot: int) -> dict[str, str]:
        return {**os.environ, 'SLOT': str(slot)}
    return Runner(work, folder, parallel, environment, folder, **more).run()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(jobs, '_PAUSE', 0.01)


def test_jobs_side_by_side(tmp_path, quick):
    most = []

    def show(outcomes):
        most.append(sum(outcome.state == 'running' for outcome in outcomes.values()))

    code = 'import os, time; time.sleep(.1); print(os.environ["SLOT"])'
    work = [python(code, name=f'job{i}') for i in range(5)]
    outcomes = do(tmp_path, *work, show=show)
    assert max(most) == 2 and {outcome.state for outcome in outcomes.values()} == {'done'}
    assert {path.read_text() for path in (tmp_path / 'logs').iterdir()} == {'0\n', '1\n'}


def test_inputs_are_not_read_again_while_jobs_wait(tmp_path, quick, monkeypatch):
    (tmp_path / 'weights').touch()
    read = []
    monkeypatch.setattr(jobs, 'digest', lambda path: read.append(path) or 'digest')
    code, inputs = 'import time; time.sleep(.3)', (tmp_path / 'weights',)
    work = [python(code, name=f'job{i}', inputs=inputs) for i in range(3)]
    assert {outcome.state for outcome in do(tmp_path, *work, parallel=1).values()} == {'done'}
    assert len(read) < 20  # a look every 0.01 s would be a hundred


def test_why_jobs_fail(tmp_path, quick):
    outcomes = do(
        tmp_path, python('print("CUDA out of memory"); exit(1)', name='memory'),
        python('', name='nothing', outputs=(tmp_path / 'x',)),
        python('', name='after', needs=('memory',)), python('', name='last', needs=('after',)))
    assert outcomes['memory'].state == 'failed' and 'give fewer --jobs' in outcomes['memory'].reason
    assert outcomes['nothing'].reason == f'{tmp_path / "x"} was not written'
    assert outcomes['after'].state == outcomes['last'].state == 'skipped'


def test_a_process_that_ignores_sigterm_is_killed(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(jobs, '_GRACE', 0.2)
    stubborn = python('import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
                      'open("there", "w").close(); time.sleep(60)')

    def show(outcomes):
        if (tmp_path / 'there').exists():
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, stubborn, show=show)
    assert time.monotonic() - began < 20
