"""Images to tensors and back; files that are whole or absent."""
import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from gavn.runtime.files import atomic_path, fingerprint, sha256
from gavn.runtime.tensors import to_images, to_tensor


def test_channel_order_range_and_layout() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = (255, 51, 0)  # blue, green, red
    tensor = to_tensor(image)
    assert tensor.shape == (3, 2, 3) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert tensor[:, 0, 1].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize('lead', [(), (5,), (2, 3)])
def test_there_and_back(lead: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (*lead, 7, 4, 3), np.uint8)
    assert np.array_equal(to_images(to_tensor(images)), images)


def test_a_list_is_stacked() -> None:
    images = [np.full((4, 5, 3), level, np.uint8) for level in (1, 2)]
    assert to_tensor(images).shape == (2, 3, 4, 5)


def test_back_clamps_and_rounds() -> None:
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0, float('nan')])
    levels = to_images(values.view(1, 1, 5).expand(3, 1, 5).bfloat16().float())
    assert levels[0, :, 0].tolist() == [0, 0, 1, 255, 0]


@pytest.mark.parametrize('bad', [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8),
                                 np.zeros((3, 4, 4), np.uint8)])
def test_other_images_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match='expected uint8 images'):
        to_tensor(bad)
    with pytest.raises(ValueError, match='expected a tensor'):
        to_images(torch.zeros(4, 4, 3))


def test_atomic_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / 'deep' / 'result.mp4'
    with atomic_path(target) as part:
        assert part.suffix == '.mp4' and part.parent == target.parent
        part.write_bytes(b'content')
        assert not target.exists()
    assert target.read_bytes() == b'content'
    assert [entry.name for entry in target.parent.iterdir()] == ['result.mp4']


def test_atomic_file_keeps_the_old_one_on_failure(tmp_path: Path) -> None:
    target = tmp_path / 'a.txt'
    target.write_text('old')
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as part:
        part.write_text('half')
        raise KeyboardInterrupt
    assert target.read_text() == 'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.txt']


def test_atomic_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / 'plain').touch()
    with atomic_path(tmp_path / 'atomic') as part:
        part.touch()
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ('plain', 'atomic')}
    assert len(modes) == 1


def test_writers_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / 'a'
    with atomic_path(target) as first, atomic_path(target) as second:
        first.write_text('first')
        second.write_text('second')
    assert target.read_text() == 'first' and len(list(tmp_path.iterdir())) == 1


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / 'a').write_bytes(content)
    assert sha256(tmp_path / 'a') == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize('size', [0, 10, 1 << 20, 5 << 20])
def test_a_fingerprint_tells_a_file_from_its_changes(tmp_path: Path, size: int) -> None:
    path = tmp_path / 'file'
    path.write_bytes(bytes(size))
    first, state = fingerprint(path), path.stat()
    assert fingerprint(path) == first
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert fingerprint(path) != first
    for changed in ([0, size - 1] if size else []):  # within the time of a coarse clock
        path.write_bytes(bytes(changed) + b'x' + bytes(size - changed - 1))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert fingerprint(path) != first
    path.write_bytes(bytes(size + 1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(path) != first


def test_a_fingerprint_reads_little(tmp_path: Path) -> None:
    """A terabyte of nothing, on a disk that keeps holes."""
    path = tmp_path / 'video'
    with path.open('wb') as file:
        file.truncate(1 << 40)
    assert len(fingerprint(path)) == 64
