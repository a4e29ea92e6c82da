"""Networks, models, data sets and metrics of BasicSR and of gavn: together, or refused in words."""
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_run
import torch
import yaml
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY
from linear_training import run_here, write_options
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import data_reds_dataset, utils_logger
from gavn.basicsr_patches.data_reds_dataset import FrameKey
from gavn.data.clip_store import pack
from gavn.errors import DataError, GavnError
from gavn.metrics.clip_metrics import Sample, check_metrics, metric_factory
from gavn.models.best import BestRecord
from gavn.runtime.images import write_image

basicsr_patches.apply()
EDVR_TINY = {'type': 'EDVR', 'num_feat': 8, 'num_frame': 3, 'deformable_groups': 2, 'num_extract_block': 1,
             'num_reconstruct_block': 1, 'hr_in': True, 'with_predeblur': True}
BASICVSRPP = {'type': 'BasicVSRPlusPlus', 'mid_channels': 8, 'num_blocks': 1, 'is_low_res_input': False,
              'min_side': 32}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set folder as `gavn prepare` leaves it, with names that hold '/', packed."""
    root = tiny_run.make_data(tmp_path_factory.mktemp('made') / 'data')
    pack(root, ['gt', 'blur', 'mfcc', 'landmarks', 'audio'])
    return root


def reds(root: Path, **changes: Any) -> dict[str, Any]:
    return {'name': 'reds', 'type': 'REDSRecurrentDataset', 'dataroot_gt': f'{root}/gt.lmdb',
            'dataroot_lq': f'{root}/blur.lmdb', 'meta_info_file': f'{root}/meta_info_train.txt',
            'val_partition': 'REDS4', 'io_backend': {'type': 'lmdb'}, 'num_frame': 5, 'gt_size': 32,
            'use_hflip': True, 'use_rot': False, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0, **changes}


def clips(root: Path, **changes: Any) -> dict[str, Any]:
    return {'name': 'clips', 'type': 'AVClipDataset', 'root': str(root), 'degradation': 'blur',
            'num_frame': 3, 'gt_frames': 'center', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0} | changes


def ours(root: Path, folder: Path, **changes: Any) -> Path:
    """A short training of one of our models."""
    opt = tiny_run.options(root, root, folder, model_type='AVVideoModel', network_inputs=['lq'], **changes)
    opt['path'].pop('pretrain_network_l')
    opt.pop('network_l')
    opt['train'] = {'phases': [{'name': 'all', 'iters': 2, 'lr': 1e-3}], 'optim_g': {'type': 'Adam'},
                    'pixel_opt': {'type': 'L1Loss'}}
    opt['val']['metrics'].pop('nme')
    return tiny_run.write(opt, folder / 'x.yml')


def theirs(folder: Path, train: dict[str, Any], network: dict[str, Any], model: str, **changes: Any) -> Path:
    """A short training of one of BasicSR's models."""
    return write_options(folder, model_type=model, network_g=network, datasets__train=train,
                         train__total_iter=2, **changes)


@pytest.mark.parametrize(('network', 'section'), [
    (BASICVSRPP, {}),
    (EDVR_TINY, {'type': 'REDSDataset', 'num_frame': 3}),
])
def test_our_model_trains_on_stock_data(network: dict, section: dict, root: Path, tmp_path: Path) -> None:
    """It died of KeyError: 'root'."""
    file = ours(root, tmp_path, network_g=network)
    opt = yaml.safe_load(file.read_text())
    opt['datasets']['train'] = reds(root, **section)
    run_here('train', '-opt', str(tiny_run.write(opt, file)))
    assert (tmp_path / 'experiments/tiny/models/net_g_latest.pth').is_file()


@pytest.mark.parametrize(('network', 'section', 'model'), [
    (EDVR_TINY, {}, 'EDVRModel'),
    (BASICVSRPP, {'num_frame': 5, 'gt_frames': 'all'}, 'VideoRecurrentModel'),
])
def test_stock_models_train_on_our_data(network: dict, section: dict, model: str, root: Path, tmp_path: Path
                                        ) -> None:
    """One true frame of a window was compared with every result of the batch."""
    file = theirs(tmp_path, clips(root, **section), network, model)
    run_here('train', '-opt', str(file))
    assert (tmp_path / 'experiments/stand_in/models/net_g_latest.pth').is_file()


