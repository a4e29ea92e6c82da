"""Training of the landmark detector: its loss, its steps, its checkpoints, its validation."""
import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch
from basicsr.losses import build_loss
from torch.utils.data import DataLoader

from gavn import basicsr_patches
from gavn.audio.mfcc import silence
from gavn.basicsr_patches.training_state import load_resume_state
from gavn.checkpoints.checkpoint import load_state
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.faces.landmarks import MEAN_FACE, nme
from gavn.losses.pfld_loss import PFLDLoss
from gavn.metrics.results_file import read_results
from gavn.models.landmark_model import LandmarkModel, LandmarkOverlay

ALL = [{'name': 'all', 'iters': 100, 'lr': 1e-3}]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    basicsr_patches.apply()
    return tiny_run.make_data(tmp_path_factory.mktemp('data'))


def options(data: Path, folder: Path, **train: Any) -> dict[str, Any]:
    """Parsed options of a run in `folder`; `train` replaces keys of its section."""
    val = {'type': 'AVVideoDataset', 'root': str(data), 'degradation': 'blur', 'split': 'val'}
    return {
        'name': 'tiny', 'model_type': 'LandmarkModel', 'manual_seed': 3, 'is_train': True,
        'auto_resume': False, 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1,
        'datasets': {'train': {'name': 'train', 'type': 'AVClipDataset', 'root': str(data),
                               'degradation': 'blur', 'num_frame': 1, 'gt_frames': 'all'},
                     'val': {'name': 'val', **val}, 'val_2': {'name': 'silent', 'audio': 'zeros', **val}},
        'network_l': {'type': 'PFLDAV', 'width': 0.125},
        'path': {'experiments_root': str(folder), 'models': str(folder / 'models'),
                 'training_states': str(folder / 'training_states'), 'visualization': str(folder / 'vis'),
                 'results_root': str(folder)},
        'train': {'ema_decay': 0.9, 'phases': ALL, 'optim_g': {'type': 'Adam', 'weight_decay': 1e-6},
                  'pixel_opt': {'type': 'PFLDLoss'}, **train},
        'val': {'metrics': {'nme': {'type': 'landmark_nme'}}},
        'logger': {},
    }


def batches(data: Path, opt: dict[str, Any], count: int) -> list[dict[str, Any]]:
    loader = DataLoader(AVClipDataset(opt['datasets']['train']), batch_size=6)
    return [batch for batch, _ in zip(loader, range(count), strict=False)]


def train(model: LandmarkModel, samples: list[dict[str, Any]], first: int = 1) -> list[float]:
    """Trains on one batch after the other; the losses."""
    lost = []
    for iteration, batch in enumerate(samples, first):
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        lost.append(sum(model.get_current_log()[key] for key in ('l_points', 'l_pose')))
    return lost


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def test_loss_by_hand() -> None:
    criterion = build_loss({'type': 'PFLDLoss', 'pose_weight': 0.1})
    true = torch.rand(2, 68, 2)
    points = true.clone()
    points[0, 3] += torch.tensor([0.3, 0.4])
    angles = torch.tensor([[math.pi / 2, 0, 0], [0, math.pi, 0]])
    l_points, l_pose = criterion(points, angles, true, torch.zeros(2, 3))
    assert l_points == pytest.approx((1 + 1) * 0.25 / 2)
    assert l_pose == pytest.approx(0.1 * (1 + 2) / 6)


def test_points_cost_though_the_pose_is_right() -> None:
    true, angles = torch.rand(3, 68, 2), torch.randn(3, 3)
    l_points, l_pose = PFLDLoss()(true + 0.1, angles, true, angles)
    assert l_points == pytest.approx(136 * 0.01, rel=1e-4) and l_pose == 0


def test_wing_is_continuous_and_counts_pixels() -> None:
    def cost(pixels: float) -> float:
        offset = torch.full((1, 68, 2), pixels / 112)
        angles = torch.zeros(1, 3)
        return PFLDLoss(wing=True)(offset, angles, torch.zeros(1, 68, 2), angles)[0].item()

    assert cost(2) == pytest.approx(10 * math.log(2), rel=1e-4)
    assert cost(9.999) == pytest.approx(cost(10.001), abs=5e-3)
    assert cost(21) - cost(20) == pytest.approx(1, rel=1e-3)


