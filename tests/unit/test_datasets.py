from typing import get_type_hints

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import DataLoader

from gavn.audio.mfcc import mfcc_windows, silence
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.data.clip_store import ClipEntry, ClipWriter, pack
from gavn.errors import DataError
from gavn.faces import landmarks
from gavn.runtime.tensors import to_tensor

SHAPE = (32, 48, 3)
LENGTHS = {'anna/one': 16, 'bob': 7, 'carl': 3}
POINTS = np.random.default_rng(0).uniform(0, 31, (68, 2)).astype(np.float32)


def image(clip: str, i: int, layer: str) -> np.ndarray:
    seed = [list(LENGTHS).index(clip), i, layer == 'gt']
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def mfcc_frames(clip: str) -> np.ndarray:
    number = list(LENGTHS).index(clip)
    columns = np.arange(4 * LENGTHS[clip] - 1, dtype=np.float32)
    return np.repeat((1000 * number + columns)[:, None], 13, axis=1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('set')
    writer = ClipWriter(root)
    for clip, length in LENGTHS.items():
        for layer in ('gt', 'blur'):
            writer.frames(layer, clip, (image(clip, i, layer) for i in range(length)))
        writer.array('mfcc', clip, mfcc_frames(clip))
        writer.array('landmarks', clip, POINTS + np.arange(length, dtype=np.float32)[:, None, None])
    entries = [ClipEntry(clip, length, SHAPE) for clip, length in LENGTHS.items()]
    writer.meta('train', entries)
    writer.meta('val', entries[:2])
    pack(root, ['gt', 'blur', 'mfcc', 'landmarks'])
    return root


def training(root, **options) -> AVClipDataset:
    return AVClipDataset({'root': str(root), 'degradation': 'blur', 'name': 'x', 'phase': 'train', **options})


def videos(root, **options) -> AVVideoDataset:
    return AVVideoDataset({'root': str(root), 'degradation': 'blur', **options})


def place(sample: dict) -> tuple[str, int]:
    clip, start = sample['key'].rsplit('/', 1)
    return clip, int(start)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] == b[key] for key in a)


def test_both_are_registered():
    assert DATASET_REGISTRY.get('AVClipDataset') is AVClipDataset
    assert DATASET_REGISTRY.get('AVVideoDataset') is AVVideoDataset


@pytest.mark.parametrize('gt_frames, first, count', [('all', 0, 7), ('valid', 2, 3), ('center', 3, 1)])
@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_a_sample_holds_what_the_folder_does(root, gt_frames, first, count, backend):
    data = training(root, gt_frames=gt_frames, use_hflip=False, io_backend={'type': backend})
    sample = data[1]
    clip, start = place(sample)
    outputs = range(start + first, start + first + count)
    assert torch.equal(sample['lq'], to_tensor([image(clip, start + i, 'blur') for i in range(7)]))
    assert torch.equal(sample['gt'], to_tensor([image(clip, i, 'gt') for i in outputs]))
    assert torch.equal(sample['audio'], mfcc_windows(mfcc_frames(clip), [i / 25 for i in outputs]))
    expected = (POINTS + np.array(outputs, np.float32)[:, None, None] + 0.5) / np.array([48, 32], np.float32)
    np.testing.assert_allclose(sample['landmarks'], expected, rtol=1e-6)
    assert sample['landmarks'].dtype == torch.float32
    face = cv2.resize(image(clip, outputs[0], 'blur'), (112, 112), interpolation=cv2.INTER_AREA)
    assert torch.equal(sample['face'][0], to_tensor(face)) and sample['face'].shape == (count, 3, 112, 112)
    assert sample['region'].tolist() == [0, 0, 1, 1]


def test_every_window_draws_one_of_several_layers(root):
    data = training(root, degradation=['blur', 'gt'], use_hflip=False, gt_frames='all', manual_seed=1)
    drawn = []
    for n in range(40):
        clip, start = place(data[n])
        frames = {layer: to_tensor([image(clip, start + i, layer) for i in range(7)])
                  for layer in ('blur', 'gt')}
        drawn += [layer for layer, window in frames.items() if torch.equal(data[n]['lq'], window)]
    assert len(drawn) == 40 and 10 < drawn.count('gt') < 30
    alone = training(root, use_hflip=False, gt_frames='all', manual_seed=1)
    assert [data[n]['key'] for n in range(9)] == [alone[n]['key'] for n in range(9)]
    with pytest.raises(ValueError, match='degradation names no layer'):
        training(root, degradation=[])