def test_missing_audio_is_named(root: Path, tmp_path: Path) -> None:
    detector = tiny_run.make_detector(tmp_path / 'net_l.pth')
    opt = tiny_run.options(root, detector, tmp_path)
    opt['datasets']['train'] = reds(root)
    with pytest.raises(GavnError, match=r'train: GAVN needs audio, but REDSRecurrentDataset has none'):
        run_here('train', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))
    opt['path']['pretrain_network_g'] = str(weights_of_gavn(tmp_path / 'net_g.pth'))
    with pytest.raises(GavnError, match=r'reds: GAVN needs audio, face, but its samples have lq, gt, key'):
        run_here('train', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))


def weights_of_gavn(path: Path) -> Path:
    from basicsr.archs import build_network
    torch.save({'params': build_network(dict(tiny_run.NETWORK)).state_dict()}, path)
    return path


@pytest.mark.parametrize(('model', 'section', 'words'), [
    ('EDVRModel', 'AVVideoDataset', r'val: AVVideoDataset does not fit EDVRModel.*VideoTestDataset'),
    ('AVVideoModel', 'VideoTestDataset', r'VideoTestDataset does not fit AVVideoModel.*dataroot_lq'),
])
def test_validation_data_of_the_other_kind_is_refused(model: str, section: str, words: str, root: Path,
                                                      tmp_path: Path) -> None:
    """It died of AttributeError, after hours of training."""
    val = {'name': 'val', 'type': section}
    val |= {'root': str(root), 'degradation': 'blur'} if section == 'AVVideoDataset' else {
        'dataroot_lq': str(folders(tmp_path) / 'lq'), 'dataroot_gt': str(tmp_path / 'gt'),
        'padding': 'replicate'}
    if model == 'EDVRModel':
        file = theirs(tmp_path, clips(root), EDVR_TINY, model, datasets__val=val, val={'val_freq': 2})
    else:
        file = ours(root, tmp_path, network_g=BASICVSRPP)
        opt = yaml.safe_load(file.read_text())
        opt['datasets'] = {'train': reds(root), 'val': val}
        tiny_run.write(opt, file)
    with pytest.raises(GavnError, match=words):
        run_here('train', '-opt', str(file))


def folders(place: Path, size: int = 32) -> Path:
    """lq/clip and gt/clip, three images each."""
    for kind, side in (('lq', size), ('gt', 32)):
        (place / kind / 'clip').mkdir(parents=True)
        for index in range(3):
            image = np.full((side, side, 3), 40 * index, np.uint8)
            cv2.imwrite(str(place / kind / 'clip' / f'{index:08d}.png'), image)
    return place


# ---- BasicSR's REDS data sets on LMDBs of gavn prepare

@pytest.mark.parametrize(('kind', 'frames'), [('REDSDataset', 3), ('REDSRecurrentDataset', 5)])
def test_reds_reads_clips_of_any_name_and_length(kind: str, frames: int, root: Path) -> None:
    """Stock takes the name apart at every '/', and every clip to have 100 frames."""
    section = reds(root, type=kind, num_frame=frames, scale=1, interval_list=[1], phase='train')
    found = DATASET_REGISTRY.get(kind)(section)
    found.keys = pickle.loads(pickle.dumps(found.keys))  # as for a spawned worker
    assert len(found) == sum(tiny_run.TRAIN.values())
    samples = [found[index] for index in range(len(found))]
    assert {sample['key'].rpartition('/')[0] for sample in samples} == set(tiny_run.TRAIN)
    assert all(len(sample['lq']) == frames for sample in samples)


def test_reds_warns_of_longer_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in ('gt', 'blur'):
        for index in (0, 119):
            write_image(tmp_path / layer / f'long/{index:08d}.png', np.zeros((32, 32, 3), np.uint8))
    (tmp_path / 'list.txt').write_text('long 120 (32,32,3)\n')
    told: list[str] = []
    monkeypatch.setattr(data_reds_dataset, 'get_root_logger', lambda: SimpleNamespace(warning=told.append))
    section = reds(tmp_path, dataroot_gt=str(tmp_path / 'gt'), dataroot_lq=str(tmp_path / 'blur'),
                   io_backend={'type': 'disk'}, meta_info_file=str(tmp_path / 'list.txt'))
    keys = DATASET_REGISTRY.get('REDSRecurrentDataset')(section).keys
    assert max(int(key.split('/')[1]) for key in keys) == 95  # windows of five frames
    assert told == ['REDSRecurrentDataset reads the first 100 frames of a clip; 1 of 1 clips are longer: cut '
                    'them (gavn prepare --cut 4), or use AVClipDataset, which reads all frames']


