"""Fixtures that several files of these tests use."""
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def weights(tmp_path_factory) -> Path:
    """A bundle of a restorer that takes audio and changes nothing else."""
    from restore_fakes import make_restorer
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(inputs=('lq', 'audio')).save(path)
    return path


@pytest.fixture
def networks():
    """The networks of the web page's sessions."""
    from web_sessions import Fakes
    return Fakes()


@pytest.fixture
def sessions(tmp_path, networks, monkeypatch):
    """Sessions of the web page for short videos with one face; they leave no file."""
    from restore_fakes import fixed_face

    from gavn.restoration import job
    from gavn.web.limits import Limits
    from gavn.web.session_manager import SessionManager
    monkeypatch.setattr(job, 'follow_faces', fixed_face())
    folder = tmp_path / 'served'
    folder.mkdir()
    sessions = SessionManager(folder, networks, Limits(megabytes=1, seconds=2, videos=3, total_megabytes=2.1))
    yield sessions
    networks.gate.set()
    sessions.close()
    assert not [path for path in folder.rglob('*') if path.is_file()]
