"""BasicSR's own video models and data sets: on any device, named errors, clips on demand."""
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.data import video_test_dataset
from basicsr.models import video_recurrent_model
from basicsr.utils import FileClient, img_util
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, Registry
from linear_training import run_here, stock, write_options
from torch import nn
from torch.utils.data import DataLoader, Dataset

from gavn import basicsr_patches
from gavn.basicsr_patches.data_paired_image_dataset import PairedImageDataset
from gavn.basicsr_patches.data_reds_dataset import REDSDataset, REDSRecurrentDataset
from gavn.basicsr_patches.data_video_test_dataset import (
    VideoRecurrentTestDataset,
    VideoTestDataset,
    VideoTestDUFDataset,
)
from gavn.basicsr_patches.models_sr_model import SRModel
from gavn.basicsr_patches.models_video_base_model import EDVRModel, VideoBaseModel, VideoRecurrentModel
from gavn.basicsr_patches.utils_file_client import MissingKeyError
from gavn.basicsr_patches.utils_img_util import UnreadableImageError

basicsr_patches.apply()
METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}


@ARCH_REGISTRY.register()
class StandInVideoNet(nn.Module):
    """Clips (n, t, 3, h, w) to clips or to centre frames; its parts are named as those that stock freezes."""

    def __init__(self, centre: bool = False) -> None:
        super().__init__()
        self.centre = centre
        self.spynet, self.fusion = nn.Conv3d(3, 3, 1), nn.Conv3d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fusion(self.spynet(x.transpose(1, 2))).transpose(1, 2)
        return y[:, y.shape[1] // 2] if self.centre else y


@DATASET_REGISTRY.register()
class StandInClips(Dataset):
    """Clips of three frames and the one in their middle."""

    def __init__(self, opt: dict) -> None:
        self.opt = opt

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        clip = torch.rand(3, 3, 4, 4)
        return {'lq': clip, 'gt': clip[1]}


def make_clips(folder: Path, lengths: dict[str, int]) -> dict[str, str]:
    """Folders of small frames, degraded and clean, as options of a test set."""
    noise = np.random.default_rng(0)
    for kind in ('lq', 'gt'):
        for clip, length in lengths.items():
            (folder / kind / clip).mkdir(parents=True)
            for i in range(length):
                image = noise.integers(0, 255, (8, 8, 3), np.uint8)
                cv2.imwrite(str(folder / kind / clip / f'{i:08d}.png'), image)
    return {'dataroot_lq': str(folder / 'lq'), 'dataroot_gt': str(folder / 'gt')}


@pytest.fixture()
def clips(tmp_path: Path) -> dict[str, str]:
    return make_clips(tmp_path / 'first', {'a': 3, 'b': 4})


def options(folder: Path, centre: bool, **val: object) -> dict:
    return {'num_gpu': 0, 'is_train': True, 'dist': False, 'rank': 0, 'name': 'run', 'scale': 1,
            'network_g': {'type': 'StandInVideoNet', 'centre': centre},
            'path': {'visualization': str(folder / 'images')}, 'val': val,
            'train': {'ema_decay': 0.5, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'tsa_iter': 5, 'fix_flow': 5,
                      'scheduler': {'type': 'MultiStepLR', 'milestones': []},
                      'pixel_opt': {'type': 'L1Loss'}}}


def loader(kind: type, clips: dict[str, str], name: str = 'talking', **changes: object) -> DataLoader:
    return DataLoader(kind({'name': name, 'num_frame': 3, 'padding': 'reflection', **clips, **changes}))


def stock_of(model: type) -> type:
    """The class of basicsr that a class of ours replaces."""
    return next(base for base in model.__mro__[1:] if base.__name__ == model.__name__)


BOTH = pytest.mark.parametrize(('model', 'data'), [(VideoBaseModel, VideoTestDataset),
                                                   (VideoRecurrentModel, VideoRecurrentTestDataset)])


def build(model: type, folder: Path, **val: object) -> VideoBaseModel:
    return model(options(folder, model is not VideoRecurrentModel, **val))


@BOTH
def test_validation_of_two_sets(model: type, data: type, clips: dict[str, str], tmp_path: Path) -> None:
    built = build(model, tmp_path, metrics=METRICS)
    second = make_clips(tmp_path / 'second', {'c': 5})
    built.validation(loader(data, clips), 3, None)
    assert {clip: len(values) for clip, values in built.metric_results.items()} == {'a': 3, 'b': 4}
    built.validation(loader(data, second, 'second'), 3, None)
    assert list(built.metric_results) == ['c']
    assert (built.metric_results['c'] > 0).all()
    assert set(built.best_metric_results) == {'talking', 'second'}


@pytest.mark.skipif(torch.cuda.is_available(), reason='shows what fails without a GPU')
@BOTH
def test_stock_needs_a_gpu(model: type, data: type, clips: dict[str, str], tmp_path: Path) -> None:
    built = build(model, tmp_path, metrics=METRICS)
    with pytest.raises((AssertionError, RuntimeError)):
        stock_of(model).dist_validation(built, loader(data, clips), 3, None, False)


@BOTH
def test_validation_without_metrics(model: type, data: type, clips: dict[str, str], tmp_path: Path) -> None:
    built = build(model, tmp_path)
    with pytest.raises(KeyError):
        stock_of(model).dist_validation(built, loader(data, clips), 3, None, False)
    built.validation(loader(data, clips), 3, None)


@BOTH
def test_images_during_training(model: type, data: type, clips: dict[str, str], tmp_path: Path) -> None:
    built = build(model, tmp_path)
    built.validation(loader(data, clips), 30, None, save_img=True)
    written = {f'{path.parent.name}/{path.name}' for path in (tmp_path / 'images/talking').rglob('*.png')}
    assert written == {f'{clip}/{i:08d}_30.png' for clip, count in (('a', 3), ('b', 4)) for i in range(count)}
    assert built.opt['is_train']
    with pytest.raises(NotImplementedError):
        built.opt['val']['metrics'] = None
        stock_of(model).dist_validation(built, loader(data, clips), 3, None, True)


@pytest.mark.parametrize(('registry', 'replacement'), [
    *((MODEL_REGISTRY, model) for model in (SRModel, EDVRModel, VideoBaseModel, VideoRecurrentModel)),
    *((DATASET_REGISTRY, data) for data in (
        PairedImageDataset, REDSDataset, REDSRecurrentDataset,
        VideoTestDataset, VideoTestDUFDataset, VideoRecurrentTestDataset))])
def test_option_files_get_the_replacement(registry: Registry, replacement: type) -> None:
    assert registry.get(replacement.__name__) is replacement
    assert stock_of(replacement).__module__.startswith('basicsr.')


def test_any_name_of_a_test_set(clips: dict[str, str]) -> None:
    assert len(loader(VideoTestDataset, clips, 'talking').dataset) == 7
    assert loader(VideoTestDataset, clips, 'talking').dataset.opt['name'] == 'talking'
    with pytest.raises(ValueError, match='Non-supported video test dataset'):
        video_test_dataset.VideoTestDataset(
            {'name': 'talking', 'num_frame': 3, 'cache_data': False, 'io_backend': {'type': 'disk'}, **clips})


def test_clips_are_read_on_demand(clips: dict[str, str]) -> None:
    lazy, cached = (loader(VideoRecurrentTestDataset, clips, cache_data=cache).dataset
                    for cache in (False, True))
    assert all(isinstance(path, str) for paths in lazy.imgs_lq.values() for path in paths)
    for i in (0, 1):
        assert torch.equal(lazy[i]['lq'], cached[i]['lq'])
        assert torch.equal(lazy[i]['gt'], cached[i]['gt'])


@pytest.mark.parametrize(('model', 'early', 'centre'), [(EDVRModel, 'fusion', True),
                                                        (VideoRecurrentModel, 'fusion', False)])
def test_a_resumed_run_freezes_too(model: type, early: str, centre: bool, tmp_path: Path) -> None:
    """Only `fusion` is trained before iteration 5: EDVR's tsa_iter, and the flow network's fix_flow."""
    built = model(options(tmp_path, centre))
    for iteration, trained in ((3, {early}), (4, {early}), (5, {'fusion', 'spynet'}), (2, {early})):
        before = {name: value.clone() for name, value in built.net_g.named_parameters()}
        clip = torch.rand(1, 3, 3, 4, 4)
        built.feed_data({'lq': clip, 'gt': clip[:, 1] if centre else clip})
        built.optimize_parameters(iteration)
        moved = {name.split('.')[0] for name, value in built.net_g.named_parameters()
                 if not torch.equal(value, before[name])}
        assert moved == trained


def test_recurrent_models_test_the_averaged_network(clips: dict[str, str], tmp_path: Path) -> None:
    built = build(VideoRecurrentModel, tmp_path)
    trained, averaged = built.net_g, built.net_g_ema
    with torch.no_grad():
        averaged.fusion.bias.add_(1)
    built.feed_data({'lq': torch.rand(1, 3, 3, 4, 4)})
    built.test()
    assert torch.allclose(built.output, averaged(built.lq))
    assert built.net_g is trained
    video_recurrent_model.VideoRecurrentModel.test(built)
    assert torch.allclose(built.output, trained(built.lq))


@pytest.fixture()
def lmdbs(tmp_path: Path) -> Path:
    """lq.lmdb lacks the key `two` that gt.lmdb has, and its `three` is no image."""
    image = cv2.imencode('.png', np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    keys = ('one', 'two', 'three')
    values = {'lq': {'one': image, 'three': b'no image'}, 'gt': dict.fromkeys(keys, image)}
    for name, entries in values.items():
        folder = tmp_path / f'{name}.lmdb'
        with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.encode(), value)
        (folder / 'meta_info.txt').write_text(''.join(f'{key}.png (4,4,3) 1\n' for key in keys))
    return tmp_path


def pairs(lq: Path, gt: Path) -> PairedImageDataset:
    return PairedImageDataset({'phase': 'val', 'scale': 1, 'io_backend': {'type': 'lmdb'},
                               'dataroot_lq': str(lq), 'dataroot_gt': str(gt)})


class Owned(Dataset):
    """Tells of each sample whether it was read through another LMDB environment than `inherited`."""

    def __init__(self, data: PairedImageDataset, inherited: lmdb.Environment) -> None:
        self.data, self.inherited = data, inherited

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> bool:
        self.data[index]
        return self.data.file_client.client._client['lq']() is not self.inherited


def test_a_missing_key_is_named(lmdbs: Path) -> None:
    data = pairs(lmdbs / 'lq.lmdb', lmdbs / 'gt.lmdb')
    assert data[0]['lq'].shape == (3, 4, 4)
    with pytest.raises(MissingKeyError, match=r"lq\.lmdb has no key 'two'"):
        data[[entry['lq_path'] for entry in data.paths].index('two')]
    with pytest.raises(TypeError, match='bytes-like'):
        stock('utils.img_util').imfrombytes(None)  # what stock hands on for a missing key


def test_an_unreadable_value_is_named(lmdbs: Path) -> None:
    data = pairs(lmdbs / 'lq.lmdb', lmdbs / 'gt.lmdb')
    with pytest.raises(UnreadableImageError, match=r'three \(lmdb\) is not a readable image'):
        data[[entry['lq_path'] for entry in data.paths].index('three')]


def test_one_lmdb_for_both(lmdbs: Path) -> None:
    data = pairs(lmdbs / 'gt.lmdb', lmdbs / 'gt.lmdb')
    assert torch.equal(data[0]['lq'], data[0]['gt'])


def test_forked_workers_open_their_own_lmdb(lmdbs: Path) -> None:
    data = pairs(lmdbs / 'gt.lmdb', lmdbs / 'gt.lmdb')
    data.paths = data.paths[:1] * 2
    assert data[0]['lq'].shape == (3, 4, 4)  # opens it here
    inherited = data.file_client.client._client['lq']()
    loaded = list(DataLoader(Owned(data, inherited), num_workers=1, multiprocessing_context='fork'))
    assert [item.tolist() for item in loaded] == [[True], [True]]


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_an_unreadable_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r'x\.png \(disk\) is not a readable image'):
        img_util.imfrombytes(FileClient('disk').get(str(tmp_path / 'x.png')), float32=True)
    with pytest.raises((AttributeError, cv2.error)):
        stock('utils.img_util').imfrombytes(content, float32=True)


