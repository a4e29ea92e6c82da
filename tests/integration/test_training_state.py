"""Checkpoints: whole, few, found again, and resumed under the options of today."""
import errno
from pathlib import Path

import basicsr.train
import pytest
import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from linear_training import StandInNet, run_here, stock, write_options

from gavn import basicsr_patches
from gavn.basicsr_patches.training_state import (
    ResumeError,
    find_latest_state,
    incomplete_reason,
    load_resume_state,
    load_state,
    prune_checkpoints,
)
from gavn.errors import GavnError

Stock = stock('models.base_model').BaseModel


def model_of(kind: type, folder: Path, **attributes: object) -> BaseModel:
    """A model with one network and one optimizer."""
    basicsr_patches.apply()
    paths = {name: str(folder / name) for name in ('models', 'training_states')}
    for path in paths.values():
        Path(path).mkdir(exist_ok=True)
    model = kind({'num_gpu': 0, 'is_train': True, 'path': paths, 'dist': False, 'logger': {}, 'train': {}})
    model.net_g = StandInNet()
    model.optimizers = [torch.optim.Adam(model.net_g.parameters(), lr=0.1)]
    vars(model).update(attributes)
    return model


def save(model: BaseModel, iteration: int) -> None:
    model.save_network(model.net_g, 'net_g', iteration)
    model.save_training_state(0, iteration)


def options_for(folder: Path, **changes: object) -> dict:
    paths = {'training_states': str(folder / 'training_states'), 'models': str(folder / 'models')}
    return {'auto_resume': True, 'rank': 0, 'dist': False, 'network_g': {}, 'path': paths} | changes


def fail_to_write(content: object, path: object) -> None:
    Path(getattr(path, 'name', path)).write_bytes(b'half')  # a path of stock's, a file of ours
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_stock_continues_without_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'save', fail_to_write)
    monkeypatch.setattr(stock('models.base_model').time, 'sleep', lambda seconds: None)
    save(model_of(Stock, tmp_path), 4)
    assert (tmp_path / 'training_states/4.state').read_bytes() == b'half'


@pytest.mark.parametrize('part', ['save_network', 'save_training_state'])
def test_a_failure_to_write_is_raised_and_leaves_nothing(part: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(BaseModel, tmp_path)
    monkeypatch.setattr(torch, 'save', fail_to_write)
    arguments = (model.net_g, 'net_g', 4) if part == 'save_network' else (0, 4)
    with pytest.raises(OSError, match='No space left'):
        getattr(model, part)(*arguments)
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_files_are_those_of_stock(tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path)
    for kind, folder in ((Stock, tmp_path / 'stock'), (BaseModel, tmp_path / 'ours')):
        folder.mkdir()
        other = model_of(kind, folder, net_g=model.net_g)
        other.save_network([model.net_g, model.net_g], 'net_g', -1, param_key=['params', 'params_ema'])
        save(other, 4)
    theirs, ours = (torch.load(tmp_path / f'{kind}/models/net_g_latest.pth') for kind in ('stock', 'ours'))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours['params_ema'][key], value) for key, value in theirs['params'].items())
    theirs, ours = (load_state(tmp_path / f'{kind}/training_states/4.state') for kind in ('stock', 'ours'))
    assert ours.keys() - theirs.keys() == {'networks', 'manual_seed'}


def test_old_checkpoints_are_pruned(tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path)
    model.opt['logger']['keep_checkpoints'] = 2
    (tmp_path / 'models/net_g_best.pth').touch()
    for iteration in (4, 8, 12, 100):
        save(model, iteration)
    assert {path.name for path in (tmp_path / 'training_states').iterdir()} == {'12.state', '100.state'}
    names = {path.name for path in (tmp_path / 'models').iterdir()}
    assert names == {'net_g_12.pth', 'net_g_100.pth', 'net_g_best.pth'}


