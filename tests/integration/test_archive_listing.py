"""The listing of an archive: what is left out, and its memory."""
import errno
import os
import tracemalloc
from pathlib import Path

import pytest

pytest.importorskip('datatrove', reason='needs datatrove: pip install "gavn[cluster]"')

from datatrove.io import get_datafolder

from gavn.restoration import archive as archives
from gavn.restoration.archive import Archive
from gavn.restoration.restorer_spec import RestorerSpec
from gavn.restoration.settings import Settings
from gavn.runtime.folders import list_files


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch, caplog):
    for name in ('a.mp4', 'closed/b.mp4', 'open/c.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    real, closed = os.scandir, {f'{tmp_path}/closed/'}

    def scandir(path):
        if path in closed:
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return real(path)

    monkeypatch.setattr('gavn.runtime.folders.os.scandir', scandir)
    folder = get_datafolder(str(tmp_path))
    assert sorted(list_files(folder, archives._is_video_name)) == ['a.mp4', 'open/c.mp4']
    assert 'closed is left out, because it cannot be listed: ' in caplog.text
    closed.add(f'{tmp_path}/')
    with pytest.raises(PermissionError):
        list(list_files(folder, archives._is_video_name))


def test_a_folder_of_object_storage_that_cannot_be_listed_is_told(place, monkeypatch, caplog):
    folder = get_datafolder(place)
    for name in ('a.mp4', 'closed/b.mp4', 'open/.hidden/c.mp4', 'open/deep/d.mp4', 'open/e.txt'):
        folder.pipe_file(name, b'')
    real = type(folder).ls

    def ls(self, path, **options):
        if path == 'closed/':
            raise PermissionError('Access Denied')
        return real(self, path, **options)

    monkeypatch.setattr(type(folder), 'ls', ls)
    assert sorted(list_files(folder, archives._is_video_name)) == ['a.mp4', 'open/deep/d.mp4']
    assert 'closed is left out, because it cannot be listed: Access Denied' in caplog.text


def test_hidden_files_and_linked_folders_are_left_out(tmp_path):
    for name in ('a.mp4', '.hidden.mp4', '.cache/b.mp4', 'deep/c.mp4', 'd.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'deep/again').symlink_to(tmp_path)
    found = list_files(get_datafolder(str(tmp_path)), archives._is_video_name)
    assert sorted(found) == ['a.mp4', 'deep/c.mp4']


@pytest.mark.parametrize('where', ['local', 'object storage'])
def test_a_listing_needs_no_memory_for_all_files(tmp_path, monkeypatch, weights, where):
    """Peak memory of listing, sharing out and reporting is the same for 200 folders of files and for 4000."""
    class Entry:
        def __init__(self, name: str, folder: bool) -> None:
            self.name, self.folder = name, folder

        def is_dir(self, follow_symlinks: bool) -> bool:
            return self.folder

        def is_file(self) -> bool:
            return not self.folder

    def peak(folders: int, out: Path) -> int:
        def scan(path):
            inner = os.path.basename(path.rstrip('/')).startswith('speaker')
            names = (f'{i}.mp4' for i in range(20)) if inner else (f'speaker{i}' for i in range(folders))
            return FakeScan(Entry(name, not inner) for name in names)

        def ls(self, path, detail):  # a whole folder is in memory: none has more than 100 entries
            if 'speaker' in path:
                return [{'name': f'{path}{k}.mp4', 'type': 'file'} for k in range(20)]
            kind, count = ('speaker', 100) if path else ('group', folders // 100)
            return [{'name': f'{path}{kind}{i}', 'type': 'directory'} for i in range(count)]

        class FakeScan:
            def __init__(self, entries):
                self.entries = entries

            def __enter__(self):
                return self.entries

            def __exit__(self, *_):
                pass

        source = tmp_path / 'in' if where == 'local' else 'memory://archive'
        with monkeypatch.context() as patched:
            patched.setattr('gavn.runtime.folders.os.scandir', scan)
            patched.setattr(Archive, 'inputs', get_datafolder(str(source)))
            patched.setattr(type(get_datafolder(str(source))), 'ls', ls)
            patched.setattr(type(get_datafolder(str(source))), 'isdir', lambda *_: True)
            tracemalloc.start()
            spec = RestorerSpec(weights=str(weights))
            archive = Archive(str(source), str(out), spec, Settings(), piece=14).listed(10 * folders // 200)
            assert archive.count == 20 * folders
            assert sum(1 for _ in archive.shard(3)) == 400
            reached = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return reached

    peak(200, tmp_path / 'warm up')
    small, large = peak(200, tmp_path / 'small'), peak(4000, tmp_path / 'large')
    assert large < small + 100_000, (small, large)