def test_windows_fill_each_clip_side_by_side_from_a_drawn_start(root, caplog):
    data = training(root)
    assert len(data) == 16 // 7 + 7 // 7
    assert '1 of 3 clips' in caplog.text and 'num_frame: 7' in caplog.text
    starts = set()
    for epoch in range(40):
        places = [place(data[epoch * len(data) + i]) for i in range(len(data))]
        (a, first), (b, second), last = places
        assert a == b == 'anna/one' and second - first == 7 and last == ('bob', 0)
        starts.add(first)
    assert starts == {0, 1, 2}


def test_draws_depend_on_seed_epoch_and_index_alone(root):
    data = training(root, crop_size=16, audio='shuffled', manual_seed=3)
    again = training(root, crop_size=16, audio='shuffled', manual_seed=3)
    numbers = [40, 2, 7, 0, 31]
    assert all(same(data[n], again[n]) for n in numbers + numbers[::-1])
    other = training(root, crop_size=16, audio='shuffled', manual_seed=4)
    assert not all(same(data[n], other[n]) for n in numbers)
    assert not all(same(data[0], data[epoch * len(data)]) for epoch in range(1, 6))


def test_workers_change_nothing(root):
    data = training(root, crop_size=16)
    alone = [data[i] for i in range(len(data))]
    loaded = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context='fork'))
    assert len(loaded) == 3 and all(same(a, b) for a, b in zip(alone, loaded, strict=True))


def test_mirroring_turns_everything_round(root):
    data, straight = training(root), training(root, use_hflip=False)
    mirrored = 0
    for n in range(60):
        turned, plain = data[n], straight[n]
        if torch.equal(turned['lq'], plain['lq']):
            assert same(turned, plain)
            continue
        mirrored += 1
        assert all(torch.equal(turned[key], plain[key].flip(-1)) for key in ('lq', 'gt'))
        assert torch.allclose(turned['face'], plain['face'].flip(-1), atol=1.01 / 255)
        assert torch.equal(turned['landmarks'], landmarks.flip(plain['landmarks']))
        assert torch.equal(turned['audio'], plain['audio'])
    assert 18 < mirrored < 42


def test_region_says_where_the_crop_lies_also_when_mirrored(root):
    data, full = training(root, crop_size=16), training(root)
    corners = set()
    for n in range(30):
        crop, frame = data[n], full[n]
        x0, y0, x1, y1 = (crop['region'] * torch.tensor([48, 32, 48, 32])).round().long().tolist()
        corners.add((x0, y0))
        assert (x1 - x0, y1 - y0) == (16, 16) and crop['lq'].shape == (7, 3, 16, 16)
        assert torch.equal(crop['lq'], frame['lq'][..., y0:y1, x0:x1])
        assert torch.equal(crop['gt'], frame['gt'][..., y0:y1, x0:x1])
        assert torch.equal(crop['landmarks'], frame['landmarks']) and torch.equal(crop['face'], frame['face'])
    assert len(corners) > 20


