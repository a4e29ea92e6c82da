"""Fixtures that several files of these tests use."""
from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A short video of variable rate with a tone."""
    from media_files import make_file, tone
    return make_file(tmp_path / 'source.mp4', audio=tone(0.8))
