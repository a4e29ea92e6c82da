"""Option files of the peers: their published settings on GAVN's data, and nothing else that differs."""
import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from option_files import (
    FILES,
    LEVELS,
    METHODS,
    OPTIONS,
    TASKS,
    build,
    differences,
    load,
    name_of,
    parameters,
)

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.archs.inputs import layout_of, network_inputs
from gavn.config.option_file import read_options
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.degradation import degradation
from gavn.data.samples import parse_options
from gavn.metrics.evaluate import is_lower_better
from gavn.metrics.table import COLUMNS, METRICS
from gavn.models.parameter_groups import parameter_groups
from gavn.models.schedule import Schedule
from gavn.ops.deform_conv import BACKEND_VARIABLE
from gavn.restoration.model_spec import weight_files

ITERATIONS = 680_000
OTHERS = tuple(method for method in METHODS if method != 'gavn')
# what the methods' own part of an option file may be
OWN = ('name', 'method', 'model_type', 'network_g.', 'network_l.', 'network_inputs', 'path.', 'train.phases',
       'train.optim_g.', 'train.scheduler.', 'train.pixel_opt.', 'train.grad_clip',
       'train.flow_lr_mul', 'train.dcn_lr_mul', 'train.offset_limit',  # DBPN has no offsets
       'datasets.train.num_frame', 'datasets.train.gt_frames', 'val.metrics.nme.')


def schedule_of(options: dict) -> Schedule:
    return Schedule.from_options(options['train'])


def test_every_method_has_its_files() -> None:
    names = {name_of(path) for path in FILES}
    for task in TASKS:
        assert {f'{kind}_{method}_{task}' for method in METHODS for kind in ('train', 'test')} <= names


@pytest.mark.parametrize('path', [path for path in FILES if 'pfld' not in path.stem], ids=name_of)
def test_files_name_their_method(path: Path) -> None:
    options, name = read_options(path)[0], path.stem
    method = next(token for token in sorted(METHODS, key=len, reverse=True) if f'_{token}_' in f'{name}_')
    assert options.get('method') == METHODS[method]


@pytest.mark.parametrize(('kind', 'title'), {
    'wo_if': 'GAVN w/o IF', 'wo_af': 'GAVN w/o AF', 'zero_audio': 'GAVN zero audio (trained)',
    'shuffled_audio': 'GAVN shuffled audio (trained)', 'inject': 'GAVN inject',
    'silenced': 'GAVN zero audio (test only)', 'other_voice': 'GAVN shuffled audio (test only)',
    'two_stage': 'GAVN in two stages'}.items())
def test_ablations_name_their_method(kind: str, title: str) -> None:
    assert load('test_gavn_deblur', ablation=kind)['method'] == title
    assert load('test_gavn_deblur', small=True, ablation=kind)['method'] == title


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', OTHERS)
def test_a_peer_differs_in_what_is_its_own(method: str, task: str) -> None:
    ours, theirs = load(f'train_gavn_{task}'), load(f'train_{method}_{task}')
    changed = {key for key in differences(ours, theirs) if not key.startswith(OWN)}
    assert not changed
    assert {section['degradation'] for section in theirs['datasets'].values()} == {TASKS[task]}
    assert theirs['train']['ema_decay'] == 0.999
    assert theirs['datasets']['train']['crop_size'] is None and theirs['datasets']['train']['use_hflip']
    assert schedule_of(theirs).total == ITERATIONS


def test_a_peer_trains_as_long_as_gavn_on_the_paper_s_data() -> None:
    """4860 clips of VoxCeleb2, 7.8 seconds long on average: about 17 000 batches of GAVN's windows."""
    options = load('train_gavn_car')
    section = options['datasets']['train']
    batches = 4860 * 195 / section['num_frame'] / section['batch_size_per_gpu']
    epochs = [phase['iters'] / batches for phase in options['train']['phases']]
    assert epochs == pytest.approx([20, 5, 15], rel=0.01)
    assert schedule_of(options).total == options['train']['total_iter'] == ITERATIONS


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('task', ['deblur', 'sr'])
@pytest.mark.parametrize('kind', ['train', 'test'])
def test_tasks_differ_in_names_and_data_alone(kind: str, task: str, method: str) -> None:
    changed = differences(load(f'{kind}_{method}_car'), load(f'{kind}_{method}_{task}'))
    assert {key.split('.')[-1] for key in changed} <= {'name', 'degradation', 'pretrain_network_g',
                                                       'pretrain_network_l'}


