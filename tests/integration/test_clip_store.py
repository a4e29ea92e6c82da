import multiprocessing
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from basicsr.utils import FileClient, imfrombytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gavn.data import clip_store, storage
from gavn.data.clip_store import ClipEntry, ClipStore, ClipWriter, MissingEntryError, pack, read_meta

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'prepare' / 'pack.py'


def image(n: int, h: int = 20, w: int = 24) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (h, w, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    writer = ClipWriter(tmp_path / 'set')
    for number, clip in enumerate(('anna/one', 'bob')):
        writer.frames('gt', clip, (image(10 * number + i) for i in range(3)))
        writer.array('mfcc', clip, np.full((11, 13), number, np.float32))
    writer.meta('train', [ClipEntry('anna/one', 3, (20, 24, 3))])
    writer.meta('val', [ClipEntry('bob', 3, (20, 24, 3))])
    return tmp_path / 'set'


def test_meta_round_trip(root):
    assert read_meta(root, 'train') == [ClipEntry('anna/one', 3, (20, 24, 3))]
    assert (root / 'meta_info_val.txt').read_text() == 'bob 3 (20,24,3)\n'
    assert ClipEntry.parse('a b 12 (1,2,3)') == ClipEntry('a b', 12, (1, 2, 3))
    with pytest.raises(ValueError, match='nonsense'):
        ClipEntry.parse('nonsense')


def test_absent_split_says_what_to_run(root):
    with pytest.raises(FileNotFoundError, match=r'meta_info_test\.txt.*gavn prepare'):
        read_meta(root, 'test')


@pytest.mark.parametrize('backend', ['disk', 'lmdb', 'auto'])
def test_reads_what_was_written(root, backend):
    pack(root, ['gt', 'mfcc'])
    store = pickle.loads(pickle.dumps(ClipStore(root, 'gt', backend)))
    assert store.packed == (backend != 'disk')
    assert np.array_equal(store.frame('bob', 2), image(12))
    assert np.array_equal(store.frames('bob', range(1, 3)), [image(11), image(12)])
    mfcc = ClipStore(root, 'mfcc', backend).array('bob')
    assert mfcc.dtype == np.float32 and mfcc.shape == (11, 13) and (mfcc == 1).all()


@pytest.mark.parametrize(('store', 'ending', 'level'), [
    ('webp', 'webp', 0), ('png', 'png', 1), ('raw', 'bmp', 0)])
def test_stock_lmdb_reader_finds_the_frames_of_any_form(root, store, ending, level):
    packed, _ = pack(root, ['gt', 'mfcc'], store)
    assert {path.name for path in packed.iterdir()} == {'data.mdb', 'lock.mdb', 'meta_info.txt'}
    first = (packed / 'meta_info.txt').read_text().splitlines()[0]
    assert first == f'anna/one/00000000.{ending} (20,24,3) {level}'
    client = FileClient('lmdb', db_paths=str(packed), client_keys='gt')
    stored = client.get('anna/one/00000001', 'gt')
    assert stored.startswith(storage.STORES[store].mark)
    assert np.array_equal(imfrombytes(stored), image(1))


def test_the_form_changes_only_when_asked_for(root):
    pngs = {path: path.read_bytes() for path in (root / 'gt').rglob('*.png')}

    def stored():
        return ClipStore(root, 'gt', 'lmdb').value('bob/00000000', '')

    pack(root, ['gt'], 'png')
    assert stored() == pngs[root / 'gt/bob/00000000.png']
    pack(root, ['gt'])
    assert stored().startswith(b'\x89PNG')
    shutil.rmtree(root / 'gt')  # from now on the LMDB is its own source
    for form, mark in (('raw', b'BM'), ('webp', b'RIFF'), ('png', b'\x89PNG')):
        pack(root, ['gt'], form)
        assert stored().startswith(mark)
        assert np.array_equal(ClipStore(root, 'gt').frame('bob', 2), image(12))
    with pytest.raises(ValueError, match="'jpeg' is not one of webp, png, raw"):
        pack(root, ['gt'], 'jpeg')


def test_the_script_packs_what_there_is_and_names_what_is_not(root):
    def packed(*arguments):
        return subprocess.run([sys.executable, str(SCRIPT), str(root), *arguments], text=True,
                              capture_output=True, check=False)

    done = packed('--store', 'png')
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(root / 'gt.lmdb'), str(root / 'mfcc.lmdb')]
    assert ClipStore(root, 'gt', 'lmdb').value('bob/00000000', '').startswith(b'\x89PNG')
    refused = packed('--layers', 'blur')
    assert refused.returncode == 2 and 'has no layer blur, only gt, mfcc' in refused.stderr


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_every_form_is_lossless(image):
    for store in storage.STORES.values():
        assert np.array_equal(storage.decode(store.encode(image)), image)


