"""Every option file trains under basicsr's own trainer, unmodified, and under gavn's."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import yaml
from option_files import OPTIONS

from gavn.config.option_file import read_options

HERE = Path(__file__).resolve().parent
TOP = sorted(OPTIONS.glob('*.yml'))
LAYERS = ('blur', 'car_crf45', 'sr', 'mixed', 'mixed_v1', 'mixed_v2', 'mixed_v3')  # beside gt
TRAIN = [path for path in TOP if path.stem.startswith('train_')]


@pytest.fixture(scope='module', params=['stock', 'gavn'])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By file, what became of two iterations of it."""
    folder = tmp_path_factory.mktemp('runs')
    tiny_run.make_data(folder / 'data', LAYERS, side=64)
    tiny_run.make_detector(folder / 'detector.pth')
    command = [sys.executable, HERE.parent / 'helpers' / 'stock_training.py', request.param, folder, *TRAIN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''})
    lines = [line.partition(': ') for line in done.stdout.splitlines() if '.yml: ' in line]
    assert lines, done.stderr[-2000:]
    return {name: words for name, _, words in lines}


@pytest.mark.parametrize('path', TRAIN, ids=lambda path: path.stem)
def test_an_option_file_trains(outcomes: dict[str, str], path: Path) -> None:
    assert outcomes[path.name] == 'ok'


@pytest.mark.parametrize('path', TOP, ids=lambda path: path.stem)
def test_an_option_file_is_flat_and_reads_alike_in_plain_yaml(path: Path) -> None:
    options, source = read_options(path)
    assert not source.bases
    assert options == yaml.safe_load(path.read_text(encoding='utf-8'))  # 4e-4 would be text there
    if 'train' in options:
        assert {'total_iter', 'optim_g', 'scheduler'} <= options['train'].keys()
        assert {'val', 'logger'} <= options.keys()
        phases = options['train'].get('phases')
        assert phases is None or sum(phase['iters'] for phase in phases) == options['train']['total_iter']


def test_there_are_few_files() -> None:
    assert len(list(OPTIONS.rglob('*.yml'))) <= 80