def test_silent_and_shuffled_audio(root):
    quiet = training(root, audio='zeros')[0]
    assert torch.equal(quiet['audio'], silence([0.0, 0.0, 0.0])) and quiet['audio'].abs().max() > 30
    data = training(root, audio='shuffled')
    for n in range(30):
        sample = data[n]
        own = list(LENGTHS).index(place(sample)[0])
        speakers = {int(value) // 1000 for value in sample['audio'].flatten()}
        assert len(speakers) == 1 and own not in speakers
    short = videos(root, split='train', audio='shuffled').clip(2)
    assert short.audio.shape == (3, 1, 13, 20) and int(short.audio.min()) // 1000 != 2


def test_videos_stream_whole_clips(root):
    data = videos(root)
    assert [sample['key'] for sample in DataLoader(data, batch_size=None)] == ['anna/one', 'bob']
    assert data[1] == {'key': 'bob', 'index': 1}
    clip = data.clip(0)
    frames = list(clip.frames())
    assert clip.key == 'anna/one' and clip.n_frames == len(frames) == 16
    sample = frames[9]
    assert torch.equal(sample['lq'], to_tensor(image('anna/one', 9, 'blur')))
    assert torch.equal(sample['gt'], to_tensor(image('anna/one', 9, 'gt')))
    assert torch.equal(sample['audio'], mfcc_windows(mfcc_frames('anna/one'), [9 / 25])[0])
    expected = (POINTS + 9.5) / np.array([48, 32], np.float32)
    np.testing.assert_allclose(sample['landmarks'], expected, rtol=1e-6)
    assert sample['face'].shape == (3, 112, 112)
    assert len(list(videos(root, max_frames=5).clip(0).frames())) == 5


def test_plain_folders_need_no_preparation(tmp_path, root):
    data = AVVideoDataset({'dataroot_lq': str(root / 'blur'), 'dataroot_gt': str(root / 'gt')})
    assert [data[i]['key'] for i in range(3)] == ['anna/one', 'bob', 'carl']
    sample = list(data.clip(2).frames())[1]
    assert torch.equal(sample['lq'], to_tensor(image('carl', 1, 'blur'))) and 'landmarks' not in sample
    assert torch.equal(sample['audio'], silence([0.0])[0])
    alone = AVVideoDataset({'dataroot_lq': str(root / 'blur' / 'bob')})
    assert alone[0]['key'] == 'bob' and 'gt' not in next(alone.clip(0).frames())
    (tmp_path / 'bob').mkdir()
    cv2.imwrite(str(tmp_path / 'bob' / '0.png'), image('bob', 0, 'gt'))
    with pytest.raises(ValueError, match=r"'bob' has 7 images .* but 1 in"):
        AVVideoDataset({'dataroot_lq': str(root / 'blur' / 'bob'), 'dataroot_gt': str(tmp_path)})


def test_sizes_that_differ_are_named(tmp_path):
    for name, size in (('lq', 16), ('gt', 32)):
        (tmp_path / name / 'a').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / 'a' / '0.png'), np.zeros((size, size, 3), np.uint8))
    options = {'dataroot_lq': str(tmp_path / 'lq'), 'dataroot_gt': str(tmp_path / 'gt')}
    with pytest.raises(DataError, match=r"clip 'a': .*0.png is 16x16 pixels, .*0.png 32x32"):
        AVVideoDataset(options)
    for name, size in (('lq', 32), ('gt', 32), ('lq', 16)):  # the next image
        cv2.imwrite(str(tmp_path / name / 'a' / f'{size != 32:d}.png'), np.zeros((size, size, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'gt' / 'a' / '1.png'), np.zeros((32, 32, 3), np.uint8))
    frames = AVVideoDataset(options).clip(0).frames()
    next(frames)
    with pytest.raises(DataError, match=r'a, frame 1: lq is \(16, 16\) but gt \(32, 32\)'):
        next(frames)


@pytest.mark.parametrize('options, message', [
    ({'gt_frames': 'some'}, "gt_frames: 'some'"),
    ({'gt_frames': 'valid', 'num_frame': 4}, 'num_frame: 4 leaves no frame'),
    ({'num_frame': 17}, 'none of 3 clips'),
    ({'audio': 'loud'}, "audio: 'loud'"),
    ({'degradation': 'car'}, 'car does not exist'),
    ({'split': 'test'}, 'no test split'),
])
def test_wrong_options_are_named(root, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        training(root, **options)


def test_crops_begin_at_multiples_of_their_step(root):
    data = training(root, crop_size=16, crop_step=8)
    corners = {tuple((data[n]['region'][:2] * torch.tensor([48, 32])).round().int().tolist())
               for n in range(100)}
    assert corners == {(x, y) for x in (0, 8, 16, 24, 32) for y in (0, 8, 16)}


def test_wrong_options_are_named_by_what_they_do_not_fit(root):
    with pytest.raises(ValueError, match=r'crop_size: 33 .*\(32x48\)'):
        training(root, crop_size=33)
    with pytest.raises(ValueError, match='crop_step: 0 is not positive'):
        training(root, crop_size=16, crop_step=0)
    with pytest.raises(ValueError, match=r"AVClipDataset.*'degradation'"):
        AVClipDataset({'root': str(root)})
    with pytest.raises(ValueError, match='either root and degradation or dataroot_lq'):
        AVVideoDataset({'root': str(root)})
    with pytest.raises(ValueError, match='needs at least two clips'):
        training(root, audio='shuffled', num_frame=16)


def test_a_missing_frame_is_named(root, tmp_path):
    writer = ClipWriter(tmp_path)
    writer.frames('gt', 'a', [image('bob', 0, 'gt')] * 6)
    writer.frames('blur', 'a', [image('bob', 0, 'gt')] * 7)
    writer.array('mfcc', 'a', mfcc_frames('bob'))
    writer.array('landmarks', 'a', np.zeros((7, 68, 2), np.float32))
    writer.meta('train', [ClipEntry('a', 7, SHAPE)])
    with pytest.raises(DataError, match=r'clip a: .*gt has no a/00000006'):
        training(tmp_path, gt_frames='all')


@pytest.mark.parametrize('kind', [AVClipDataset, AVVideoDataset])
def test_options_are_typed(kind, root):
    hints = get_type_hints(kind.Options)
    assert {'root', 'degradation', 'split', 'io_backend', 'audio', 'manual_seed'} <= set(hints)
    with pytest.raises(ValueError, match="'typ'"):
        kind({'root': str(root), 'degradation': 'blur', 'io_backend': {'typ': 'lmdb'}})
