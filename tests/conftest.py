"""Fixtures that every test file may use."""
from pathlib import Path

import pytest
import torch

import gavn  # noqa: F401  (makes basicsr importable)

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Captured text may hold file names that are not UTF-8, which workers cannot send to each other."""
    report = yield
    report.sections = [(title, text.encode('utf-8', 'backslashreplace').decode())
                       for title, text in report.sections]
    return report