def test_a_damaged_image_is_not_packed(root):
    (root / 'gt' / 'bob' / '00000001.png').write_bytes(b'not an image')
    with pytest.raises(MissingEntryError, match=r'bob/00000001.*not a readable image; prepare'):
        pack(root, ['gt'])
    assert not (root / 'gt.lmdb').exists()


@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_missing_entry_names_key_and_place(root, backend):
    pack(root, ['gt', 'mfcc'])
    store = ClipStore(root, 'gt', backend)
    with pytest.raises(MissingEntryError) as error:
        store.frame('bob', 3)
    assert 'bob/00000003' in str(error.value) and str(store.path) in str(error.value)
    with pytest.raises(MissingEntryError, match='nobody'):
        ClipStore(root, 'mfcc', backend).array('nobody')


def test_absent_layer_names_those_present(root):
    with pytest.raises(FileNotFoundError, match=r'blur does not exist.*gt, mfcc'):
        ClipStore(root, 'blur')
    with pytest.raises(FileNotFoundError, match=r'gt\.lmdb'):
        ClipStore(root, 'gt', 'lmdb')
    with pytest.raises(ValueError, match='tape'):
        ClipStore(root, 'gt', 'tape')


def test_damaged_image_is_named(root):
    (root / 'gt' / 'bob' / '00000001.png').write_bytes(b'not an image')
    with pytest.raises(MissingEntryError, match='bob/00000001'):
        ClipStore(root, 'gt').frame('bob', 1)


def test_two_layers_share_one_environment_of_one_path(root):
    pack(root, ['gt'])
    (root / 'copy.lmdb').symlink_to(root / 'gt.lmdb')
    stores = [ClipStore(root, 'gt'), ClipStore(root, 'copy')]
    images = [store.frame('bob', 0) for store in stores]
    assert np.array_equal(*images)


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_after_the_parent_has(root, method):
    pack(root, ['gt'])
    store = ClipStore(root, 'gt')
    expected = store.frame('bob', 0)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert np.array_equal(pool.apply_async(store.frame, ('bob', 0)).get(timeout=60), expected)
    assert np.array_equal(store.frame('bob', 0), expected)


def test_a_failed_writer_leaves_nothing_and_keeps_the_old(root):
    def breaks():
        yield image(99)
        raise RuntimeError('camera fell')

    writer = ClipWriter(root)
    for clip in ('bob', 'carl'):
        with pytest.raises(RuntimeError, match='camera'):
            writer.frames('gt', clip, breaks())
    assert not writer.has('gt', 'carl')
    assert np.array_equal(ClipStore(root, 'gt').frame('bob', 0), image(10))
    assert sorted(path.name for path in (root / 'gt').iterdir()) == ['anna', 'bob']
    with pytest.raises(ValueError, match='no frames'):
        writer.frames('gt', 'carl', [])


def test_leavings_of_a_killed_writer_do_not_disturb(root):
    part = root / 'gt' / '.bob.part'
    part.mkdir()
    (part / '00000007.png').write_bytes(b'')
    ClipWriter(root).frames('gt', 'bob', [image(5)])
    assert [path.name for path in (root / 'gt' / 'bob').iterdir()] == ['00000000.png'] and not part.exists()


def test_pack_keeps_what_is_current_and_renews_what_is_not(root):
    [packed] = pack(root, ['gt'])
    before = (packed / 'data.mdb').stat().st_mtime_ns
    pack(root, ['gt'])
    assert (packed / 'data.mdb').stat().st_mtime_ns == before
    ClipWriter(root).frames('gt', 'bob', (image(70 + i) for i in range(3)))
    pack(root, ['gt'])
    assert np.array_equal(ClipStore(root, 'gt', 'lmdb').frame('bob', 0), image(70))


def test_the_map_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_store, '_BATCH', 2)
    writer, entry = ClipWriter(tmp_path), ClipEntry('a', 5, (64, 64, 3))
    writer.frames('gt', 'a', (image(i, 64, 64) for i in range(5)))
    writer.meta('train', [entry])
    opened = lmdb.open
    monkeypatch.setattr(lmdb, 'open', lambda path, map_size=0, **kw: opened(path, map_size=32 << 10, **kw))
    pack(tmp_path, ['gt'])
    monkeypatch.undo()
    store = ClipStore(tmp_path, 'gt', 'lmdb')
    assert all(np.array_equal(store.frame('a', i), image(i, 64, 64)) for i in range(5))


def test_frames_are_lossless_pngs(root):
    stored = cv2.imread(str(root / 'gt' / 'anna' / 'one' / '00000002.png'))
    assert np.array_equal(stored, image(2))


@pytest.mark.parametrize('clip', ['', '/elsewhere/clip', '../clip', 'a/../../clip'])
def test_nothing_is_written_or_removed_outside_the_folder(tmp_path, clip):
    writer = ClipWriter(tmp_path / 'root')
    for act in (lambda: writer.array('mfcc', clip, np.zeros(3)), lambda: writer.remove('gt', clip)):
        with pytest.raises(ValueError, match='is not a valid clip id'):
            act()