def test_two_steps_move_every_parameter_and_the_average(data: Path, tmp_path: Path) -> None:
    opt = options(data, tmp_path)
    model = LandmarkModel(opt)
    before, average = state(model.net_g), state(model.net_g_ema)
    train(model, batches(data, opt, 2))
    for name, _ in model.net_g.named_parameters():
        assert not torch.equal(model.net_g.state_dict()[name], before[name]), name
    after = model.net_g_ema.state_dict()
    for part in ('detector.bn1.running_mean', 'detector.conv2.weight', 'pose.fc2.weight'):
        assert not torch.equal(after[part], average[part])


def test_loss_falls_on_one_batch(data: Path, tmp_path: Path) -> None:
    opt = options(data, tmp_path)
    model = LandmarkModel(opt)
    lost = train(model, batches(data, opt, 1) * 25)
    assert np.mean(lost[-3:]) < 0.6 * np.mean(lost[:3])


def test_new_detector_takes_the_statistics_of_its_data(data: Path, tmp_path: Path) -> None:
    model = LandmarkModel(options(data, tmp_path))
    assert model.net_l.audio.mean.tolist() == [0.5] * 13 and model.net_l.audio.std.tolist() == [2.0] * 13


def test_some_faces_fall_silent_alike_after_a_resume(data: Path, tmp_path: Path) -> None:
    def audio_of(share: float, iteration: int) -> torch.Tensor:
        model = LandmarkModel(options(data, tmp_path, silent_share=share))
        model.iteration = iteration
        model.feed_data(sample)
        return model.batch['audio']

    sample = {'face': torch.rand(50, 1, 3, 112, 112), 'audio': torch.randn(50, 1, 1, 13, 20),
              'landmarks': torch.rand(50, 1, 68, 2)}
    before = sample['audio'].clone()
    first, again, other = audio_of(0.3, 7), audio_of(0.3, 7), audio_of(0.3, 8)
    silent = (first == silence(np.zeros(1))).all((1, 2, 3))
    assert 5 < silent.sum() < 25
    assert torch.equal(first[~silent], before[:, 0][~silent]) and torch.equal(sample['audio'], before)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(audio_of(0, 7), before[:, 0])


def test_phase_freezes_parameters_and_statistics(data: Path, tmp_path: Path) -> None:
    ears = {'name': 'ears', 'iters': 1, 'lr': 1e-3, 'train': ['detector.audio', 'detector.joint', 'pose']}
    opt = options(data, tmp_path, phases=[ears, *ALL])
    model = LandmarkModel(opt)
    before = state(model.net_g)
    first, second = batches(data, opt, 2)
    train(model, [first])
    changed = {key.rsplit('.', 1)[0] for key, value in model.net_g.state_dict().items()
               if not torch.equal(value, before[key])}
    assert {'detector.audio.fc', 'detector.joint', 'pose.fc2', 'pose.conv1.1'} <= changed
    assert all(key.startswith(('detector.audio.', 'detector.joint', 'pose.')) for key in changed)
    train(model, [second], first=2)
    for part in ('detector.bn1.running_mean', 'detector.conv2.weight'):
        assert not torch.equal(model.net_g.state_dict()[part], before[part])


@pytest.mark.parametrize('ema_decay', [0.9, 0])
def test_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, ema_decay: float) -> None:
    phases = [{'name': 'a', 'iters': 2, 'lr': 1e-3},
              {'name': 'b', 'iters': 2, 'lr': 5e-4, 'train': ['detector']}]
    opt = options(data, tmp_path, ema_decay=ema_decay, phases=phases)
    samples = batches(data, opt, 4)
    whole = LandmarkModel(copy.deepcopy(opt))
    train(whole, samples[:2])
    whole.save(0, 2)
    train(whole, samples[2:], first=3)

    opt['auto_resume'] = True
    found = load_resume_state(opt)
    torch.manual_seed(9)
    resumed = LandmarkModel(opt)
    resumed.resume_training(found)
    train(resumed, samples[2:], first=3)
    for key, value in whole.net_g.state_dict().items():
        torch.testing.assert_close(resumed.net_g.state_dict()[key], value, rtol=0, atol=0)
    for key, value in whole.net_l.state_dict().items():
        torch.testing.assert_close(resumed.net_l.state_dict()[key], value, rtol=0, atol=0)