def test_a_key_stays_within_its_clip() -> None:
    assert FrameKey('ada/one', 0, 2, 7).split('/') == ['ada/one', '00000002']
    assert FrameKey('ada/one', 9, 2, 7).split('/') == ['ada/one', '00000007']
    assert FrameKey('ada/one', 5, 2, 7) == 'ada/one/00000005'


@pytest.mark.parametrize(('line', 'words'), [
    ('nobody/here 20 (32,32,3)', r'has no frame nobody/here/00000000'),
    ('anna/one 20 (32,32,3)', r'(blur|gt).lmdb has no frame anna/one/00000019'),
    ('bob 3 (32,32,3)', r'clip bob of .* has 3 frames; windows of num_frame: 5 span 5'),
])
def test_reds_names_frames_missing_in_the_lmdb(line: str, words: str, root: Path, tmp_path: Path
                                                         ) -> None:
    (tmp_path / 'list.txt').write_text(f'{line}\n')
    with pytest.raises(DataError, match=words):
        DATASET_REGISTRY.get('REDSRecurrentDataset')(reds(root, meta_info_file=str(tmp_path / 'list.txt')))


def test_a_key_that_stock_data_need_is_named(root: Path, tmp_path: Path) -> None:
    section = reds(root)
    del section['gt_size']
    with pytest.raises(GavnError, match='data set reds: REDSRecurrentDataset needs the key gt_size'):
        run_here('train', '-opt', str(theirs(tmp_path, section, BASICVSRPP, 'VideoRecurrentModel')))


def paired(folder: Path, **changes: Any) -> dict[str, Any]:
    return {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_lq': str(folder / 'lq/clip'),
            'dataroot_gt': str(folder / 'gt/clip'), 'io_backend': {'type': 'disk'}, 'gt_size': 16,
            'use_hflip': False, 'use_rot': False, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0, **changes}


def test_stock_pairs_of_two_sizes_name_the_image(tmp_path: Path) -> None:
    folders(tmp_path, 16)
    with pytest.raises(GavnError, match=r'gt/clip/\d+.png: Scale mismatches'):
        run_here('train', '-opt', str(theirs(tmp_path, paired(tmp_path), {'type': 'StandInNet'}, 'SRModel')))


