"""Data that are damaged, cut, missing or of two sizes, and full disks: a sentence with the clip or file."""
import errno
import os
import resource
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_run
import torch
from linear_training import run, run_here, write_options

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.data import av_clip_dataset
from gavn.data.clip_store import ClipStore, pack, read_meta
from gavn.errors import DataError, GavnError
from gavn.runtime.files import atomic_path
from gavn.runtime.images import read_image
from gavn.runtime.lmdb_environment import open_lmdb


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set folder and a landmark detector."""
    folder = tmp_path_factory.mktemp('made')
    return tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'net_l.pth')


def options(made: tuple[Path, Path], tmp_path: Path, workers: int = 0) -> tuple[Path, Path]:
    """A copy of the data to damage, and the option file of a short training on it."""
    root = Path(shutil.copytree(made[0], tmp_path / 'data'))
    opt = tiny_run.options(root, made[1], tmp_path)
    opt['datasets']['train']['num_worker_per_gpu'] = workers
    return root, tiny_run.write(opt, tmp_path / 'x.yml')


def other_size(root: Path) -> None:
    path = root / 'blur/bob/00000000.png'
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (16, 16)))


def first_gone(root: Path) -> None:
    (root / 'gt/anna/one/00000000.png').unlink()


def last_gone(root: Path) -> None:
    (root / 'blur/bob/00000010.png').unlink()


def unknown_clip(root: Path) -> None:
    with (root / 'meta_info_train.txt').open('a') as file:
        file.write('zoe 9 (32,32,3)\n')


def no_audio(root: Path) -> None:
    (root / 'mfcc/bob.npy').unlink()


def cut_landmarks(root: Path) -> None:
    path = root / 'landmarks/bob.npy'
    path.write_bytes(path.read_bytes()[:300])


def few_landmarks(root: Path) -> None:
    np.save(root / 'landmarks/bob.npy', np.zeros((3, 68, 2), np.float32))


def cut_lmdb(root: Path) -> None:
    pack(root, ['gt'])
    os.truncate(root / 'gt.lmdb/data.mdb', 40_000)


def empty_lmdb(root: Path) -> None:
    pack(root, ['gt'])
    os.truncate(root / 'gt.lmdb/data.mdb', 0)


@pytest.mark.parametrize(('damage', 'words'), [
    (other_size, r'clip bob: frames of .*blur are 16x16 pixels, but meta_info says 32x32'),
    (first_gone, r'clip anna/one: .*gt has no anna/one/00000000, but meta_info lists the clip with 13'),
    (last_gone, r'clip bob: .*blur has no bob/00000010'),
    (unknown_clip, r'clip zoe: .*blur has no zoe/00000000'),
    (no_audio, r'clip bob: .*mfcc has no bob'),
    (cut_landmarks, r"'bob' in .*landmarks is not a complete array \(300 bytes\)"),
    (few_landmarks, r'clip bob: .*landmarks has landmarks of 3 frames, the clip has 11'),
    (cut_lmdb, r'gt.lmdb/data.mdb is truncated: it has 40000 bytes of \d+; copy it again'),
    (empty_lmdb, r'gt.lmdb/data.mdb is not a readable LMDB \(0 bytes'),
], ids=lambda value: getattr(value, '__name__', ''))
def test_what_can_be_known_is_reported_before_training(damage: Callable, words: str, made: tuple[Path, Path],
                                                       tmp_path: Path) -> None:
    root, file = options(made, tmp_path)
    damage(root)
    with pytest.raises(GavnError, match=words):
        run_here('train', '-opt', str(file))
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    assert 'Start training' not in log


def test_each_process_checks_its_share_of_the_clips(made: tuple[Path, Path], tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = options(made, tmp_path)
    no_audio(root)
    names = [entry.clip for entry in read_meta(root, 'train')]
    opt = {'root': str(root), 'degradation': 'blur', 'num_frame': 5}
    for rank in (0, 1):
        monkeypatch.setattr(av_clip_dataset, 'get_dist_info', lambda rank=rank: (rank, 2))
        with pytest.raises(DataError, match='clip bob') if rank == names.index('bob') else nullcontext():
            assert len(av_clip_dataset.AVClipDataset(opt).entries) == 2


@pytest.mark.parametrize('workers', [0, 2])
def test_a_cut_image_ends_training_with_its_name(workers: int, made: tuple[Path, Path], tmp_path: Path
                                                   ) -> None:
    root, file = options(made, tmp_path, workers)
    path = root / 'blur/bob/00000005.png'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(GavnError, match=r"^'bob/00000005' in .*blur is not a readable image; "
                                         r'prepare this clip again$'):
        run_here('train', '-opt', str(file))


def test_a_frame_of_another_size_in_the_midst_is_named(made: tuple[Path, Path], tmp_path: Path) -> None:
    root, file = options(made, tmp_path)
    for index in range(3, 8):
        cv2.imwrite(str(root / f'gt/bob/{index:08d}.png'), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(GavnError, match=r'clip bob, near frame \d+: a frame is 40x40 pixels'):
        run_here('train', '-opt', str(file))


def test_a_cut_lmdb_kills_no_process(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Reading behind its end was SIGBUS, which no `except` sees."""
    root = Path(shutil.copytree(made[0], tmp_path / 'data'))
    cut_lmdb(root)
    with pytest.raises(DataError, match='truncated'):
        ClipStore(root, 'gt').frame('bob', 10)
    with pytest.raises(DataError, match=r'absent.lmdb is not an LMDB'):
        open_lmdb(tmp_path / 'absent.lmdb')


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.webp', '.bmp'])
def test_a_cut_file_is_no_image(ending: str, tmp_path: Path) -> None:
    """Of a cut JPEG `cv2.imread` paints the rest grey."""
    path = tmp_path / f'x{ending}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    assert read_image(path).shape == (48, 48, 3)
    os.truncate(path, path.stat().st_size - 40)
    with pytest.raises(DataError, match=f'x{ending} is not a readable image, or truncated'):
        read_image(path)


def test_a_disk_that_fills_up_while_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(GavnError, match=r'net_g_4.pth cannot be written: No space left on device; '
                                         r'make room there, then .* --auto_resume'):
        run_here('train', '-opt', str(write_options(tmp_path)))
    assert not list((tmp_path / 'experiments/stand_in/models').iterdir())


def test_a_file_that_may_grow_no_further(tmp_path: Path) -> None:
    """What the operating system says in the middle of writing comes through torch.save as it is."""
    file = write_options(tmp_path, network_g={'type': 'StandInNet', 'width': 40_000})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    done = run('train', '-opt', str(file), check=False, preexec_fn=limit)
    assert done.returncode == 1, done.stdout
    assert 'net_g_4.pth cannot be written: File too large' in done.stdout
    assert 'Traceback' not in done.stdout


def test_errors_of_the_disk_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, atomic_path(tmp_path / 'x.json'):
        raise OSError(errno.ENOSPC, 'full')
    assert error.value.filename == str(tmp_path / 'x.json')
    assert not list(tmp_path.iterdir())
