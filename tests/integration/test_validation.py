"""Whole clips through a network, into rows, images, videos and the record of the best."""
import json
import weakref

import cv2
import linear_training
import numpy as np
import pytest
import tiny_run
import torch
from basicsr.archs import build_network
from torch import nn

from gavn.basicsr_patches import apply
from gavn.checkpoints.checkpoint import training_budget
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.errors import GavnError
from gavn.media import probe, read_audio
from gavn.metrics.results_file import DEGRADED, TRUTH, ResultRow, RunInfo, read_results
from gavn.models.best import BestRecord
from gavn.models.budget import Budget
from gavn.models.clip_runner import ClipRunner
from gavn.models.cost import parameters
from gavn.models.validation import ClipValidation
from gavn.runtime.files import sha256
from gavn.runtime.windows import Layout

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'nme': {'type': 'landmark_nme'}}
OF_CLIPS = {'sync': {'type': 'sync'}, 'warp': {'type': 'warping_error'}}


def test_the_record_of_the_best_outlives_the_process(tmp_path):
    record = BestRecord(tmp_path / 'best.json', METRICS)
    record.update('val', {'psnr': 30.0, 'nme': 4.0, 'psnr_input': 28.0}, 100)
    record = BestRecord(tmp_path / 'best.json', METRICS)
    assert record.better('val', {'psnr': 30.0, 'nme': 4.0}) == set()
    assert record.better('val', {'psnr': 29.0, 'nme': 3.9}) == {'nme'}  # lower is better
    record.update('val', {'psnr': 31.0, 'nme': 5.0}, 200)
    assert json.loads((tmp_path / 'best.json').read_text()) == {
        'val': {'psnr': {'value': 31.0, 'iteration': 200}, 'nme': {'value': 4.0, 'iteration': 100}}}


class Middle(nn.Module):
    """Returns the middle of what it is given, a little brighter; remembers how many frames were alive."""

    def __init__(self, context: int, mode: str) -> None:
        super().__init__()
        self.context, self.mode = context, mode
        self.alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
        self.most = 0

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(self.alive))
        if self.mode == 'frame':
            return lq + 0.1
        frames = lq[:, self.context:lq.shape[1] - self.context] + 0.1
        return frames[:, 0] if self.mode == 'centre' else frames


def numbered(count: int, seen: weakref.WeakSet):
    for i in range(count):
        lq = torch.full((3, 4, 4), i / 256)
        seen.add(lq)
        yield {'lq': lq, 'gt': torch.full((3, 4, 4), i / 256), 'audio': torch.zeros(1, 13, 20)}


@pytest.mark.parametrize('layout', [Layout(3, 2), Layout(1, 2, 'centre'), Layout(1, 0, 'frame')])
@pytest.mark.parametrize('count', [1, 2, 7])
def test_every_frame_comes_out_once_beside_its_own_original(layout, count):
    network = Middle(layout.context, layout.mode)
    runner = ClipRunner(network, layout, ['lq'], torch.device('cpu'))
    frames = list(runner.run(numbered(count, network.alive)))
    assert [int(frame.truth[0, 0, 0]) for frame in frames] == [round(i * 255 / 256) for i in range(count)]
    assert [int(f.restored[0, 0, 0]) for f in frames] == [round(255 * (i / 256 + 0.1)) for i in range(count)]


def test_memory_does_not_grow_with_the_clip():
    network = Middle(2, 'sequence')
    for _ in ClipRunner(network, Layout(3, 2), ['lq'], torch.device('cpu')).run(numbered(150, network.alive)):
        pass
    assert 0 < network.most < 20


def test_a_network_that_returns_no_numbers_is_stopped():
    class Broken(nn.Module):
        def forward(self, lq: torch.Tensor) -> torch.Tensor:
            return lq * float('nan')

    runner = ClipRunner(Broken(), Layout(1, 0, 'frame'), ['lq'], torch.device('cpu'))
    with pytest.raises(FloatingPointError, match='Broken'):
        list(runner.run(numbered(1, weakref.WeakSet())))


@pytest.fixture(scope='module', autouse=True)
def nothing_fetched(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GAVN_HOME', str(tmp_path_factory.mktemp('home')))
        yield


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    apply()
    folder = tmp_path_factory.mktemp('validation')
    return folder, tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'detector.pth')