def test_stock_validation_of_two_sizes_names_the_image(root: Path, tmp_path: Path) -> None:
    folders(tmp_path, 16)
    train = {'name': 'noise', 'type': 'StandInData', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}
    file = theirs(tmp_path, train, {'type': 'StandInNet'}, 'SRModel', val={'val_freq': 2},
                  datasets__val={**paired(tmp_path), 'phase': 'val'})
    cv2.imwrite(str(tmp_path / 'gt/clip/00000000.png'), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(GavnError, match=r'lq/clip/\d+.png: the image is 16x16 pixels, its ground truth 8x8'):
        run_here('train', '-opt', str(file))


def test_stock_lists_of_absent_files_fail_before_training(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / 'list.txt').write_text('00000000.png (32,32,3)\nabsent.png (32,32,3)\n')
    section = paired(tmp_path, meta_info_file=str(tmp_path / 'list.txt'))
    with pytest.raises(GavnError, match=r'absent.png does not exist, but .*list.txt names it'):
        run_here('train', '-opt', str(theirs(tmp_path, section, {'type': 'StandInNet'}, 'SRModel')))


# ---- metrics

@METRIC_REGISTRY.register()
def mean_level(img: np.ndarray, scale: float = 1) -> float:
    """A metric of the image alone."""
    return float(img.mean()) * scale


@METRIC_REGISTRY.register()
def own_error(img: np.ndarray, img2: np.ndarray) -> np.floating:
    return np.abs(img.astype(float) - img2).mean()


OWN = {'level': {'type': 'mean_level', 'scale': 2}, 'error': {'type': 'own_error', 'better': 'lower'},
       'psnr': {'type': 'calculate_psnr_pt', 'crop_border': 0},
       'ssim': {'type': 'calculate_ssim_pt', 'crop_border': 0}}


def test_registered_metrics_are_called_as_they_are_written() -> None:
    draw = np.random.default_rng(0)
    image, truth = draw.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = {}
    for key, metric in OWN.items():
        measure = metric_factory(key, metric).begin(None)
        measure.update(Sample(image, truth))
        [found[key]] = measure.result()
    psnr = metric_factory('p', {'type': 'calculate_psnr'}).begin(None)
    psnr.update(Sample(image, truth))
    assert found['psnr'] == pytest.approx(psnr.result()[0], abs=1e-3)
    assert found['level'] == pytest.approx(2 * image.mean())
    assert metric_factory('level', OWN['level']).needs == ()
    assert metric_factory('error', OWN['error']).needs == ('truth',)
    assert BestRecord(None, OWN).lower_better == {'level': False, 'error': True, 'psnr': False, 'ssim': False}


@pytest.mark.parametrize(('metric', 'words'), [
    ({'type': 'mean_level', 'scal': 2}, "mean_level has no option 'scal'"),
    ({'type': 'calculate_psnr_pt'}, 'calculate_psnr_pt needs the option crop_border'),
    ({'type': 'calculate_psnr_pt', 'crop_border': 0, 'input_order': 'HWC'}, "has no option 'input_order'"),
])
def test_options_of_registered_metrics_are_checked(metric: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_metrics({'x': metric})


def test_a_stock_model_validates_by_registered_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                       ) -> None:
    logs = tmp_path / 'logs'
    monkeypatch.setattr(utils_logger.basicsr_logger, 'init_tb_logger', lambda log_dir: writer(logs))
    folders(tmp_path)
    file = theirs(tmp_path, paired(tmp_path), {'type': 'StandInNet'}, 'SRModel', logger__use_tb_logger=True,
                  val={'val_freq': 2, 'metrics': OWN}, datasets__val={**paired(tmp_path), 'name': 'check'})
    run_here('train', '-opt', str(file))
    log = next((tmp_path / 'experiments/stand_in').glob('train_*.log')).read_text()
    assert all(f'# {key}: ' in log for key in OWN)
    seen = EventAccumulator(str(logs)).Reload()
    assert {'lr', 'grad_norm', 'losses/l_pix', 'metrics/check/psnr'} <= set(seen.scalars.Keys())


def writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder))


def test_a_metric_that_a_stock_model_cannot_measure_is_refused(tmp_path: Path) -> None:
    folders(tmp_path)
    file = theirs(tmp_path, paired(tmp_path), {'type': 'StandInNet'}, 'SRModel',
                  val={'val_freq': 2, 'metrics': {'x': {'type': 'lpips'}}}, datasets__val=paired(tmp_path))
    with pytest.raises(GavnError, match=r'val.metrics.x: lpips needs device, which SRModel'):
        run_here('train', '-opt', str(file))


def test_our_model_shows_images_learning_rate_and_gradients(root: Path, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / 'logs'
    monkeypatch.setattr(utils_logger.basicsr_logger, 'init_tb_logger', lambda log_dir: writer(logs))
    file = ours(root, tmp_path, network_g=BASICVSRPP)
    opt = yaml.safe_load(file.read_text())
    opt['logger'] |= {'use_tb_logger': True, 'print_freq': 1}
    opt['datasets']['train'] |= {'gt_frames': 'all'}
    opt['val']['metrics'] |= OWN
    run_here('train', '-opt', str(tiny_run.write(opt, file)))
    seen = EventAccumulator(str(logs)).Reload()
    assert {'lr', 'lr/1', 'grad_norm', 'losses/l_pix', 'metrics/val/level'} <= set(seen.scalars.Keys())
    assert set(seen.images.Keys()) == {f'val/{clip}' for clip in tiny_run.VAL}
    assert seen.Images('val/carl')[0].width == 3 * tiny_run.SIDE
    assert all(one.value > 0 for one in seen.Scalars('grad_norm'))