@pytest.mark.parametrize('damage', ['12.state', 'net_g_12.pth'])
def test_a_damaged_checkpoint_does_not_replace_a_whole_one(damage: str, tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path)
    for iteration in (4, 8, 12):
        save(model, iteration)
    broken = next(tmp_path.rglob(damage))
    broken.write_bytes(broken.read_bytes()[:-100])
    paths = {'models': str(tmp_path / 'models'), 'training_states': str(tmp_path / 'training_states')}
    prune_checkpoints(paths, 1)
    assert find_latest_state(Path(paths['training_states']), ['network_g']).name == '8.state'
    assert not list(tmp_path.rglob('*4.*'))


def test_remains_of_a_pruned_checkpoint_are_removed_later(tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path)
    for iteration in (4, 8):
        save(model, iteration)
    (tmp_path / 'models/net_g_4.pth').unlink()
    prune_checkpoints({key: str(tmp_path / key) for key in ('models', 'training_states')}, 1)
    assert {path.name for path in (tmp_path / 'training_states').iterdir()} == {'8.state'}


def test_pruning_is_off_unless_asked_for(tmp_path: Path) -> None:
    for iteration in (4, 8):
        save(model_of(BaseModel, tmp_path), iteration)
    prune_checkpoints({key: str(tmp_path / key) for key in ('models', 'training_states')}, None)
    assert len(list((tmp_path / 'training_states').iterdir())) == 2