@pytest.fixture(scope='module')
def trained(place):
    """A run of seven iterations, validated at the fourth and the last on two sets; SyncNet has no weights."""
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder)
    opt['val']['metrics'] |= OF_CLIPS
    opt['datasets']['val_2'] = {'name': 'images', 'type': 'AVVideoDataset',
                                'dataroot_lq': str(data / 'blur' / 'carl')}
    opt['val'].update(val_freq=4, save_img=True, save_video=True)
    linear_training.run_here('train', '-opt', str(tiny_run.write(opt, folder / 'options.yml')))
    return folder / 'experiments' / 'tiny'


def rows_of(path, method='GAVN'):
    return [row for row in read_results(path) if row.run.method == method]


def test_training_validates_every_set_clip_by_clip(trained):
    path = trained / 'metrics' / 'val_7.csv'
    lengths = [('carl', 7), ('dora/two', 2), ('emil', 1), ('mean', 10), ('std', 10)]
    alone = {'sync_c', 'sync_d', 'warp'}
    for method, columns in (('GAVN', {'psnr', 'ssim', 'nme', 'nme_mouth'}), (DEGRADED, {'psnr', 'ssim'}),
                            (TRUTH, set())):
        rows = rows_of(path, method)
        assert [(row.clip, row.frames) for row in rows] == lengths
        assert all(row.values.keys() == columns | alone for row in rows)
        for column in columns:
            values = [row.values[column] for row in rows]
            assert values[3:] == pytest.approx([np.mean(values[:3]), np.std(values[:3])])
    assert (trained / 'metrics' / 'val_4.csv').is_file()
    assert set(rows_of(trained / 'metrics' / 'images_7.csv')[0].values) == alone


def test_what_training_cannot_measure_reads_so_and_is_reported_once(trained):
    for iteration in (4, 7):
        for method in ('GAVN', DEGRADED, TRUTH):
            carl, _, emil, mean, _ = rows_of(trained / 'metrics' / f'val_{iteration}.csv', method)
            assert carl.values['sync_c'] is mean.values['sync_d'] is None and carl.values['warp'] > 0
            assert 'sync_c, sync_d: no weights syncnet_v2.model; `gavn models fetch syncnet`' in carl.notes
            assert emil.frames == 1 and emil.values['warp'] is None and 'two frames' in emil.notes
            assert mean.values['warp'] > 0 and 'warp: from 2 of 3 clips' in mean.notes
    log = next(trained.glob('train_tiny_*.log')).read_text()
    assert log.count('val.metrics.sync is skipped: no weights') == 1
    assert log.count('# sync_c: n/a') == 4 and log.count('# warp_input: ') == 4
    early, late = (rows_of(trained / 'metrics' / f'val_{i}.csv', TRUTH) for i in (4, 7))
    assert early == late  # measured once, kept for the second time


def test_rows_say_what_was_measured(trained):
    early, late = (rows_of(trained / 'metrics' / f'val_{i}.csv')[0].run for i in (4, 7))
    assert (late.dataset, late.degradation, late.method) == ('data', 'blur', 'GAVN')
    assert late.option_file.endswith('options.yml') and late.checkpoint == ''
    size = parameters(build_network(tiny_run.NETWORK), build_network(tiny_run.DETECTOR))
    assert late.parameters == early.parameters == size
    assert (early.iterations, late.iterations) == (4, 7) and 0 < early.minutes < late.minutes < 5
    assert late.fps > 0 and late.gmacs is None  # not while training
    reference = rows_of(trained / 'metrics' / 'val_7.csv', TRUTH)[0].run
    assert reference == RunInfo('data', 'blur', TRUTH)


def test_training_notes_what_it_took(trained):
    spent = json.loads((trained / 'budget.json').read_text())
    assert (spent['iterations'], spent['clips_seen']) == (7, 14) and 0 < spent['minutes'] < 5
    noted = training_budget(trained / 'models' / 'net_g_latest.pth')
    assert noted | {'minutes': 0} == spent | {'minutes': 0}
    assert noted == pytest.approx(training_budget(trained / 'models' / 'restore_latest.safetensors'), rel=0.1)
    assert training_budget(trained / 'models' / 'net_g_best.pth')['iterations'] in (4, 7)


