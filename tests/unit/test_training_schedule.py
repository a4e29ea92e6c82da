import pytest
import torch
from basicsr.archs.spynet_arch import SpyNet
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from torch import nn

from gavn.config.option_file import OptionError
from gavn.models.parameter_groups import parameter_groups, train_only
from gavn.models.schedule import Phase, Schedule
from gavn.models.training_checks import TrainingDivergedError, check_health, check_phases
from gavn.ops import DeformableAlignPack

PAPER = [
    {'name': 'temporal', 'iters': 200, 'lr': 4e-4, 'train': ['temporal', 'reconstruction'],
     'temporal_only': True},
    {'name': 'warmup', 'iters': 50, 'lr': 4e-4, 'train': ['identity', 'reconstruction']},
    {'name': 'finetune', 'iters': 150, 'lr': 2e-4},
]


def test_switches_fall_between_iterations():
    schedule = Schedule(PAPER)
    assert schedule.total == 400
    names = {i: schedule.phase(i).name for i in (1, 200, 201, 250, 251, 400)}
    assert names == {1: 'temporal', 200: 'temporal', 201: 'warmup', 250: 'warmup', 251: 'finetune',
                     400: 'finetune'}
    assert schedule.phase(0).name == 'temporal' and schedule.phase(401).name == 'finetune'
    assert schedule.phase(5).temporal_only and not schedule.phase(205).temporal_only


def test_learning_rate_is_a_function_of_the_iteration_with_one_linear_rise():
    schedule = Schedule(PAPER, warmup_iter=100)
    rates = [schedule.lr(i) for i in (1, 50, 100, 101, 250, 251, 400)]
    assert rates == pytest.approx([4e-6, 2e-4, 4e-4, 4e-4, 4e-4, 2e-4, 2e-4])
    assert schedule.lr(50) == schedule.lr(50)  # asking changes nothing
    assert Schedule(PAPER, -1).lr(1) == 4e-4


def test_a_falling_rate_is_basicsr_s_cosine_with_restarts():
    schedule = Schedule([{'name': 'one', 'iters': 7, 'lr': 4e-4, 'lr_end': 1e-7},
                         {'name': 'two', 'iters': 5, 'lr': 2e-4 + 0.5e-7, 'lr_end': 1e-7}])
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=4e-4)
    theirs = CosineAnnealingRestartLR(optimizer, [7, 5], [1, 0.5], eta_min=1e-7)
    rates = []
    for _ in range(schedule.total):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        theirs.step()
    rates[7] = 2e-4 + 0.5e-7  # theirs starts anew one iteration late
    assert [schedule.lr(i) for i in range(1, schedule.total + 1)] == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize('options', [
    {'type': 'MultiStepLR', 'milestones': []},
    {'type': 'MultiStepLR', 'milestones': [4, 9, 9], 'gamma': 0.5},
    {'type': 'MultiStepRestartLR', 'milestones': [3, 8], 'restarts': [0, 6], 'restart_weights': [1, 0.5]},
    {'type': 'CosineAnnealingRestartLR', 'periods': [12], 'eta_min': 1e-7},
    {'type': 'CosineAnnealingRestartLR', 'periods': [3, 4, 5], 'restart_weights': [1, 0.5, 0.25]},
])
def test_the_rate_is_that_of_basicsr_s_scheduler(options):
    schedule = Schedule.from_options({'total_iter': 12, 'optim_g': {'lr': 4e-4}, 'scheduler': options})
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=4e-4)
    kind = CosineAnnealingRestartLR if 'periods' in options else MultiStepRestartLR
    theirs = kind(optimizer, **{key: value for key, value in options.items() if key != 'type'})
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        theirs.step()
    assert [schedule.lr(i) for i in range(1, 13)] == pytest.approx(rates, rel=1e-9)
    assert schedule.lr(40) == schedule.lr(13)  # past the last period, theirs raises TypeError


def test_phases_say_what_is_trained_and_the_scheduler_how_fast():
    phases = [{key: value for key, value in phase.items() if key != 'lr'} for phase in PAPER]
    train = {'total_iter': 400, 'warmup_iter': 100, 'optim_g': {'lr': 4e-4}, 'phases': phases,
             'scheduler': {'type': 'MultiStepLR', 'milestones': [250], 'gamma': 0.5}}
    old, new = Schedule(PAPER, 100), Schedule.from_options(train)
    assert [new.lr(i) for i in range(1, 402)] == [old.lr(i) for i in range(1, 402)]
    assert [phase.iters for phase in new.phases] == [phase.iters for phase in old.phases]
    assert [phase.name for phase in Schedule.from_options({**train, 'phases': None}).phases] == ['all']