@pytest.mark.parametrize('damage', ['state cut', 'weights cut', 'weights gone'])
def test_the_newest_complete_state_is_found(damage: str, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    for iteration in (8, 12):
        save(model_of(BaseModel, tmp_path), iteration)
    broken = tmp_path / ('training_states/12.state' if damage == 'state cut' else 'models/net_g_12.pth')
    if damage == 'weights gone':
        broken.unlink()
    else:
        broken.write_bytes(broken.read_bytes()[:-100])
    states = tmp_path / 'training_states'
    assert find_latest_state(states, ['network_g']) == states / '8.state'
    assert f'{broken} ' in capsys.readouterr().out


def test_a_named_state_without_weights_is_an_error(tmp_path: Path) -> None:
    save(model_of(BaseModel, tmp_path), 8)
    (tmp_path / 'models/net_g_8.pth').unlink()
    opt = options_for(tmp_path, auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'training_states/8.state')
    with pytest.raises(ResumeError, match=r'net_g_8.pth are missing'):
        load_resume_state(opt)


def test_resuming_needs_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> int:
        raise RuntimeError('no NVIDIA')

    monkeypatch.setattr(torch.cuda, 'current_device', no_gpu)
    save(model_of(BaseModel, tmp_path), 8)
    opt = options_for(tmp_path, auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'training_states/8.state')
    with pytest.raises(RuntimeError, match='no NVIDIA'):
        stock('train').load_resume_state(opt)
    assert load_resume_state(opt)['iter'] == 8


def test_auto_resume_searches_where_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir('/')
    save(model_of(BaseModel, tmp_path), 8)
    opt = options_for(tmp_path, name='x')
    assert stock('train').load_resume_state(opt) is None
    assert load_resume_state(opt)['iter'] == 8
    assert opt['path']['pretrain_network_g'] == str(tmp_path / 'models/net_g_8.pth')


def test_every_process_resumes_from_the_state_that_the_first_finds(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the first process, on another node, sees no newer state than 4."""
    model = model_of(BaseModel, tmp_path)
    for iteration in (4, 8):
        save(model, iteration)

    def receive(objects: list) -> None:
        objects[:] = [tmp_path / 'training_states/4.state']

    monkeypatch.setattr(torch.distributed, 'broadcast_object_list', receive)
    assert load_resume_state(options_for(tmp_path, rank=1, dist=True))['iter'] == 4
    (tmp_path / 'training_states/4.state').unlink()
    with pytest.raises(ResumeError, match=r'4\.state is missing'):
        load_resume_state(options_for(tmp_path, rank=1, dist=True))


def test_a_state_of_another_run(tmp_path: Path) -> None:
    """Stock wants the folder of the new name to exist, and looks for the weights there."""
    run_here('train', '-opt', str(write_options(tmp_path)))
    file = write_options(tmp_path, name='another', logger__save_checkpoint_freq=100)
    state = tmp_path / 'experiments/stand_in/training_states/8.state'
    run_here('train', '-opt', str(file), '--force_yml', f'path:resume_state={state}')
    ours, theirs = (torch.load(tmp_path / f'experiments/{name}/models/net_g_latest.pth')['params']
                    for name in ('another', 'stand_in'))
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_frozen_networks_keep_their_weights_on_resuming(tmp_path: Path) -> None:
    save(model_of(BaseModel, tmp_path), 8)
    opt = options_for(tmp_path, network_l={})
    opt['path'] |= {'pretrain_network_l': 'detector.pth', 'param_key_g': 'params_ema'}
    load_resume_state(opt)
    assert opt['path']['pretrain_network_l'] == 'detector.pth'
    assert opt['path']['param_key_g'] == 'params'


def test_a_state_may_hold_no_code(tmp_path: Path) -> None:
    torch.save({'iter': Path('x')}, tmp_path / '1.state')
    with pytest.raises(ResumeError, match='holds pickled objects, which could run code: refused'):
        load_state(tmp_path / '1.state')


@pytest.mark.parametrize(('content', 'message'), [
    ([1], 'holds a list, not weights'), ({}, 'is not a training state: epoch is missing; iter is missing'),
    ({'epoch': 0, 'iter': 'x', 'optimizers': [], 'schedulers': []}, "iter is 'x'; it must be a whole number"),
    ({'epoch': 0, 'iter': -1, 'optimizers': [], 'schedulers': []}, 'iter is -1'),
    ({'epoch': 0, 'iter': 1, 'optimizers': [5], 'schedulers': []}, r'optimizers\[0\] is 5'),
    ({'epoch': 0, 'iter': 1, 'optimizers': [], 'schedulers': [], 'networks': [5]}, r'networks\[0\] is 5'),
])
def test_other_files_are_no_states(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / '1.state')
    with pytest.raises(ResumeError, match=message):
        load_state(tmp_path / '1.state')


@pytest.mark.parametrize('content', [Path('x'), {'iter': Path('x')}], ids=['bare', 'nested'])
def test_pickled_states_are_refused(content: object, tmp_path: Path) -> None:
    file = write_options(tmp_path)
    torch.save(content, tmp_path / '1.state')
    with pytest.raises(GavnError, match=r'cannot resume from .*pickled objects, .*refused'):
        run_here('train', '-opt', str(file), '--force_yml', f'path:resume_state={tmp_path}/1.state')


def test_a_state_that_torch_did_not_write_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / '1.state').write_bytes(b'no archive')
    assert incomplete_reason(tmp_path / '1.state', []).endswith('no file of torch.save')


def test_a_state_beyond_the_end_of_training_is_refused(tmp_path: Path) -> None:
    """The schedule would be replayed 10^18 times."""
    file = write_options(tmp_path)
    run_here('train', '-opt', str(file), '--force_yml', 'train:total_iter=5')
    states = tmp_path / 'experiments/stand_in/training_states'
    state = load_state(states / '4.state')
    torch.save({**state, 'iter': 10**18}, states / f'{10**18}.state')
    with pytest.raises(GavnError, match=rf'at iteration {10**18}, but training ends at \d+; raise'):
        run_here('train', '-opt', str(file), '--auto_resume')


@pytest.mark.parametrize('optimizers', [[], [{}], [{'state': {}, 'param_groups': []}], [{'state': 5}],
                                        [{'state': {}, 'param_groups': 5}]])
def test_a_state_of_other_optimizers(optimizers: list, tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match='does not belong to these optimizers'):
        model_of(BaseModel, tmp_path).resume_training({'iter': 1, 'optimizers': optimizers, 'schedulers': []})


def after_resume(kind: type, folder: Path, milestones: list[int], lr: float) -> list[float]:
    """Learning rates of iterations 7 to 12, resumed after 6 with another option file (was: lr 0.1, [100])."""
    def built(lr: float, milestones: list[int]) -> BaseModel:
        model = model_of(kind, folder)
        model.optimizers = [torch.optim.Adam(model.net_g.parameters(), lr=lr)]
        model.schedulers = [MultiStepRestartLR(model.optimizers[0], milestones)]
        return model

    first = built(0.1, [100])
    for iteration in range(1, 7):
        first.update_learning_rate(iteration)
    save(first, 6)
    second = built(lr, milestones)
    second.resume_training(load_state(folder / 'training_states/6.state'))
    rates = []
    for iteration in range(7, 13):
        second.update_learning_rate(iteration)
        rates.append(second.get_current_learning_rate()[0])
    return rates


@pytest.mark.filterwarnings('ignore:Detected call of')
def test_changes_of_the_option_file_apply_after_resuming(tmp_path: Path) -> None:
    assert after_resume(Stock, tmp_path, [9], lr=0.5) == [0.1] * 6
    assert after_resume(BaseModel, tmp_path, [9], lr=0.5) == pytest.approx([0.5] * 3 + [0.05] * 3)


def test_moments_survive(tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path)
    model.net_g(torch.ones(2, 3, 4, 4)).sum().backward()
    model.optimizers[0].step()
    save(model, 1)
    other = model_of(BaseModel, tmp_path)
    other.resume_training(load_state(tmp_path / 'training_states/1.state'))
    ours, theirs = (item.optimizers[0].state_dict()['state'] for item in (other, model))
    assert all(torch.equal(ours[i][key], value) for i in theirs for key, value in theirs[i].items())


def test_a_cosine_ends_where_its_last_period_does() -> None:
    def last_rates(kind: type) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = kind(optimizer, periods=[4, 4], restart_weights=[1, 0.5], eta_min=0.1)
        rates = []
        for _ in range(12):
            optimizer.step()
            scheduler.step()
            rates.append(scheduler.get_last_lr()[0])
        return rates[7:]

    basicsr_patches.apply()
    with pytest.raises(TypeError, match='NoneType'):
        last_rates(stock('models.lr_scheduler').CosineAnnealingRestartLR)
    assert last_rates(CosineAnnealingRestartLR) == pytest.approx([0.1] * 5)


def test_averaging_copies_buffers(tmp_path: Path) -> None:
    def statistics(kind: type) -> torch.Tensor:
        model = model_of(kind, tmp_path, net_g_ema=StandInNet())
        model.net_g(torch.randn(8, 3, 4, 4) + 5)
        kind.model_ema(model, 0.5)
        return model.net_g_ema.body[1].running_mean - model.net_g.body[1].running_mean

    assert statistics(Stock).abs().min() > 0.01
    assert statistics(BaseModel).abs().max() == 0


def test_parameters_are_averaged(tmp_path: Path) -> None:
    model = model_of(BaseModel, tmp_path, net_g_ema=StandInNet())
    expected = 0.75 * model.net_g_ema.last.bias + 0.25 * model.net_g.last.bias
    model.model_ema(0.75)
    assert torch.allclose(model.net_g_ema.last.bias, expected)


def test_optimizers(tmp_path: Path) -> None:
    parameters = [torch.zeros(1, requires_grad=True)]
    with pytest.raises(NotImplementedError):
        model_of(Stock, tmp_path).get_optimizer('AdamW', parameters, 0.1)
    optimizer = model_of(BaseModel, tmp_path).get_optimizer('AdamW', parameters, 0.1, weight_decay=0.5)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults['weight_decay'] == 0.5


def test_pipeline_helpers_are_the_patched_ones() -> None:
    basicsr_patches.apply()
    names = ['parse_options', 'load_resume_state', 'create_train_val_dataloader', 'make_exp_dirs',
             'mkdir_and_rename', 'init_tb_loggers', 'MessageLogger', 'CPUPrefetcher', 'CUDAPrefetcher']
    homes = {name: getattr(basicsr.train, name).__module__ for name in names}
    assert {home.split('.')[0] for home in homes.values()} == {'gavn'}, homes
