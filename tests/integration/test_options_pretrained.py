"""Every option file of the repository is valid, builds its networks, and changes only what it states."""
import pytest
from basicsr.losses import build_loss
from option_files import FILES, OPTIONS, TASKS, build, differences, load, name_of, parameters

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.archs.inputs import layout_of
from gavn.basicsr_patches.data_data_sampler import plan_epochs
from gavn.basicsr_patches.utils_options import registries
from gavn.config.check import check_options
from gavn.config.option_file import read_options
from gavn.config.overlays import resolve_options
from gavn.models.parameter_groups import train_only
from gavn.models.schedule import Schedule
from gavn.models.training_checks import check_phases, check_windows
from gavn.runtime.windows import CONTEXT


def test_the_documented_option_files_exist():
    names = {name_of(path) for path in FILES}
    for task in TASKS:
        assert {f'{kind}_{net}_{task}' for kind in ('train', 'test') for net in ('gavn', 'pfld')} <= names
    assert any(name.startswith('demo/') for name in names)


def small_of(path):
    kind = '_pfld' if 'pfld' in path.stem else '_deblur' if path.stem.endswith('_deblur') else ''
    return OPTIONS / f'presets/small{kind}.yml'


ABLATIONS = sorted((OPTIONS / 'ablations').glob('*.yml'))
RUNS = [(path, ()) for path in FILES]
RUNS += [(path, (small_of(path),)) for path in sorted(OPTIONS.glob('*.yml'))]
RUNS += [(path, (OPTIONS / 'presets/equal_time.yml',)) for path in sorted(OPTIONS.glob('*.yml'))
         if 'pfld' not in path.stem]
RUNS += [(OPTIONS / f'{kind}_gavn_{task}.yml', (overlay,)) for task in TASKS for overlay in ABLATIONS
         for kind in ('train', 'test') if overlay.stem != 'two_stage']
RUNS += [(OPTIONS / f'{kind}_gavn_deblur.yml', (OPTIONS / 'presets/small_deblur.yml', overlay))
         for overlay in ABLATIONS for kind in ('train', 'test')]


@pytest.mark.parametrize(('path', 'overlays'), RUNS, ids=lambda part: (
    name_of(part) if not isinstance(part, tuple) else '+'.join(overlay.stem for overlay in part) or 'plain'))
def test_options_are_valid_and_build_their_networks(path, overlays):
    options, source = resolve_options(path, overlays)
    check_options(options, source, registries(), is_train='train' in options)
    networks = {key: build(value) for key, value in options.items()
                if key.startswith('network_') and key != 'network_inputs'}
    assert networks
    if 'network_g' in networks:
        assert layout_of(networks['network_g'], options.get('window'))
        assert ('landmarks' in options['network_inputs']) == ('network_l' in networks)
    if 'train' in options:
        run = {**options, 'dist': False, 'num_gpu': 0, 'world_size': 1}
        plan_epochs(1000, options['datasets']['train'], run)
        schedule = Schedule.from_options(options['train'])
        assert schedule.total == options['train']['total_iter'] and build_loss(options['train']['pixel_opt'])
        if 'network_g' in networks:
            check_phases(networks['network_g'], schedule.phases)
            check_windows(networks['network_g'], layout_of(networks['network_g'], options.get('window')),
                          options['datasets']['train'])
        for phase in schedule.phases if 'network_g' in networks else ():
            assert train_only(networks['network_g'], phase) > 0


def test_every_run_has_a_folder_of_its_own():
    names = {name_of(path): read_options(path)[0]['name'] for path in FILES}
    for kind in ('train', 'test'):  # these stand under experiments/ and under results/
        runs = [run for file, run in names.items() if file.split('/')[-1].startswith(kind)]
        assert runs and len(set(runs)) == len(runs)
    assert all(run == file.split('/')[-1] for file, run in names.items()
               if '/' not in file)


@pytest.mark.parametrize('path', [path for path in FILES if 'gavn' in path.stem], ids=name_of)
def test_windows_of_the_training_data_fit_the_network(path):
    options = read_options(path)[0]
    network = build(options['network_g'])
    inputs = network.layout.inputs
    train = options['datasets'].get('train', {'num_frame': inputs, 'gt_frames': 'valid'})
    fitting = {inputs, 2 * CONTEXT + 1} if network.any_length else {inputs}
    assert train['num_frame'] in fitting and train['gt_frames'] == 'valid'


@pytest.mark.parametrize('task', TASKS)
def test_the_paper_s_settings(task):
    options = load(f'train_gavn_{task}')
    train, data_set = options['train'], options['datasets']['train']
    schedule = Schedule.from_options(train)
    assert [(phase.iters, schedule.full_lr(phase.end)) for phase in schedule.phases] == [
        (20 * 17_000, 4e-4), (5 * 17_000, 4e-4), (15 * 17_000, 2e-4)]
    assert (data_set['batch_size_per_gpu'], data_set['num_frame'], data_set['crop_size']) == (8, 7, None)
    assert data_set['degradation'] == TASKS[task]
    assert train['optim_g'] == {'type': 'Adam', 'lr': 4e-4, 'betas': [0.9, 0.999], 'weight_decay': 0,
                                'fused': True}
    assert train['pixel_opt']['type'] == 'CharbonnierLoss' and train['pixel_opt']['eps'] == 1e-6
    assert (parameters(options['network_g']), parameters(options['network_l'])) == (7_049_539, 2_009_640)


@pytest.mark.parametrize('task', TASKS)
def test_training_and_test_use_the_same_networks(task):
    train, test = load(f'train_gavn_{task}'), load(f'test_gavn_{task}')
    for key in ('network_g', 'network_l', 'network_inputs', 'model_type'):
        assert train[key] == test[key]
    assert test['path']['pretrain_network_g'] == f'experiments/{train["name"]}/models/net_g_latest.pth'
    assert test['path']['pretrain_network_l'] == train['path']['pretrain_network_l']
    assert train['path']['pretrain_network_l'] == f'experiments/train_pfld_{task}/models/net_l_latest.pth'
    assert test['datasets']['test']['degradation'] == train['datasets']['train']['degradation']


@pytest.mark.parametrize('task', ['deblur', 'sr'])
@pytest.mark.parametrize('kind', ['train_gavn', 'test_gavn'])
def test_tasks_differ_in_names_data_and_detector_alone(kind, task):
    parts = {key.split('.')[-1] for key in differences(load(f'{kind}_car'), load(f'{kind}_{task}'))}
    assert parts <= {'name', 'degradation', 'pretrain_network_g', 'pretrain_network_l'}


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize(('kind', 'changes'), [
    ('zero_audio', {'datasets.train.audio', 'datasets.val.audio'}),
    ('shuffled_audio', {'datasets.train.audio', 'datasets.val.audio'}),
    ('inject', {'network_g.inject'}),
    ('wo_af', {'network_g.use_audio', 'network_inputs'}),
    ('wo_if', {'network_g.use_identity', 'network_inputs', 'network_l.type', 'train.phases',
               'path.pretrain_network_l', 'val.metrics.nme.type'}),
])
def test_an_ablation_changes_one_thing(kind, changes, task):
    full, ablation = load(f'train_gavn_{task}'), load(f'train_gavn_{task}', ablation=kind)
    assert differences(full, ablation) == changes | {'name', 'method'}
    schedules = [Schedule.from_options(options['train']) for options in (full, ablation)]
    places = (1, 2000, 425_000, 425_001, 680_000)
    assert [schedules[0].lr(place) for place in places] == [schedules[1].lr(place) for place in places]
    assert schedules[0].total == schedules[1].total