def test_an_unreadable_frame_of_a_test_set_is_named(clips: dict[str, str]) -> None:
    Path(clips['dataroot_lq'], 'b/00000002.png').write_bytes(b'no image')
    with pytest.raises(UnreadableImageError, match=r'b/00000002\.png is not a readable image'):
        loader(VideoRecurrentTestDataset, clips).dataset[1]


def test_the_pipelines_train_and_test_a_stock_model(clips: dict[str, str], tmp_path: Path) -> None:
    """EDVR's way: windows in, centre frames out; trained, validated and tested on a CPU."""
    val = {'val_freq': 2, 'save_img': True, 'metrics': METRICS}
    test_set = {'name': 'noise', 'type': 'VideoTestDataset', 'num_frame': 3, 'padding': 'reflection'} | clips
    network = {'type': 'StandInVideoNet', 'centre': True}
    changes = {'model_type': 'VideoBaseModel', 'network_g': network, 'val': val, 'train__total_iter': 2}
    train_set = {'type': 'StandInClips', 'name': 'noise', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}
    file = write_options(tmp_path, **changes, datasets={'train': train_set, 'val': test_set})
    run_here('train', '-opt', str(file))
    run = tmp_path / 'experiments/stand_in'
    assert len(list(run.rglob('*_2.png'))) == 7
    assert 'psnr' in next(run.glob('*.log')).read_text()
    weights = str(run / 'models/net_g_latest.pth')
    file = write_options(tmp_path, **changes, datasets={'test': test_set}, train=None, logger=None,
                         path__pretrain_network_g=weights)
    run_here('test', '-opt', str(file))
    assert len(list((tmp_path / 'results/stand_in').rglob('*_stand_in.png'))) == 7