@pytest.mark.parametrize(('method', 'count', 'frames', 'rates', 'betas', 'loss', 'first_mean'), [
    ('dbpn', 10_530_038, 3, (1e-4, 1e-4, 1e-5), [0.9, 0.999], {'type': 'L1Loss', 'reduction': 'mean'}, None),
    ('edvr', 4_042_851, 5, (4e-4, 4e-4, 1e-7), [0.9, 0.99], {'reduction': 'sum', 'eps': 1e-12}, None),
    ('edvr_l', 23_602_019, 5, (4e-4, 4e-4, 1e-7), [0.9, 0.99], {'reduction': 'sum', 'eps': 1e-12}, None),
    ('basicvsrpp', 7_396_783, 15, (1e-4, 1e-4, 1e-7), [0.9, 0.99], {'reduction': 'mean', 'eps': 1e-12}, 5000),
    ('davdnet', 5_122_243, 5, (4e-4, 4e-4, 2e-4), [0.9, 0.999], {'reduction': 'mean', 'eps': 1e-6}, None),
    ('vrt', 18_320_007, 6, (4e-4, 4e-4, 1e-7), [0.9, 0.99], {'reduction': 'mean', 'eps': 1e-9}, 20_000),
])
def test_published_settings(method: str, count: int, frames: int, rates: tuple, betas: list, loss: dict,
                            first_mean: int | None) -> None:
    options = load(f'train_{method}_sr')
    train, schedule = options['train'], schedule_of(options)
    assert parameters(options['network_g']) == count
    assert options['datasets']['train']['num_frame'] == frames
    assert (schedule.lr(2000), schedule.lr(5000), schedule.lr(ITERATIONS)) == pytest.approx(rates, rel=0.02)
    assert train['optim_g'] == {'type': 'Adam', 'lr': rates[0], 'betas': betas, 'weight_decay': 0,
                                'fused': True}
    assert loss.items() <= train['pixel_opt'].items()
    frozen = [phase for phase in schedule.phases if phase.freeze]
    assert [phase.iters for phase in frozen] == ([first_mean] if first_mean else [])


@pytest.mark.parametrize(('method', 'factors'), [('basicvsrpp', [1, 1, 0.25]), ('vrt', [1, 0.125, 0.125])])
def test_flow_learns_more_slowly_and_later(method: str, factors: list[float]) -> None:
    options = load(f'train_{method}_car')
    network, train = build(options['network_g']), options['train']
    groups = parameter_groups(network, train['dcn_lr_mul'], train['flow_lr_mul'])
    assert [factor for _, factor in groups] == factors
    first = schedule_of(options).phases[0]
    frozen = {id(p) for name, p in network.named_parameters() if not first.trains(name)}
    slow = {id(p) for members, factor in groups for p in members if factor != 1}
    assert frozen == slow


def test_vrt_in_windows_of_sixteen_frames() -> None:
    network = load('train_vrt_car')['network_g']
    longer = {**network, 'img_size': [16, 224, 224], 'window_size': [8, 8, 8]}
    text = (OPTIONS / 'train_vrt_car.yml').read_text()
    assert '[16, 224, 224], window_size: [8, 8, 8]; 18.44 million' in text
    assert parameters(longer) == 18_438_807


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('method', METHODS)
def test_tests_take_the_networks_that_were_trained(method: str, task: str) -> None:
    train, test = load(f'train_{method}_{task}'), load(f'test_{method}_{task}')
    levels = load(f'test_{method}_{task}', degradations=LEVELS[task])
    for key in ('network_g', 'network_l', 'network_inputs', 'model_type', 'method'):
        assert train.get(key) == test.get(key) == levels.get(key)
    assert test['path']['pretrain_network_g'] == f'experiments/{train["name"]}/models/net_g_latest.pth'
    assert levels['path'] == test['path']
    assert weight_files(test)['network_g'] == str(weight_files(train)['network_g'])  # for gavn bundle
    assert [section['degradation'] for section in test['datasets'].values()] == [TASKS[task]]
    layers = [section['degradation'] for section in levels['datasets'].values()]
    assert tuple(layers) == LEVELS[task] == tuple(degradation(layer).layer for layer in layers)
    assert list(levels['datasets']) == ['test', 'test_2', 'test_3']
    assert [section['name'] for section in levels['datasets'].values()] == [
        f'talking_faces_{layer}' for layer in layers]