@pytest.mark.parametrize(('scheduler', 'words'), [
    ({'type': 'StepLR'}, "the type 'StepLR' is not one of MultiStepLR"),
    ({'type': 'MultiStepLR', 'gama': 1}, 'gama'),
    ({'type': 'CosineAnnealingRestartLR', 'periods': [2, 2]}, 'periods has 2 entries, restart_weights 1'),
    ({'type': 'CosineAnnealingRestartLR', 'periods': [0]}, 'each needs at least one iteration'),
])
def test_a_scheduler_that_is_none_is_refused(scheduler, words):
    with pytest.raises(ValueError, match=words):
        Schedule.from_options({'total_iter': 2, 'optim_g': {'lr': 1}, 'scheduler': scheduler})


@pytest.mark.parametrize(('phases', 'words'), [
    ([{'name': 'all', 'iters': 5}], 'no learning rate: give train.optim_g.lr'),
    ([], 'empty'),
    ([{'name': 'all', 'epochs': 2, 'lr': 1}], 'length is unknown'),
    ([{'name': 'all', 'lr': 1}], 'length is unknown'),
    ([{'name': 'all', 'iters': 0, 'lr': 1}], 'at least one'),
])
def test_phases_without_a_length_are_refused(phases, words):
    with pytest.raises(ValueError, match=words):
        Schedule(phases)


def network() -> nn.Module:
    return nn.ModuleDict({'left': nn.Linear(2, 2), 'left_more': nn.Linear(2, 1)})


def test_prefixes_name_whole_modules():
    net = network()
    count = train_only(net, Phase('one', 1, 1, train=('left',)))
    assert count == 6  # not left_more
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ['left.weight', 'left.bias']


def test_idle_parameters_are_frozen_and_old_gradients_dropped():
    net = network()
    sum(p.sum() for p in net.parameters()).backward()
    train_only(net, Phase('all', 1, 1), idle={'left.bias'})
    assert not net['left'].bias.requires_grad
    assert all(p.grad is None for p in net.parameters())


def test_a_prefix_that_fits_nothing_is_an_error():
    phases = [Phase('one', 1, 1, train=('left',)), Phase('two', 1, 1, train=('lefty',))]
    check_phases(network(), phases[:1])
    with pytest.raises(OptionError, match=r"two: train names 'lefty'.*it has left, left_more"):
        check_phases(network(), phases)


def test_what_a_phase_freezes_is_left_out_of_what_it_trains():
    net = network()
    frozen = Schedule([{'name': 'one', 'iters': 1, 'lr': 1, 'freeze': ['left']}]).phases[0]
    assert train_only(net, frozen) == 3
    assert [name for name, p in net.named_parameters() if p.requires_grad] == [
        'left_more.weight', 'left_more.bias']
    part = Phase('part', 1, 1, train=('left',), freeze=('left.bias',))
    assert train_only(net, part) == 4
    check_phases(net, [frozen, part])
    with pytest.raises(OptionError, match=r"two: freeze names 'lefty'.*it has left, left_more"):
        check_phases(net, [Phase('two', 1, 1, freeze=('lefty',))])
    with pytest.raises(OptionError, match='three: freeze leaves nothing to train'):
        check_phases(net, [Phase('three', 1, 1, train=('left',), freeze=('left',))])


def test_deformable_layers_get_their_own_learning_rate():
    net = nn.ModuleDict({'plain': nn.Linear(2, 2), 'dcn': DeformableAlignPack(4, 4, 3, padding=1)})
    (plain, one), (deformable, slow) = parameter_groups(net, 0.25)
    assert (one, slow) == (1.0, 0.25)
    assert len(plain) == 2 and len(deformable) == len(list(net['dcn'].parameters()))
    again = parameter_groups(net, 1)  # the same groups, so that a run may resume with another factor
    assert [len(group) for group, _ in again] == [len(plain), len(deformable)]


def test_the_flow_network_gets_its_own_learning_rate():
    net = nn.ModuleDict({'flow': SpyNet(), 'plain': nn.Linear(2, 2), 'dcn': DeformableAlignPack(4, 4, 3)})
    groups = parameter_groups(net, 0.25, 0.125)
    assert [factor for _, factor in groups] == [1, 0.25, 0.125]
    assert [sum(p.numel() for p in group) for group, _ in groups][2] == 1_440_300
    assert sum(len(group) for group, _ in groups) == len(list(net.parameters()))


def test_a_diverged_run_is_stopped_with_a_clear_message():
    check_health({'l_pix': 0.1, 'offset': 49.0}, 5, 50)
    check_health({'offset': 60.0}, 5, None)
    with pytest.raises(TrainingDivergedError, match=r'60\.0 pixels.*offset_limit: 50'):
        check_health({'offset': 60.0}, 5, 50)
    with pytest.raises(TrainingDivergedError, match='l_pix is not finite'):
        check_health({'l_pix': float(torch.tensor(float('nan')))}, 5, None)
