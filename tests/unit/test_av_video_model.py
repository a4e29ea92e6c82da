"""AVVideoModel by itself: what must fit together, what a network starts from, and its flow network."""
import copy
import logging

import pytest
import tiny_peers
import tiny_run
import torch
from basicsr.archs.spynet_arch import SpyNet

from gavn.basicsr_patches import apply
from gavn.checkpoints.checkpoint import load_bundle, save_bundle
from gavn.config.option_file import OptionError
from gavn.errors import CheckpointError
from gavn.models.parameter_groups import parameter_groups
from gavn.models.training_checks import TrainingDivergedError
from gavn.restoration.restorer import Restorer

FLOW = 'BasicVSRPlusPlus'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    apply()
    return tiny_run.make_data(tmp_path_factory.mktemp('av') / 'data')


@pytest.fixture
def log(caplog):
    """What BasicSR's logger says, which does not hand it on."""
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope='module')
def spynet(tmp_path_factory):
    """Weights of a flow network."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp('weights') / 'spynet.pth'
    state = {key: value for key, value in SpyNet().state_dict().items() if key not in ('mean', 'std')}
    torch.save({'params': state}, path)  # as published
    return path


GAVN = tiny_peers.Peer({key: value for key, value in tiny_run.NETWORK.items() if key != 'type'}
                  | {'use_identity': False}, 5, 'valid')


@pytest.mark.parametrize(('name', 'section', 'words'), [
    ('EDVR', {'num_frame': 7}, 'num_frame is 7, but EDVR .* takes 5: set num_frame: 5'),
    ('EDVR', {'gt_frames': 'valid', 'num_frame': 5}, None),  # the middle one of five either way
    ('EDVR', {'gt_frames': 'all'}, 'gt_frames: all of 5 frames are 5, but EDVR returns 1: .* center'),
    ('BasicVSRPlusPlus', {'num_frame': 9}, None),
    ('BasicVSRPlusPlus', {'num_frame': 9, 'gt_frames': 'valid'}, 'are 5, but .* returns 9: .* all'),
    ('DBPN', {'num_frame': 1, 'gt_frames': 'center'}, None),
    ('DBPN', {'gt_frames': 'center'}, 'are 1, but DBPN returns 3: set gt_frames: all'),
    ('GAVN', {'num_frame': 7}, 'num_frame is 7, but GAVN .* takes 5'),
    ('GAVN', {'num_frame': 5, 'gt_frames': 'all'}, 'set gt_frames: valid'),
    ('EDVR', {'num_frame': 2, 'gt_frames': 'valid'}, 'gt_frames: valid of num_frame: 2 leaves no frame'),
])
def test_windows_of_the_data_must_fit_the_network(name, section, words, data, tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_peers.PEERS, 'GAVN', GAVN)
    opt = tiny_peers.options(name, data, tmp_path)
    opt['datasets']['train'].update(section)
    if words is None:
        assert tiny_peers.model_of(opt, tmp_path).layout
        return
    with pytest.raises(OptionError, match=rf'datasets\.train: .*{words}'):
        tiny_peers.model_of(opt, tmp_path)


def test_a_network_that_takes_any_length_is_trained_on_any(data, tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_peers.PEERS, 'GAVN', GAVN)
    opt = tiny_peers.options('GAVN', data, tmp_path)
    opt['network_g']['inject'] = True
    opt['datasets']['train']['num_frame'] = 6
    model = tiny_peers.model_of(opt, tmp_path)
    before, batch = tiny_peers.state_of(model.net_g), tiny_peers.batch_of(opt)
    tiny_peers.step(model, batch, 1)
    assert batch['gt'].shape[1] == 2 and tiny_peers.changed(before, model.net_g)


def test_a_new_network_with_audio_takes_the_statistics_of_its_data(data, tmp_path):
    opt = tiny_peers.options('DAVDNet', data, tmp_path)
    network = tiny_peers.model_of(copy.deepcopy(opt), tmp_path).net_g
    assert network.audio.encoder.mean.tolist() == [0.5] * 13
    assert network.audio.encoder.std.tolist() == [2.0] * 13
    network.audio.encoder.mean.fill_(7)
    torch.save({'params': network.state_dict()}, tmp_path / 'g.pth')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'g.pth')
    assert tiny_peers.model_of(opt, tmp_path).net_g.audio.encoder.mean.tolist() == [7] * 13


def test_an_untrained_flow_network_is_reported_of(data, tmp_path, log, spynet):
    opt = tiny_peers.options(FLOW, data, tmp_path)
    fresh = tiny_peers.model_of(copy.deepcopy(opt), tmp_path).net_g
    assert 'untrained flow network' in log.text and '`gavn models fetch spynet`' in log.text
    log.clear()
    torch.save({'params': fresh.state_dict()}, tmp_path / 'g.pth')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'g.pth')
    tiny_peers.model_of(copy.deepcopy(opt), tmp_path)
    opt['path']['pretrain_network_g'] = None
    opt['network_g']['spynet_path'] = str(spynet)
    given = tiny_peers.model_of(opt, tmp_path).net_g
    expected = tiny_peers.state_of(given.spynet) | torch.load(spynet)['params']
    assert tiny_peers.changed(expected, given.spynet) == set()
    tiny_peers.model_of(tiny_peers.options('EDVR', data, tmp_path), tmp_path)
    assert 'flow network' not in log.text


def test_an_untrained_flow_network_sees_no_motion(data, tmp_path):
    network = tiny_peers.model_of(tiny_peers.options(FLOW, data, tmp_path), tmp_path).net_g
    assert not network.compute_flow(torch.rand(1, 3, 3, 16, 16))[0].any()


def test_what_was_trained_needs_no_flow_weights_any_more(data, tmp_path, spynet):
    opt = tiny_peers.options(FLOW, data, tmp_path)
    opt['network_g']['spynet_path'] = str(spynet)
    model = tiny_peers.model_of(opt, tmp_path)
    model.save(0, 1)
    model.save_restorer('latest')
    bundle, checkpoint = tmp_path / 'models/restore_latest.safetensors', tmp_path / 'models/net_g_1.pth'
    assert 'spynet_path' not in load_bundle(bundle)[0]['networks']['network_g']
    opt['network_g']['spynet_path'] = 'gone.pth'
    options = tiny_run.write(opt, tmp_path / 'options.yml')
    for restorer in (Restorer.load(bundle, 'cpu'), Restorer.from_options(options, checkpoint, device='cpu')):
        found = restorer.networks['network_g'].spynet
        assert not tiny_peers.changed(tiny_peers.state_of(model.net_g.spynet), found)
    save_bundle(tmp_path / 'again.safetensors', {'network_g': (opt['network_g'], model.net_g)}, {})
    assert 'spynet_path' not in load_bundle(tmp_path / 'again.safetensors')[0]['networks']['network_g']


def test_flow_weights_that_are_not_there_are_named(data, tmp_path):
    opt = tiny_peers.options(FLOW, data, tmp_path)
    opt['network_g']['spynet_path'] = 'nowhere.pth'
    with pytest.raises(CheckpointError, match=r'nowhere\.pth: does not exist'):
        tiny_peers.model_of(opt, tmp_path)


PHASES = [{'name': 'fixed', 'iters': 2, 'lr': 4e-4, 'freeze': ['spynet', 'deform_align']},
          {'name': 'all', 'iters': 2, 'lr': 4e-4}]


def test_a_phase_freezes_the_flow_network_also_after_a_resume(data, tmp_path, log, spynet):
    opt = tiny_peers.options(FLOW, data, tmp_path)
    opt['train'].update(phases=PHASES, flow_lr_mul=0.125, dcn_lr_mul=0.5)
    opt['network_g']['spynet_path'] = str(spynet)
    model, batch = tiny_peers.model_of(copy.deepcopy(opt), tmp_path), tiny_peers.batch_of(opt)
    before = tiny_peers.state_of(model.net_g)
    tiny_peers.step(model, batch, 1)
    assert '(all but spynet, deform_align)' in log.text
    state = {'epoch': 0, 'iter': 1, 'optimizers': [copy.deepcopy(model.optimizer_g.state_dict())],
             'schedulers': []}
    resumed = tiny_peers.model_of(opt, tmp_path)
    resumed.net_g.load_state_dict(model.net_g.state_dict())
    resumed.resume_training(state)
    for either in (model, resumed):
        tiny_peers.step(either, batch, 2)
        moved = tiny_peers.changed(before, either.net_g)
        assert moved and not any(name.startswith(('spynet', 'deform_align')) for name in moved)
        tiny_peers.step(either, batch, 3)
        assert any(name.startswith('spynet') for name in tiny_peers.changed(before, either.net_g))
        assert either.get_current_learning_rate() == pytest.approx([4e-4, 2e-4, 5e-5])
    assert not tiny_peers.changed(tiny_peers.state_of(model.net_g), resumed.net_g)


@pytest.mark.parametrize('name', ['EDVR', 'DAVDNet', FLOW, 'VRT'])
def test_deformable_layers_of_every_network_are_slowed_and_watched(name, data, tmp_path):
    opt = tiny_peers.options(name, data, tmp_path, offset_limit=5)
    model = tiny_peers.model_of(opt, tmp_path)
    slowed = {id(p) for group, factor in parameter_groups(model.net_g, 0.25) if factor == 0.25 for p in group}
    offsets = {key: p for key, p in model.net_g.named_parameters() if 'conv_offset' in key}
    assert offsets and {id(parameter) for parameter in offsets.values()} <= slowed
    with torch.no_grad():
        for key, parameter in offsets.items():
            if key.endswith(('conv_offset.bias', 'conv_offset.6.bias')):
                parameter.fill_(80)
    tiny_peers.step(model, tiny_peers.batch_of(opt), 1)
    with pytest.raises(TrainingDivergedError, match='offset_limit: 5'):
        model.get_current_log()
