"""The small runs: every method of one size, on the same data, with the same schedule."""
import pytest
from option_files import LEVELS, METHODS, PEERS, TASKS, differences, load, parameters

from gavn.models.schedule import Schedule

VARIANTS = {'zero_audio': {'datasets.train.audio', 'datasets.val.audio'},
            'shuffled_audio': {'datasets.train.audio', 'datasets.val.audio'},
            'inject': {'network_g.inject'}}
OWN = ('name', 'method', 'model_type', 'network_g.', 'network_l.', 'network_inputs', 'path.', 'train.phases',
       'train.flow_lr_mul', 'train.offset_limit', 'train.optim_g.lr', 'datasets.train.num_frame',
       'datasets.train.gt_frames', 'datasets.train.batch_size_per_gpu', 'val.metrics.nme.', 'val.val_freq')


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', PEERS)
def test_all_have_about_as_many_parameters(method: str, task: str) -> None:
    """All that runs to restore a frame is counted, GAVN's landmark detector and the flow networks too."""
    ours = [parameters(load(f'train_gavn_{task}', small=True)[f'network_{letter}']) for letter in 'gl']
    theirs = parameters(load(f'train_{method}_{task}', small=True)['network_g'])
    assert ours == [2_701_571, 1_009_304]
    assert theirs == pytest.approx(sum(ours), rel=0.2)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', PEERS)
def test_a_peer_differs_in_what_is_its_own(method: str, task: str) -> None:
    ours, theirs = load(f'train_gavn_{task}', small=True), load(f'train_{method}_{task}', small=True)
    assert not {key for key in differences(ours, theirs) if not key.startswith(OWN)}
    assert theirs['method'] == METHODS[method]
    assert {section['degradation'] for section in theirs['datasets'].values()} == {TASKS[task]}
    schedules = [Schedule.from_options(options['train']) for options in (ours, theirs)]
    assert schedules[0].total == schedules[1].total
    rates = [{schedule.lr(i) for i in range(100, schedule.total + 1)} for schedule in schedules]
    slower = task == 'deblur' and method in ('dbpn', 'edvr', 'basicvsrpp')
    assert rates[1] == {rate / 2 if slower else rate for rate in rates[0]}


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize(('variant', 'changes'), VARIANTS.items())
def test_a_variant_changes_one_thing(variant: str, changes: set[str], task: str) -> None:
    full = load(f'train_gavn_{task}', small=True)
    varied = load(f'train_gavn_{task}', small=True, ablation=variant)
    assert differences(full, varied) == changes | {'name', 'method'}
    tested = load(f'test_gavn_{task}', small=True, ablation=variant)
    assert tested['network_g'] == varied['network_g']
    assert tested['datasets']['test'].get('audio') == varied['datasets']['val'].get('audio')


def test_without_identity_no_landmarks_are_detected() -> None:
    full = load('train_gavn_deblur', small=True)
    varied = load('train_gavn_deblur', small=True, ablation='wo_if')
    assert varied['network_g'] == {**full['network_g'], 'use_identity': False}
    assert varied['network_inputs'] == ['lq'] and 'network_l' not in varied
    assert varied['path']['pretrain_network_l'] is None
    assert varied['train'] == full['train'] and varied['datasets'] == full['datasets']
    tested = load('test_gavn_deblur', small=True, ablation='wo_if')
    assert tested['network_g'] == varied['network_g'] and 'network_l' not in tested


def test_two_stages_are_a_schedule() -> None:
    one = load('train_gavn_deblur', small=True)
    two = load('train_gavn_deblur', small=True, ablation='two_stage')
    assert differences(one, two) == {'name', 'method', 'train.phases'}
    phases = [Schedule.from_options(options['train']).phases for options in (one, two)]
    assert phases[0][-1].end == phases[1][-1].end
    assert [phase.temporal_only for phase in phases[1]] == [True, False, False]
    assert load('test_gavn_deblur', small=True, ablation='two_stage')['network_g'] == one['network_g']


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', ('gavn', *PEERS))
def test_tests_take_whole_clips_and_the_networks_that_were_trained(method: str, task: str) -> None:
    train, test = load(f'train_{method}_{task}', small=True), load(f'test_{method}_{task}', small=True)
    for key in ('network_g', 'network_l', 'network_inputs', 'model_type', 'method'):
        assert train.get(key) == test.get(key)
    assert test['path']['pretrain_network_g'] == f'experiments/{train["name"]}/models/net_g_latest.pth'
    assert test['path'].get('pretrain_network_l') == train.get('path', {}).get('pretrain_network_l')
    assert differences(test['datasets']['test'], train['datasets']['val']) == {'max_frames', 'name'}


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', ('gavn', *PEERS))
def test_levels_differ_from_the_test_in_data_alone(method: str, task: str) -> None:
    test = load(f'test_{method}_{task}', small=True)
    levels = load(f'test_{method}_{task}', small=True, degradations=LEVELS[task])
    assert {key for key in differences(test, levels) if not key.startswith('datasets.')} == {'name'}
    assert [section['degradation'] for section in levels['datasets'].values()] == list(LEVELS[task])
    assert {(section['root'], section['split']) for section in levels['datasets'].values()} == {
        ('datasets/many_speakers', 'val')}