def test_images_and_videos_with_audio_are_kept(trained):
    folder = trained / 'visualization' / 'val' / '7'
    assert sorted(path.name for path in (folder / 'dora/two').iterdir()) == ['00000000.png', '00000001.png']
    assert cv2.imread(str(folder / 'carl/00000006.png')).shape == (32, 32, 3)
    info = probe(folder / 'carl.mp4')
    assert (info.width, info.height, info.frame_rate, info.audio_tracks) == (32, 32, 25, True)
    audio = read_audio(folder / 'carl.mp4')
    assert abs(len(audio) - 7 * 640) < 1100 and np.abs(audio.astype(int)).max() > 1000
    assert not probe(trained / 'visualization' / 'images' / '7' / 'carl.mp4').audio_tracks


def test_the_best_weights_are_kept_and_known(trained):
    best = json.loads((trained / 'best.json').read_text())['val']
    by_iteration = {i: rows_of(trained / 'metrics' / f'val_{i}.csv')[-2].values['psnr'] for i in (4, 7)}
    assert best['psnr']['value'] == max(by_iteration.values())
    assert by_iteration[best['psnr']['iteration']] == best['psnr']['value']
    for name in ('best', 'latest'):
        assert (trained / f'models/net_g_{name}.pth').is_file()
        assert (trained / f'models/restore_{name}.safetensors').is_file()


def test_testing_the_saved_weights_gives_the_rows_of_training(trained, place):
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder, name='tested')
    opt['datasets'] = {'test': {**opt['datasets']['val'], 'name': 'again'}}
    opt['method'] = 'GAVN, tested'
    opt['val']['metrics'] |= OF_CLIPS
    opt['path'] = {'pretrain_network_g': str(trained / 'models' / 'net_g_latest.pth'),
                   'pretrain_network_l': str(detector), 'results_root': str(folder / 'results')}
    del opt['train'], opt['logger'], opt['val']['val_freq']
    linear_training.run_here('test', '-opt', str(tiny_run.write(opt, folder / 'test.yml')))
    path = folder / 'results' / 'tested' / 'again.csv'
    for method in ('GAVN', DEGRADED, TRUTH):
        rows = rows_of(path, method.replace('GAVN', 'GAVN, tested'))
        assert [(row.clip, row.frames, row.values) for row in rows] == [
            (row.clip, row.frames, row.values) for row in rows_of(trained / 'metrics' / 'val_7.csv', method)]
    run = rows_of(path, 'GAVN, tested')[0].run
    assert run.checkpoint == sha256(opt['path']['pretrain_network_g'])[:12]
    assert run.iterations == 7 and 0 < run.minutes < 5 and run.gmacs > 0.01
    assert not (folder / 'results' / 'tested' / 'visualization' / 'again').exists()


def test_validation_without_metrics_only_keeps(place):
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder, name='quiet')
    opt['datasets'] = {'test': {**opt['datasets']['val'], 'max_frames': 2}}
    opt['val'] = {'save_img': True}
    network = tiny_run.NETWORK | {'use_identity': False}
    torch.manual_seed(0)
    torch.save({'params': build_network(network).state_dict()}, folder / 'weights.pth')
    opt.update(network_g=network, network_inputs=['lq'], path={
        'pretrain_network_g': str(folder / 'weights.pth'), 'results_root': str(folder / 'results')})
    del opt['train'], opt['logger'], opt['network_l']
    linear_training.run_here('test', '-opt', str(tiny_run.write(opt, folder / 'quiet.yml')))
    results = folder / 'results' / 'quiet'
    rows = rows_of(results / 'val.csv')
    assert [row.frames for row in rows] == [2, 2, 1, 5, 5]
    assert (rows[0].run.iterations, rows[0].run.minutes) == (None, None)  # nobody noted them
    assert (results / 'visualization' / 'val' / 'carl' / '00000001.png').is_file()


@pytest.mark.parametrize(('settings', 'words'), [
    ('path:pretrain_network_g={detector}', r'do not fit the network GAVN(.|\n)*look like weights of PFLDAV'),
    ('val:metrics:sync:weights=absent.pth', r'val\.metrics\.sync\.weights: absent\.pth does not exist'),
    ('val:metrics:sync:weights={detector}', 'do not fit the network SyncNet'),
    ('val:metrics:sync:weihgts=1', 'the nearest valid name is weights'),
    ('val:metrics:sync_c:type=calculate_niqe', "two metrics have the column 'sync_c'"),
])
def test_wrong_weights_or_metrics_of_a_test_are_reported_clearly(trained, place, tmp_path, settings, words):
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder, name='wrong')
    opt['datasets'] = {'test': opt['datasets']['val']}
    opt['path'] = {'pretrain_network_g': str(trained / 'models' / 'net_g_latest.pth'),
                   'pretrain_network_l': str(detector), 'results_root': str(tmp_path)}
    opt['val'] = {'metrics': {'sync': {'type': 'sync'}}}
    del opt['train'], opt['logger']
    file = tiny_run.write(opt, tmp_path / 'wrong.yml')
    with pytest.raises(GavnError, match=words):
        linear_training.run_here('test', '-opt', str(file), '--force_yml', settings.format(detector=detector))
    assert not list(tmp_path.rglob('*.csv'))


