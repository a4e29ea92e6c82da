"""Fixtures that every test file may use."""
import logging
from pathlib import Path

import pytest
import torch

import gavn  # noqa: F401  (makes basicsr importable)

UNIT = Path(__file__).with_name('unit')
"""Its files have the marker `fast`: each needs at most 5 seconds of processor time."""

SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of reference vectors and clips beside the project; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip('needs the reference material beside the project')
    return SHARED


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder of weights that add 20 levels (mixed) and 40 (deblur)."""
    from restore_fakes import make_restorer

    from gavn.checkpoints import pretrained
    from gavn.runtime.files import sha256
    folder = tmp_path / 'weights'
    folder.mkdir()
    for name, gain in (('mixed', 20.), ('deblur', 40.)):
        make_restorer(gain).save(folder / f'{name}.safetensors')
    sums = [f'{sha256(path)}  {path.name}\n' for path in folder.glob('*.safetensors')]
    (folder / pretrained.SUMS).write_text(''.join(sums), encoding='utf-8')
    monkeypatch.setattr(pretrained, 'FOLDER', folder)
    return folder


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _open_log_streams() -> None:
    """BasicSR's logger keeps the stream of its first use, which ends with the test that captured it."""
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        if getattr(getattr(handler, 'stream', None), 'closed', False):
            logger.removeHandler(handler)


def is_fast(path: Path) -> bool:
    """Whether a file of tests has the marker `fast`."""
    return path.parent == UNIT


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under `-m fast`, other files are not even imported."""
    other = collection_path.suffix == '.py' and not is_fast(collection_path)
    return True if other and config.option.markexpr == 'fast' else None  # None: as pytest would


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the marker `fast`, except to what has the marker `slow`."""
    for item in items:
        if is_fast(item.path) and item.get_closest_marker('slow') is None:
            item.add_marker('fast')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Captured text may hold file names that are not UTF-8, which workers cannot send to each other."""
    report = yield
    report.sections = [(title, text.encode('utf-8', 'backslashreplace').decode())
                       for title, text in report.sections]
    return report
