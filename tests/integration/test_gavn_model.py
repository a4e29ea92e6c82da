"""GAVNModel by itself: what moves in which phase, what stays, and what it refuses."""
import copy
import logging

import pytest
import tiny_run
import torch
from tiny_model import STARTS, WARMUP, make_batch, make_place, model_of, run, state_of

from gavn.checkpoints.checkpoint import load_bundle
from gavn.errors import CheckpointError
from gavn.models import phased_model
from gavn.models.training_checks import TrainingDivergedError
from gavn.restoration.restorer import Restorer


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def batch(place):
    return make_batch(place)


def changed(before, network):
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def test_each_phase_moves_what_it_trains_and_nothing_else(place, batch):
    model = model_of(place)
    parameters = {name for name, _ in model.net_g.named_parameters()}
    transforms = {name for name in parameters if '.sft' in name}
    head = {name for name in parameters if name.startswith('reconstruction.')} - transforms
    temporal = {name for name in parameters if name.startswith('temporal.')}
    identity = {name for name in parameters if name.startswith('identity.')}
    assert transforms and head and temporal and identity
    expected = [temporal | head, identity | head | transforms, parameters]
    for start, moving in zip(STARTS.values(), expected, strict=True):
        before = state_of(model.net_g)
        run(model, batch, (start, start + 1))
        assert changed(before, model.net_g) == moving


def test_frozen_parameters_stay_bit_identical_after_a_resume(place, batch):
    model = model_of(place)
    run(model, batch, (1, 2, 3))
    state = {'epoch': 1, 'iter': 3, 'optimizers': [copy.deepcopy(model.optimizer_g.state_dict())],
             'schedulers': []}
    resumed = model_of(place)
    resumed.net_g.load_state_dict(model.net_g.state_dict())
    resumed.resume_training(state)
    before = state_of(resumed.net_g)
    run(resumed, batch, (4,))
    run(model, batch, (4,))
    frozen = {name for name in before if name.startswith('temporal.')}
    assert not frozen & changed(before, resumed.net_g)
    assert changed(before, resumed.net_g)
    assert not changed(state_of(model.net_g), resumed.net_g)


def test_nothing_of_a_frozen_temporal_module_is_kept_for_the_backward_pass(place, batch):
    model = model_of(place)
    model.update_learning_rate(STARTS[WARMUP])
    kept = []
    model.net_g.temporal.register_forward_hook(lambda module, args, result: kept.append(result.requires_grad))
    model.feed_data(batch)
    model.optimize_parameters(STARTS[WARMUP])
    assert kept == [False]


def test_the_learning_rate_is_the_option_files_also_after_a_resume(place, batch):
    model = model_of(place, train={'dcn_lr_mul': 0.25})
    run(model, batch, (1,))
    assert model.get_current_learning_rate() == pytest.approx([2e-4, 5e-5])  # half way up the rise
    state = {'epoch': 0, 'iter': 1, 'optimizers': [model.optimizer_g.state_dict()], 'schedulers': []}
    slower = tiny_run.options(place[1], place[2], place[0])['train']['phases']
    for phase in slower:
        phase.update(lr=1e-5, iters=2)
    edited = model_of(place, train={'dcn_lr_mul': 0.5, 'phases': slower})
    edited.resume_training(state)
    edited.update_learning_rate(2)
    assert edited.get_current_learning_rate() == pytest.approx([1e-5, 5e-6])


def test_averaged_weights_follow_and_buffers_are_copied(place, batch):
    model = model_of(place)
    start = state_of(model.net_g)
    run(model, batch, (1,))
    for name, value in model.net_g_ema.named_parameters():
        torch.testing.assert_close(value, 0.9 * start[name] + 0.1 * model.net_g.state_dict()[name])
    assert torch.equal(model.net_g_ema.identity.audio.encoder.mean, torch.full((13,), 0.5))


def test_the_audio_statistics_come_from_the_training_data(place):
    encoder = model_of(place).net_g.identity.audio.encoder
    assert encoder.mean.tolist() == [0.5] * 13 and encoder.std.tolist() == [2.0] * 13


def test_loaded_weights_bring_their_own_statistics(place, tmp_path):
    model = model_of(place)
    model.net_g.identity.audio.encoder.mean.fill_(7)
    torch.save({'params': model.net_g.state_dict()}, tmp_path / 'g.pth')
    loaded = model_of(place, path={'pretrain_network_g': str(tmp_path / 'g.pth')})
    assert torch.equal(loaded.net_g.identity.audio.encoder.mean, torch.full((13,), 7.0))


def test_stage_one_weights_lack_just_identity_and_transforms(place, tmp_path):
    stage = model_of(place, network_g={'use_identity': False},
                     train={'phases': [{'name': 'all', 'iters': 1, 'lr': 1e-4}]})
    torch.save({'params': stage.net_g.state_dict()}, tmp_path / 'stage.pth')
    weights = {'pretrain_network_g': str(tmp_path / 'stage.pth')}
    with pytest.raises(CheckpointError, match='missing: identity'):
        model_of(place, path=weights)
    full = model_of(place, path={**weights, 'strict_load_g': False})
    missing = full.net_g.state_dict().keys() - stage.net_g.state_dict().keys()
    assert missing == {n for n in full.net_g.state_dict() if n.startswith('identity') or '.sft' in n}
    for name, value in stage.net_g.state_dict().items():
        assert torch.equal(value, full.net_g.state_dict()[name])


