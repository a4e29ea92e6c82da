"""The wheel, installed alone into an empty environment, restores a video."""
import os
import re
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement

from gavn.experiments.synthetic.head import make_clip
from gavn.media import VideoWriter, probe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp('wheel')
    files = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(['tar', '--null', '-cf', folder / 'source.tar', '-T', '-'], cwd=ROOT, check=True,
                   input=files)
    (folder / 'source').mkdir()
    subprocess.run(['tar', '-xf', folder / 'source.tar', '-C', folder / 'source'], check=True)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
                    '-w', folder, folder / 'source'], check=True)
    return next(folder.glob('gavn-*.whl'))


@pytest.fixture(scope='module')
def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith('/METADATA'))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope='module')
def python(wheel: Path, metadata, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, linked from here."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder)
    [packages] = folder.glob('lib/python*/site-packages')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    for name in _required(metadata.get_all('Requires-Dist')):
        _link(name, packages)
    return folder / 'bin/python'


def _required(requirements: list[str]) -> set[str]:
    """Names of all distributions that requirements bring, without extras."""
    names: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        if one.name not in names and (one.marker is None or one.marker.evaluate({'extra': ''})):
            names.add(one.name)
            waiting += map(Requirement, distribution(one.name).requires or ())
    return names


def _link(name: str, packages: Path) -> None:
    """Links the modules and the metadata of a distribution of this environment."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files} - {'..', '__pycache__'}:
        if not (packages / top).exists():
            (packages / top).symlink_to(found.locate_file(top))


def run(python: Path, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return subprocess.run([python, *map(str, arguments)], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False)


def test_the_wheel_alone_restores_a_video(python, tmp_path):
    source, target = tmp_path / 'talk.mp4', tmp_path / 'out.mp4'
    frames = make_clip('ada', seed=2, seconds=0.2).frames
    height, width = frames[0].shape[:2]
    with VideoWriter(source, width, height, 25) as writer:
        for frame in frames:
            writer.write(cv2.GaussianBlur(frame, (25, 25), 0))  # a face that restoring changes
    assert 'No module named' in run(python, '-c', 'import basicsr', folder=tmp_path).stderr
    done = run(python, '-m', 'gavn.cli', 'restore', source, '-o', target, '--task', 'mixed', '--force-task',
               '--device', 'cpu', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '5 of 5 frames, 1 face, 5 restored' in done.stderr + done.stdout
    assert (probe(target).width, probe(target).height) == (width, height)


def test_the_wheel_alone_is_well(python, tmp_path):
    done = run(python, '-m', 'gavn.cli', 'doctor', folder=tmp_path)
    assert done.returncode == 0 and 'gavn works' in done.stdout, done.stdout + done.stderr
    assert re.search(r'\[train\] +absent +basicsr, .*\n +pip install .gavn\[train\]. && pip .*basicsr==',
                     done.stdout)


def test_the_examples_of_the_page_need_no_basicsr(python, tmp_path):
    code = 'import gavn.web.examples, gavn.data.degradation, gavn.experiments.synthetic.head'
    done = run(python, '-c', code, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('command', [
    ['train', '-opt', 'options/train_gavn_car.yml'],
    ['config', 'options/train_gavn_car.yml', '--with', 'options/presets/small.yml'],
])
def test_what_needs_basicsr_says_how_to_install_it(python, tmp_path, command):
    done = run(python, '-m', 'gavn.cli', *command, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(rf"^error: gavn {command[0]} needs \w+: pip install 'gavn\[train\]' && pip", done.stderr,
                     re.MULTILINE)


def test_a_network_of_basicsr_says_so(python, tmp_path):
    code = ("from gavn.errors import MissingPackageError\nfrom gavn.restoration.model_builder import build\n"
            "try:\n    build({'type': 'EDVR'})\nexcept MissingPackageError as error:\n    print(error)")
    said = run(python, '-c', code, folder=tmp_path).stdout
    assert 'EDVR needs basicsr: pip install' in said and "'gavn[train]'" in said


def test_the_wheel_has_its_data_and_metadata(wheel, metadata):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    options = subprocess.run(['git', 'ls-files', 'options'], cwd=ROOT, check=True, capture_output=True,
                             text=True).stdout.splitlines()
    assert len(options) > 50 and {f'gavn/{name}' for name in options} <= names
    assert {'gavn/py.typed', 'gavn/faces/retinaface.onnx', 'gavn/weights/mixed.safetensors',
            'gavn/weights/mixed.yml', 'gavn/web/page.css'} <= names
    assert not [name for name in names if name.startswith(('tests/', 'scripts/', 'options/'))]
    core = [text for text in metadata.get_all('Requires-Dist') if 'extra' not in text]
    assert not [text for text in core if any(word in text for word in ('basicsr', 'lmdb', 'tensorboard'))]
    assert metadata['Author'] and metadata['Keywords']
    assert (metadata['License-Expression'] or metadata['License']) == 'Apache-2.0'
    assert any('arxiv.org/abs/2508.04161' in url for url in metadata.get_all('Project-URL'))
    assert 'Typing :: Typed' in metadata.get_all('Classifier')