class Reporting(ClipValidation):
    """Reports what it is given; notes what it would save."""

    is_train, iteration = True, 5

    def __init__(self, folder):
        sets = {'train': {'name': 'train'}, 'val': {'name': 'first'}, 'val_2': {'name': 'second'}}
        self.opt = {'path': {'experiments_root': str(folder)}, 'val': {'metrics': METRICS}, 'datasets': sets}
        self.saved = []

    def _save_networks(self, label):
        self.saved.append((self.iteration, label))

    def save_restorer(self, label):
        pass


def rows_in(data_set, **values):
    return [ResultRow(RunInfo(data_set, '', 'network'), 'a', 2, values),
            ResultRow(RunInfo(data_set, '', DEGRADED), 'a', 2, {'psnr': 20.0})]


class Board(dict):
    def add_scalar(self, name, value, iteration):
        self[name, iteration] = value


def test_the_first_metric_on_the_first_set_decides_what_is_kept(tmp_path):
    model, board = Reporting(tmp_path), Board()
    for iteration, name, values in ((5, 'first', (30.0, 4.0)), (6, 'second', (40.0, 1.0)),
                                    (7, 'first', (29.0, 3.0)), (8, 'first', (31.0, 5.0))):
        model.iteration = iteration
        model._report(name, rows_in(name, psnr=values[0], nme=values[1]), board)
    assert model.saved == [(5, 'best'), (8, 'best')]
    assert board['metrics/first/psnr', 8] == 31.0 and board['metrics/second/nme', 6] == 1.0
    assert board['metrics/first/psnr_input', 8] == 20.0
    resumed = Reporting(tmp_path)
    resumed.iteration = 9
    resumed._report('first', rows_in('first', psnr=30.5), None)
    assert resumed.saved == []


def test_what_was_just_validated_is_not_validated_again(place):
    class Counting(ClipValidation):
        is_train, iteration = True, 7
        calls = 0

        def __init__(self):
            self.opt = {'path': {'visualization': ''}, 'val': {}}
            self.budget = Budget({})

        def _rows(self, data_set, output):
            self.calls += 1
            return []

        def _report(self, name, rows, tb_logger):
            pass

    data = AVVideoDataset({'name': 'val', 'dataroot_lq': str(place[1] / 'blur' / 'carl')})
    model, loader = Counting(), torch.utils.data.DataLoader(data)
    model.validation(loader, 7, None)
    model.validation(loader, 8, None)  # as the stock loop does once more at the end
    assert model.calls == 1
    model.iteration = 9
    model.validation(loader, 9, None)
    assert model.calls == 2


@pytest.mark.parametrize(('network', 'window', 'gt_frames'), [
    ({'type': 'EDVR', 'num_feat': 8, 'deformable_groups': 2, 'num_extract_block': 1,
      'num_reconstruct_block': 1, 'hr_in': True, 'with_predeblur': True}, 'centre', 'center'),
    ({'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 1, 'num_feat': 4, 'num_block': 1,
      'num_grow_ch': 4}, 'frame', 'all'),
])
def test_other_networks_train_and_validate_the_same_way(network, window, gt_frames, place):
    folder, data, detector = place
    opt = tiny_run.options(data, detector, folder, name=window, model_type='AVVideoModel', network_g=network)
    opt.update(network_inputs=['lq'], window=window)
    opt['datasets']['train'].update(gt_frames=gt_frames)
    opt['train']['phases'] = [{'name': 'all', 'iters': 2, 'lr': 1e-4}]
    opt['val']['metrics'] = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    del opt['network_l'], opt['path']['pretrain_network_l']
    linear_training.run_here('train', '-opt', str(tiny_run.write(opt, folder / f'{window}.yml')))
    rows = rows_of(folder / 'experiments' / window / 'metrics' / 'val_2.csv', network['type'])
    assert [row.frames for row in rows] == [7, 2, 1, 10, 10]
    assert rows[-2].values['psnr'] > 5