def test_the_detector_is_frozen_and_needed(place, batch):
    model = model_of(place)
    run(model, batch, (1,))
    assert not model.net_l.training and not any(p.requires_grad for p in model.net_l.parameters())
    with pytest.raises(ValueError, match=r'pretrain_network_l.*train_pfld'):
        model_of(place, path={'pretrain_network_l': None})
    with pytest.raises(CheckpointError, match='does not exist'):
        model_of(place, path={'pretrain_network_l': 'nowhere.pth'})


def test_runaway_offsets_stop_the_run_when_it_is_logged(place, batch):
    model = model_of(place)
    with torch.no_grad():
        for name, parameter in model.net_g.named_parameters():
            if name.endswith('conv_offset.bias'):
                parameter.fill_(80)
    run(model, batch, (1,))
    with pytest.raises(TrainingDivergedError, match='offset_limit: 50'):
        model.get_current_log()


def test_weights_that_are_not_finite_are_not_saved(place, batch):
    model = model_of(place)
    run(model, {**batch, 'gt': batch['gt'] * float('nan')}, (1,))
    with pytest.raises(TrainingDivergedError, match='not finite'):
        model.save(0, 1)


def test_the_log_holds_loss_gradient_and_offsets(place, batch):
    model = model_of(place)
    run(model, batch, (1,))
    log = model.get_current_log()
    assert set(log) == {'l_pix', 'grad_norm', 'offset', 'peak_gib'}
    assert all(isinstance(value, float) for value in log.values())


def test_gradients_are_clipped(place, batch):
    model = model_of(place, train={'grad_clip': 1e-3})
    run(model, batch, (1,))
    norm = torch.stack([p.grad.norm() for p in model.net_g.parameters() if p.grad is not None]).norm()
    assert model.log_dict['grad_norm'] > 1e-3 and float(norm) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize('supported', [True, False])
def test_bf16_trains_in_float32_weights(place, batch, monkeypatch, supported):
    warned = []
    monkeypatch.setattr(phased_model, 'has_bfloat16', lambda device: supported)
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', warned.append)
    model = model_of(place, train={'amp': 'bf16'})
    assert any('train.amp: bfloat16 may take' in text for text in warned) != supported
    before = state_of(model.net_g)
    run(model, batch, (5,))
    assert changed(before, model.net_g)
    assert all(p.dtype == torch.float32 for p in model.net_g.parameters())
    assert model.get_current_log()['l_pix'] < 1


def test_what_is_released_in_the_first_stage_is_the_network_of_that_stage(place, batch):
    model = model_of(place)
    run(model, batch, (1,))
    model.save_restorer('latest')
    options, states = load_bundle(place[0] / 'run' / 'models' / 'restore_latest.safetensors')
    assert options['networks']['network_g']['use_identity'] is False
    assert not any(name.startswith('identity') for name in states['network_g'])
    assert options['network_inputs'] == ['lq', 'audio', 'landmarks', 'region'] and options['task'] == 'blur'
    run(model, batch, (3,))
    model.save_restorer('latest')
    options, states = load_bundle(place[0] / 'run' / 'models' / 'restore_latest.safetensors')
    assert 'use_identity' not in options['networks']['network_g']
    assert torch.equal(states['network_g']['reconstruction.last.weight'],
                       model.net_g_ema.reconstruction.last.weight)


def test_a_checkpoint_of_the_first_stage_restores_and_tests_as_the_network_of_that_stage(place, batch):
    model = model_of(place)
    run(model, batch, (1,))
    model.save(0, 1)
    file = place[0] / 'run' / 'models' / 'net_g_1.pth'
    options = tiny_run.write(model.opt, place[0] / 'options.yml')
    restorer = Restorer.from_options(options, file, device='cpu')
    assert restorer.networks['network_g'].identity is None
    assert restorer.spec.networks['network_g']['use_identity'] is False
    tested = model_of(place, is_train=False, path={'pretrain_network_g': str(file)})
    assert tested.net_g.identity is None
    whole = model_of(place, path={'pretrain_network_g': str(file)})  # the second stage starts from all of it
    assert not changed(state_of(model.net_g), whole.net_g)
    run(model, batch, (3,))
    model.save(0, 3)
    assert Restorer.from_options(options, file.with_name('net_g_3.pth')).networks['network_g'].identity


def test_data_that_do_not_fit_the_network_are_named(place, batch):
    model = model_of(place)
    with pytest.raises(ValueError, match='gt_frames'):
        run(model, {**batch, 'gt': batch['lq']}, (1,))


def test_the_log_has_phase_and_size(place, batch, caplog):
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    try:
        run(model_of(place), batch, (1,))
    finally:
        logger.removeHandler(caplog.handler)
    assert 'Phase temporal, iterations 1 to 2' in caplog.text and 'parameters' in caplog.text
