"""How many iterations a run has, which samples each sees, and that a resumed run is the unbroken one."""
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from linear_training import StandInData, run, run_here, stock, weights, write_options

from gavn.basicsr_patches.data_data_sampler import EpochPlan, EpochSampler, SeededDataset, plan_epochs


def sampler(start: int = 0, rank: int = 0, processes: int = 1, seed: int = 0, **changes: int) -> EpochSampler:
    plan = {'samples': 10, 'batch': 4, 'processes': processes, 'total': 7} | changes
    return EpochSampler(EpochPlan(**plan), rank, seed, start=start)


def epoch(indices: EpochSampler, number: int) -> list[int]:
    indices.set_epoch(number)
    return list(indices)


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an unbroken run of 13 iterations, 5 an epoch, with all its checkpoints."""
    folder = tmp_path_factory.mktemp('finished')
    run_here('train', '-opt', str(write_options(folder, logger__save_checkpoint_freq=1)))
    return folder


def test_a_incomplete_batches_are_not_counted() -> None:
    opt = {'world_size': 1, 'num_gpu': 0, 'dist': False, 'train': {'total_iter': 1000}}
    epochs = plan_epochs(100, {'name': 'x', 'batch_size_per_gpu': 16}, opt)
    assert epochs.iterations == 6  # stock counts 7 and runs 864 iterations of 1000
    lengths = [len(epoch(EpochSampler(epochs, 0, 0), e)) // 16 for e in range(167)]
    assert sum(lengths) == 1000
    assert lengths[-1] == 1000 - 166 * 6


def test_a_data_parallel_batches_are_counted_whole() -> None:
    opt = {'world_size': 1, 'num_gpu': 4, 'dist': False, 'train': {'total_iter': 10}}
    assert plan_epochs(32, {'name': 'x', 'batch_size_per_gpu': 2}, opt).iterations == 4


def test_a_too_few_samples_are_an_error() -> None:
    opt = {'world_size': 1, 'num_gpu': 0, 'dist': False, 'train': {'total_iter': 10}}
    with pytest.raises(ValueError, match=r'7 training samples do not fill a batch of 8'):
        plan_epochs(7, {'name': 'x', 'batch_size_per_gpu': 8}, opt)


@pytest.mark.parametrize('repetitions', [1, 2, 4])
def test_a_node_reads_its_shard_only(repetitions) -> None:
    """11 samples, two nodes of two processes: 5 or 6 samples a node, and each of them within a few epochs."""
    plan = {'samples': 11 * repetitions, 'batch': 4, 'processes': 4, 'total': 99, 'shards': 2,
            'repetitions': repetitions}
    seen = [{index % 11 for number in range(9) for index in epoch(sampler(rank=rank, **plan), number)}
            for rank in range(4)]
    assert seen[0] | seen[1] == set(range(6)) and seen[2] | seen[3] == set(range(6, 11))
    batches = 5 * repetitions // 2  # the smaller shard has 5 samples, and a batch takes 2 of each
    for number in range(3):
        orders = [epoch(sampler(rank=rank, **plan), number) for rank in range(4)]
        assert [len(order) for order in orders] == [batches] * 4
        assert len(set().union(*orders)) == 4 * batches
    resumed = epoch(sampler(start=1, rank=3, **plan), 0)
    assert resumed == epoch(sampler(rank=3, **plan), 0)[1:]


def test_a_processes_divide_into_shards() -> None:
    opt = {'world_size': 3, 'num_gpu': 0, 'dist': True, 'train': {'total_iter': 10}}
    with pytest.raises(ValueError, match=r'3 processes do not divide into 2 shards; give one shard for each'):
        plan_epochs(9, {'name': 'x', 'batch_size_per_gpu': 1, 'shards': 2}, opt)


def test_a_phases_in_epochs_become_iterations() -> None:
    train = {'phases': [{'epochs': 2}, {'iters': 3}, {'epochs': 0.5}]}
    opt = {'world_size': 1, 'num_gpu': 0, 'dist': False, 'train': train}
    plan_epochs(20, {'name': 'x', 'batch_size_per_gpu': 2}, opt)
    assert [phase['iters'] for phase in train['phases']] == [20, 3, 5]
    assert train['total_iter'] == 28


def test_a_run_has_as_many_iterations_as_asked_for(finished: Path) -> None:
    log = next((finished / 'experiments/stand_in').glob('train_*.log')).read_text()
    assert 'iter:      13' in log
    assert 'iter:      14' not in log
    assert torch.load(finished / 'experiments/stand_in/training_states/13.state')['iter'] == 13


def test_b_draws_differ_between_epochs_and_do_not_leak() -> None:
    data = pickle.loads(pickle.dumps(SeededDataset(StandInData({}), seed=5)))  # as for a spawned worker
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second, again = (data[i]['lq'][0, 0, 0].item() for i in (3, 13, 3))
    assert first == again
    assert first != second
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_b_stock_workers_repeat_themselves() -> None:
    stock_init = stock('data.__init__').worker_init_fn
    draws = []
    for _ in range(2):  # at the start of each epoch
        stock_init(0, num_workers=1, rank=0, seed=0)
        draws.append(np.random.rand())
    assert draws[0] == draws[1]


def test_c_the_order_depends_on_seed_and_epoch() -> None:
    orders = [epoch(EnlargedSampler(range(10), 1, 0), 1), epoch(EnlargedSampler(range(10), 1, 0), 1)]
    assert orders[0] == orders[1]  # stock: whatever the seed
    ours = [[i % 10 for i in epoch(sampler(seed=seed, total=9, batch=5), number)]
            for seed, number in ((0, 0), (1, 0), (0, 1))]
    assert len({tuple(order) for order in ours}) == 3
    assert all(sorted(order) == list(range(10)) for order in ours)


def test_c_the_index_holds_the_epoch() -> None:
    enlarged = sampler(samples=20, batch=5, total=100)  # 10 samples, twice in an epoch
    assert {i // 10 for i in epoch(enlarged, 3)} == {6, 7}


def test_c_processes_share_a_batch() -> None:
    whole = epoch(sampler(), 1)
    parts = [epoch(sampler(rank=rank, processes=2), 1) for rank in (0, 1)]
    assert [i for pair in zip(*parts, strict=True) for i in pair] == whole


@pytest.mark.parametrize('start', range(8))
def test_f_sampling_resumes_at_the_next_sample(start: int) -> None:
    unbroken = [i for e in range(4) for i in epoch(sampler(), e)]
    resumed = sampler(start=start)
    rest = [i for e in range(resumed.epoch, 4) for i in epoch(resumed, e)]
    assert len(unbroken) == 7 * 4
    assert rest == unbroken[start * 4:]


@pytest.mark.parametrize('done', [4, 5, 9, 12])
def test_f_a_resumed_run_ends_with_the_same_weights(done: int, finished: Path, tmp_path: Path) -> None:
    file = write_options(tmp_path, logger__save_checkpoint_freq=100)
    state = finished / f'experiments/stand_in/training_states/{done}.state'
    run_here('train', '-opt', str(file), '--force_yml', f'path:resume_state={state}')
    assert_equal(weights(tmp_path), weights(finished))


def test_b_f_workers_change_nothing(finished: Path, tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__num_worker_per_gpu=2,
                         datasets__train__prefetch_mode='cpu')
    run_here('train', '-opt', str(file))
    assert_equal(weights(tmp_path), weights(finished))


def test_f_another_batch_size_still_runs_to_the_end(finished: Path, tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__batch_size_per_gpu=5, logger__save_checkpoint_freq=1)
    state = finished / 'experiments/stand_in/training_states/10.state'  # its third epoch, then the sixth
    run_here('train', '-opt', str(file), '--force_yml', f'path:resume_state={state}')
    assert torch.load(tmp_path / 'experiments/stand_in/training_states/13.state')['epoch'] == 6


def test_z_a_kill_while_writing_loses_no_checkpoint(finished: Path, tmp_path: Path) -> None:
    file = write_options(tmp_path)
    killed = run('--kill-in', 'net_g_8', 'train', '-opt', str(file), check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    models = tmp_path / 'experiments/stand_in/models'
    assert [path.name for path in models.glob('[!.]*')] == ['net_g_4.pth']
    assert len(list(models.glob('.*'))) == 1  # half of net_g_8.pth
    run_here('train', '-opt', str(file), '--auto_resume')
    assert_equal(weights(tmp_path), weights(finished))
    assert not list(models.glob('.*'))


def test_g_a_bad_sample_ends_the_run(tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__prefetch_mode='cpu', datasets__train__bad=3)
    with pytest.raises(ValueError, match='sample 3 is bad'):
        run_here('train', '-opt', str(file))


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    different = [key for key in ours if not torch.equal(ours[key], theirs[key])]
    assert not different