def test_validation_measures_and_keeps_the_best(data: Path, tmp_path: Path) -> None:
    opt = options(data, tmp_path)
    model = LandmarkModel(opt)
    train(model, batches(data, opt, 2))
    for section in (opt['datasets']['val'], opt['datasets']['val_2']):
        data_set = AVVideoDataset(section)
        model.validation(DataLoader(data_set), 2, None, save_img=True)
    rows = [row for row in read_results(tmp_path / 'metrics' / 'val_2.csv') if row.run.method == 'PFLDAV']
    assert [row.clip for row in rows] == [*tiny_run.VAL, 'mean', 'std']
    clip = AVVideoDataset(opt['datasets']['val']).clip(0)
    expected = expected_errors(model, clip)
    assert rows[0].values['nme'] == pytest.approx(expected, rel=1e-3)
    assert 'nme_mouth' in rows[0].values
    silent = read_results(tmp_path / 'metrics' / 'silent_2.csv')
    assert silent[0].values['nme'] != pytest.approx(expected, rel=1e-6)
    assert len(list((tmp_path / 'vis' / 'val' / '2' / 'carl').glob('*.png'))) == clip.n_frames
    best = load_state(tmp_path / 'models' / 'net_l_best.pth')
    for key, value in model.net_l.state_dict().items():
        torch.testing.assert_close(best[key], value, rtol=0, atol=0)


def expected_errors(model: LandmarkModel, clip: Any) -> float:
    errors = []
    for frame in clip.frames():
        with torch.no_grad():
            points = model.net_l(frame['face'][None], frame['audio'][None])
        errors.append(float(nme(points, frame['landmarks'][None])))
    return float(np.mean(errors))


def test_saved_detector_is_tested_as_it_was_judged(data: Path, tmp_path: Path) -> None:
    opt = options(data, tmp_path)
    model = LandmarkModel(opt)
    train(model, batches(data, opt, 2))
    model.save(0, 2)
    tested = {**opt, 'is_train': False, 'train': None}
    with pytest.raises(ValueError, match='net_l_'):
        LandmarkModel(tested)
    tested['path'] = {**opt['path'], 'pretrain_network_l': str(tmp_path / 'models' / 'net_l_2.pth')}
    again = LandmarkModel(tested)
    for key, value in model.net_l.state_dict().items():
        torch.testing.assert_close(again.net_l.state_dict()[key], value, rtol=0, atol=0)


def test_marked_frames_show_the_points() -> None:
    network = LandmarkOverlay(torch.nn.Identity())
    points = torch.tensor(MEAN_FACE, dtype=torch.float32)[None]
    shown = network(torch.zeros(1, 3, 224, 224), points)
    x, y = (points[0, 30] * 224 - 0.5).round().int().tolist()
    assert shown.shape == (1, 3, 224, 224) and shown[0, 0, y, x] > 0.5 and shown[0, :, :20].max() == 0


def test_jitter_moves_faces_alike_after_a_resume(data: Path, tmp_path: Path) -> None:
    opt = options(data, tmp_path, jitter={'rotation': 20, 'shift': 0.1})
    batch = batches(data, opt, 1)[0]
    fed = []
    for iteration in (7, 8, 7):
        model = LandmarkModel(copy.deepcopy(opt))
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        fed.append(model.batch)
    assert torch.equal(fed[0]['face'], fed[2]['face']) and torch.equal(fed[0]['angles'], fed[2]['angles'])
    assert not torch.equal(fed[0]['landmarks'], fed[1]['landmarks'])
    assert not torch.equal(fed[0]['face'], batch['face'].flatten(0, 1))
