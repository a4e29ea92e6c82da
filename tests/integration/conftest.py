"""Fixtures that several files of these tests use."""
from collections.abc import Iterator
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


@pytest.fixture(scope='session')
def s3_server() -> Iterator[str]:
    """URL of a server of S3."""
    reason = 'needs s3fs and moto: pip install s3fs "moto[s3]" flask flask-cors'
    pytest.importorskip('s3fs', reason=reason)
    server = pytest.importorskip('moto.server', reason=reason).ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield 'http://{}:{}'.format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=['memory', 's3'])
def place(request, monkeypatch) -> Iterator[str]:
    """Path or URL of an empty folder."""
    if request.param == 'disk':
        yield str(request.getfixturevalue('tmp_path'))
        return
    if request.param == 's3':
        url = request.getfixturevalue('s3_server')
        monkeypatch.setenv('AWS_ENDPOINT_URL', url)
        monkeypatch.setenv('NO_PROXY', url.rpartition(':')[0].removeprefix('http://'))
        for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
            monkeypatch.setenv(name, 'test')
    from datatrove.io import get_datafolder
    folder = get_datafolder(f'{request.param}://bucket')
    folder.fs.mkdir('bucket')
    yield f'{request.param}://bucket'
    folder.fs.rm('bucket', recursive=True)
