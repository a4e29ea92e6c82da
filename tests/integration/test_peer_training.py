"""Every network that GAVN is compared with trains, resumes, validates and restores as GAVN does."""
import copy

import numpy as np
import pytest
import tiny_peers
import tiny_run
import torch
from torch.nn.functional import interpolate

from gavn.audio.mfcc import FRAME_RATE, mfcc_windows
from gavn.basicsr_patches import apply
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.data.clip_store import ClipStore, ClipWriter
from gavn.data.degradation import degrade
from gavn.models.clip_runner import ClipRunner
from gavn.restoration.restorer import Restorer

# What stays as it is: frames of 32 pixels are too small for the coarsest levels of the flow network.
UNREACHED = {'BasicVSRPlusPlus': tuple(f'spynet.basic_module.{level}.' for level in range(3))}
LAYERS = ('car_crf45', 'blur', 'sr')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The tiny data set with a layer of each task."""
    apply()
    root = tiny_run.make_data(tmp_path_factory.mktemp('peers') / 'data')
    clean, writer = ClipStore(str(root), 'gt', 'disk'), ClipWriter(root)
    for clip, length in {**tiny_run.TRAIN, **tiny_run.VAL}.items():
        frames = [clean.frame(clip, i) for i in range(length)]
        for layer in ('car_crf45', 'sr'):
            writer.frames(layer, clip, degrade(frames, layer, clip)[0])
    return root


@pytest.mark.parametrize('layer', LAYERS)
@pytest.mark.parametrize('name', tiny_peers.PEERS)
def test_two_steps_move_every_parameter(name, layer, data, tmp_path):
    opt = tiny_peers.options(name, data, tmp_path)
    opt['datasets']['train']['degradation'] = layer
    model, batch = tiny_peers.model_of(opt, tmp_path), tiny_peers.batch_of(opt)
    assert not torch.equal(batch['lq'][:, :batch['gt'].shape[1]], batch['gt'])
    before = tiny_peers.state_of(model.net_g)
    tiny_peers.step(model, batch, 1, 2)
    unreached = UNREACHED.get(name, ())
    assert tiny_peers.changed(before, model.net_g) == {key for key, _ in model.net_g.named_parameters()
                                                       if not key.startswith(unreached)}
    assert 0 < model.get_current_log()['l_pix'] < 1


def test_all_of_the_flow_network_learns_on_larger_frames(data, tmp_path):
    """Its coarsest level needs features of 33 pixels, a quarter of a frame's side."""
    opt = tiny_peers.options('BasicVSRPlusPlus', data, tmp_path)
    model, batch = tiny_peers.model_of(opt, tmp_path), tiny_peers.batch_of(opt)
    large = {key: interpolate(batch[key][0, :2], size=(132, 132))[None] for key in ('lq', 'gt')}
    before = tiny_peers.state_of(model.net_g)
    tiny_peers.step(model, large, 1, 2)  # in the first one, only what was zero moves
    flow = {key for key, _ in model.net_g.named_parameters() if key.startswith('spynet.')}
    assert flow and flow <= tiny_peers.changed(before, model.net_g)


@pytest.fixture(scope='module', params=tiny_peers.PEERS)
def trained(request, data, tmp_path_factory):
    """A peer after two steps, its options and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    opt = tiny_peers.options(request.param, data, folder)
    model = tiny_peers.model_of(opt, folder)
    tiny_peers.step(model, tiny_peers.batch_of(opt), 1, 2)
    model.save(0, 2)
    model.save_restorer('latest')
    return model, opt, folder


def test_a_resumed_run_equals_the_uninterrupted_one(trained):
    model, opt, folder = trained
    batch, unbroken = tiny_peers.batch_of(opt), tiny_peers.model_of(copy.deepcopy(opt), folder)
    opt = copy.deepcopy(opt)
    opt['path'].update(pretrain_network_g=str(folder / 'models' / 'net_g_2.pth'), resume_state='2.state')
    resumed = tiny_peers.model_of(opt, folder)
    resumed.resume_training(torch.load(folder / 'training_states' / '2.state', weights_only=True))
    assert not tiny_peers.changed(tiny_peers.state_of(model.net_g), resumed.net_g)
    assert not tiny_peers.changed(tiny_peers.state_of(model.net_g_ema), resumed.net_g_ema)
    tiny_peers.step(unbroken, batch, 1, 2, 3)
    tiny_peers.step(resumed, batch, 3)
    assert not tiny_peers.changed(tiny_peers.state_of(unbroken.net_g), resumed.net_g)


def test_it_restores_a_file_as_it_was_validated(trained, data):
    model, _, folder = trained
    runner = ClipRunner(model.net_g_ema, model.layout, model.inputs, model.device)
    clip = AVVideoDataset({'name': 'val', 'root': str(data), 'split': 'val', 'degradation': 'blur'}).clip(0)
    validated = list(runner.run(clip.frames()))
    assert len(validated) == tiny_run.VAL['carl']
    restorer = Restorer.load(folder / 'models' / 'restore_latest.safetensors', device='cpu', batch=2)
    audio = mfcc_windows(ClipStore(str(data), 'mfcc', 'disk').array('carl'), np.arange(7) / FRAME_RATE)
    restored = list(restorer.restore([frame.degraded for frame in validated], audio))
    for ours, theirs in zip(restored, validated, strict=True):
        assert np.abs(ours.astype(int) - theirs.restored).max() <= 1


def test_it_restores_frames_of_any_size(trained):
    restorer = Restorer.load(trained[2] / 'models' / 'restore_latest.safetensors', device='cpu')
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 37, 50, 3), dtype=np.uint8))
    assert [image.shape for image in restorer.restore(frames)] == [(37, 50, 3)] * 3
