"""Fixtures that every test file may use."""
import logging
from pathlib import Path

import pytest
import torch

import gavn  # noqa: F401  (makes basicsr importable)

FAST_FILES = frozenset(Path(__file__).with_name('fast_files.txt').read_text(encoding='utf-8').split())
"""Files whose tests have the marker `fast`: each needs at most 5 seconds of processor time."""

SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of reference vectors and clips beside the project; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip('needs the reference material beside the project')
    return SHARED


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
    return path.name in FAST_FILES


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
