import numpy as np
import pytest

from gavn.audio.mfcc import mfcc
from gavn.data.av_clip_dataset import AVClipDataset
from gavn.data.av_video_dataset import AVVideoDataset
from gavn.data.clip_store import ClipEntry, ClipStore, ClipWriter, read_meta, read_stats
from gavn.data.degradation import degrade
from gavn.data.portable import pack_data_set, unpack_data_set
from gavn.data.preparation import statistics
from gavn.errors import DataError

pytest.importorskip('skimage', reason='the drawn heads need a photograph: pip install "gavn[demo]"')
LAYERS = ('car_crf45', 'blur', 'sr')
KEPT = 20  # of the 25 frames of the training clip


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    from gavn.experiments.synthetic.head import make_clip
    root = tmp_path_factory.mktemp('original')
    writer, features = ClipWriter(root), []
    for split, identity in (('train', 'ada'), ('val', 'ben')):
        clip = make_clip(identity, seed=1, seconds=1)
        features.append(mfcc(clip.audio).numpy())
        writer.frames('gt', f'{identity}/one', clip.frames)
        writer.array('landmarks', f'{identity}/one', clip.landmarks)
        writer.array('mfcc', f'{identity}/one', features[-1])
        writer.meta(split, [ClipEntry(f'{identity}/one', 25, (224, 224, 3))])
    writer.stats(statistics(features[:1]))
    return root


@pytest.fixture(scope='module')
def packed(original, tmp_path_factory):
    file = tmp_path_factory.mktemp('packed') / 'set.zip'
    return file, pack_data_set(original, file, {'train': KEPT, 'val': None}, workers=2)


@pytest.fixture(scope='module')
def unpacked(packed, tmp_path_factory):
    return unpack_data_set(packed[0], tmp_path_factory.mktemp('again') / 'set', (*LAYERS, 'gt'), workers=2)


def test_a_packed_data_set_is_small_and_reports_its_quality(packed):
    file, clips = packed
    assert [clip.entry.n_frames for clip in clips] == [KEPT, 25]
    assert file.stat().st_size < 5000 * sum(clip.entry.n_frames for clip in clips)
    assert all(38 < clip.psnr < 60 for clip in clips)


def test_frames_come_back_at_the_stated_quality(original, packed, unpacked):
    for clip in packed[1]:
        name, frames = clip.entry.clip, range(clip.entry.n_frames)
        want, got = (np.array(ClipStore(root, 'gt').frames(name, frames), float)
                     for root in (original, unpacked))
        assert 10 * np.log10(255**2 / np.square(got - want).mean()) == pytest.approx(clip.psnr, abs=0.01)


def test_arrays_and_lists_come_back(original, unpacked):
    assert read_stats(unpacked) == read_stats(original)
    for split, frames in (('train', KEPT), ('val', 25)):
        (entry,) = read_meta(unpacked, split)
        assert entry.n_frames == frames
        points = (ClipStore(root, 'landmarks').array(entry.clip)[:frames] for root in (original, unpacked))
        assert np.abs(np.subtract(*points)).max() <= 1 / 16
        options = {'degradation': 'gt', 'split': split}
        tracks = [AVVideoDataset({**options, 'root': str(root)}).clip(0).audio[:frames]
                  for root in (original, unpacked)]
        np.testing.assert_allclose(tracks[1], tracks[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('layer', LAYERS)
def test_layers_are_those_of_the_preparation(unpacked, layer):
    (entry,) = read_meta(unpacked, 'train')
    clean, got = (ClipStore(unpacked, name).frames(entry.clip, range(KEPT)) for name in ('gt', layer))
    np.testing.assert_array_equal(got, degrade(clean, layer, entry.clip)[0])


def test_training_reads_what_was_unpacked(unpacked):
    data = AVClipDataset({'root': str(unpacked), 'degradation': [*LAYERS, 'gt'], 'num_frame': 5,
                          'crop_size': 64})
    samples = list(data)
    assert len(samples) == KEPT // 5
    assert samples[0]['lq'].shape == (5, 3, 64, 64) and samples[0]['landmarks'].shape == (1, 68, 2)


def test_a_damaged_file_leaves_no_folder(packed, tmp_path):
    file = tmp_path / 'cut.zip'
    file.write_bytes(packed[0].read_bytes()[:-100])
    with pytest.raises(DataError, match='copy it again'):
        unpack_data_set(file, tmp_path / 'set')
    assert list(tmp_path.iterdir()) == [file]


def test_an_existing_folder_is_kept(packed, tmp_path):
    with pytest.raises(FileExistsError, match='remove it'):
        unpack_data_set(packed[0], tmp_path)