@pytest.mark.parametrize('path', [path for path in FILES if path.stem.startswith('test_')
                                  and 'pfld' not in path.stem and path.parent.name != 'demo'], ids=name_of)
def test_tests_measure_all_that_can_be_measured(path: Path) -> None:
    options = read_options(path)[0]
    entries = options['val']['metrics']
    columns = {column for key, entry in entries.items() for column in METRICS[entry['type']].columns(key)}
    with_detector = {'nme', 'nme_mouth'} if 'network_l' in options else set()
    assert columns == {'psnr', 'ssim', 'psnr_y', 'ssim_y', 'psnr_mouth', 'ms_ssim', 'lpips', 'niqe', 'sync_c',
                       'sync_d', 'warp'} | with_detector
    for key, entry in entries.items():
        first = METRICS[entry['type']].columns(key)[0]
        assert is_lower_better(entry) == (COLUMNS[first].better == 'lower')
    assert options.get('train') is None and options.get('logger') is None


def batch_of(section: dict) -> dict[str, torch.Tensor]:
    """Two windows of 64x64 as the training data hand them over; see `AVClipDataset`."""
    options = parse_options(AVClipDataset.Options, section, 'AVClipDataset')
    inputs, outputs = options.num_frame, len(range(options.num_frame)[options.outputs()])
    return {'lq': torch.zeros(2, inputs, 3, 64, 64), 'gt': torch.zeros(2, outputs, 3, 64, 64),
            'audio': torch.zeros(2, outputs, 1, 13, 20), 'landmarks': torch.zeros(2, outputs, 68, 2),
            'region': torch.zeros(2, 4)}


@cache
def shapes(options: str) -> tuple[torch.Size, torch.Size]:
    """Of what a network returns for a training batch, and of the truth; `options` as JSON."""
    section, names, network = json.loads(options)
    network = build(network)
    mode = layout_of(network).mode
    with torch.device('meta'), torch.no_grad():
        batch = batch_of(section)
        if mode == 'frame':
            batch = {key: batch[key].flatten(0, 1) for key in ('lq', 'gt', 'audio')}
        inputs = network_inputs(batch, [name for name in names if name != 'landmarks'])
        if 'landmarks' in names:
            inputs['landmarks'] = batch['landmarks']  # in place of the detector's, which refuses this device
        restored = network(batch['lq'], **inputs)
    return (restored.unsqueeze(1) if mode == 'centre' else restored).shape, batch['gt'].shape


@pytest.mark.parametrize('path', [path for path in FILES if path.stem.startswith('train_')
                                  and 'pfld' not in path.stem], ids=name_of)
def test_networks_return_what_the_data_ask_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, 'torchvision')  # the quickest without numbers
    options = read_options(path)[0]
    section = {key: options['datasets']['train'].get(key) for key in ('num_frame', 'gt_frames')}
    section |= {'root': '', 'degradation': ''}
    returned, wanted = shapes(json.dumps([section, options['network_inputs'], options['network_g']]))
    assert returned == wanted


@pytest.mark.parametrize('method', METHODS)
def test_the_example_of_checkpointed_modules_fits_the_network(method):
    for task in TASKS:
        text = (OPTIONS / f'train_{method}_{task}.yml').read_text(encoding='utf-8')
        example = re.search(r'recompute: ~ .*e\.g\. \[(.+)\]', text)[1]
        network = build(load(f'train_{method}_{task}')['network_g'])
        assert all(network.get_submodule(name) for name in example.split(', '))
