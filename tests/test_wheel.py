"""The wheel, installed alone into an empty environment, restores a video."""
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import cv2
import pytest

from gavn.media import VideoWriter, probe
from gavn.synthetic.head import make_clip

ROOT = Path(__file__).resolve().parents[1]
NOT_THERE = ('basicsr', 'lmdb', 'PIL', 'tensorboard', 'retinaface', 'skimage', 'pytest')
"""Modules of this environment that `pip install gavn` does not bring; the empty one must do without."""
BLOCK = f"""\
from importlib.machinery import PathFinder

_find_spec = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda _, name, path=None, target=None:
    None if name.partition('.')[0] in {NOT_THERE!r} else _find_spec(name, path, target))
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp('wheel')
    archive = folder / 'source.tar'
    files = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(['tar', '--null', '-cf', archive, '-T', '-'], cwd=ROOT, check=True, input=files)
    (folder / 'source').mkdir()
    subprocess.run(['tar', '-xf', archive, '-C', folder / 'source'], check=True)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
                    '-w', folder, folder / 'source'], check=True)
    return next(folder.glob('gavn-*.whl'))


@pytest.fixture(scope='module')
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and the core dependencies of this one."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=True)
    python = folder / 'bin/python'
    packages = Path(subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                                   check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run([python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    (packages / 'not_installed.py').write_text(BLOCK)
    here = [path for path in sys.path if 'site-packages' in path]
    (packages / 'zz_dependencies.pth').write_text('\n'.join(['import not_installed', *here]) + '\n')
    return python


def run(python: Path, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return subprocess.run([python, *map(str, arguments)], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False)


@pytest.mark.slow
def test_the_wheel_alone_restores_a_video(python, tmp_path):
    source, target = tmp_path / 'talk.mp4', tmp_path / 'out.mp4'
    frames = make_clip('ada', seed=2, seconds=0.2).frames
    height, width = frames[0].shape[:2]
    with VideoWriter(source, width, height, 25) as writer:
        for frame in frames:
            writer.write(cv2.GaussianBlur(frame, (25, 25), 0))  # a face that restoring changes
    done = run(python, '-m', 'gavn.cli', 'restore', source, '-o', target, '--task', 'mixed', '--force-task',
               '--device', 'cpu', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '5 of 5 frames, 1 face, 5 restored' in done.stderr + done.stdout
    assert (probe(target).width, probe(target).height) == (width, height)


@pytest.mark.slow
def test_what_needs_basicsr_says_how_to_install_it(python, tmp_path):
    code = ("from gavn.restoration.model_builder import build, RestoreError\n"
            "try:\n    build({'type': 'EDVR'})\nexcept RestoreError as error:\n    print(error)")
    said = run(python, '-c', code, folder=tmp_path).stdout
    assert 'EDVR comes from BasicSR, which is not installed' in said and "'gavn[train]'" in said


@pytest.mark.slow
def test_the_wheel_has_its_data_and_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith('/METADATA'))).decode()
    for name in ('gavn/py.typed', 'gavn/faces/retinaface.onnx', 'gavn/weights/mixed.safetensors',
                 'gavn/weights/mixed.yml', 'gavn/options/train_gavn_car.yml', 'gavn/web/page.css'):
        assert name in names
    assert not [name for name in names if name.startswith(('tests/', 'scripts/', 'options/'))]
    required = [line for line in metadata.splitlines() if line.startswith('Requires-Dist')]
    core = [line for line in required if 'extra' not in line]
    assert not [line for line in core if any(word in line for word in ('basicsr', 'lmdb', 'tensorboard'))]
    assert 'arxiv.org/abs/2508.04161' in metadata and 'Typing :: Typed' in metadata
