"""Fetching weights: whole or absent, resumed after an interruption, and only on request."""
import ast
import dataclasses
import errno
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gavn.checkpoints import download, hub
from gavn.checkpoints.hub import MODELS, ModelError, fetch, folder, model_path, verify
from gavn.cli import main as cli

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
PIECE = 1 << 16  # so much is asked of the connection at once
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A file server on loopback whose manners a test sets."""

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Answer)
        self.content, self.etag = CONTENT, '"one"'
        self.ranges, self.status, self.kind = True, 200, 'application/octet-stream'
        self.cut_after = []  # bytes of the body before each cut, one an answer
        self.asked = []  # (path, Range) of each request

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}/weights.pth'


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server, span = self.server, self.headers.get('Range')
        server.asked.append((self.path, span))
        fresh = self.headers.get('If-Range') == server.etag
        start = int(span[6:-1]) if span and server.ranges and fresh else 0
        if start >= len(server.content):
            return self.send_error(416)
        self.send_response(206 if start else server.status)
        if start:
            size = len(server.content)
            self.send_header('Content-Range', f'bytes {start}-{size - 1}/{size}')
        self.send_header('ETag', server.etag)
        self.send_header('Content-Type', server.kind)
        self.send_header('Content-Length', str(len(server.content) - start))
        self.end_headers()
        cut = server.cut_after.pop(0) if server.cut_after else None
        self.wfile.write(server.content[start:None if cut is None else start + cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    """An empty store, in which alexnet is a small file; no pauses, and nothing of this machine's settings."""
    monkeypatch.setenv('GAVN_HOME', str(tmp_path / 'home'))
    for name in ('GAVN_OFFLINE', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download, 'PAUSE', 0)
    small = dataclasses.replace(MODELS['alexnet'], sha256=DIGEST, size=len(CONTENT), url='http://no.invalid/f')
    monkeypatch.setitem(MODELS, 'alexnet', small)
    return tmp_path / 'home' / 'models'


def leftovers(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path != model_path('alexnet'))


def test_fetches_once(server, store, capsys):
    path = fetch('alexnet', server.url)
    assert path == model_path('alexnet') == store / MODELS['alexnet'].file
    assert path.read_bytes() == CONTENT and leftovers(store) == []
    said = capsys.readouterr().out
    assert server.url in said and '0.3 MiB' in said and 'BSD' in said
    assert fetch('alexnet', server.url) == path and len(server.asked) == 1
    assert 'already' in capsys.readouterr().out


def test_resumes_after_a_cut(server, store):
    server.cut_after = [2 * PIECE, PIECE]
    fetch('alexnet', server.url)
    assert [span for _, span in server.asked] == [None, f'bytes={2 * PIECE}-', f'bytes={3 * PIECE}-']
    assert model_path('alexnet').read_bytes() == CONTENT


def test_the_same_command_resumes_later(server, store):
    server.cut_after = [PIECE, 0, 0]
    with pytest.raises(ModelError, match=r'cut after 65,536 bytes(.|\n)*rerun the same command'):
        fetch('alexnet', server.url)
    assert model_path('alexnet') is None and len(leftovers(store)) == 2
    fetch('alexnet', server.url)
    assert server.asked[-1][1] == f'bytes={PIECE}-' and model_path('alexnet').read_bytes() == CONTENT
    assert leftovers(store) == []


def test_interrupted(server, store, monkeypatch, capsys):
    pieces = iter([None, None])

    def stop(bar, count):
        if next(pieces, 'end') == 'end':
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.tqdm, 'update', stop)
        assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 130
    assert 'to resume' in capsys.readouterr().err and model_path('alexnet') is None
    fetch('alexnet', server.url)
    assert server.asked[-1][1] is not None and model_path('alexnet').read_bytes() == CONTENT


@pytest.mark.parametrize('change', ['no ranges', 'another file', 'another mirror', 'shorter file', 'no etag'])
def test_starts_again_if_it_cannot_resume(server, store, change):
    server.cut_after = [PIECE, 0, 0]
    if change == 'no etag':
        server.etag = 'W/"weak"'
    elif change in ('another file', 'shorter file'):
        server.content = bytes(len(CONTENT))
    with pytest.raises(ModelError):
        fetch('alexnet', server.url)
    server.asked.clear()
    if change == 'no ranges':
        server.ranges = False
    elif change == 'another file':
        server.content, server.etag = CONTENT, '"two"'
    elif change == 'shorter file':  # than the part, under the same ETag
        server.content = CONTENT[:60_000]
        with pytest.raises(ModelError, match='not the file'):
            fetch('alexnet', server.url)
        assert [span for _, span in server.asked] == [f'bytes={PIECE}-', None] and leftovers(store) == []
        server.content = CONTENT
    fetch('alexnet', server.url + ('?mirror' if change == 'another mirror' else ''))
    assert model_path('alexnet').read_bytes() == CONTENT and leftovers(store) == []


def test_wrong_hash(server, store, capsys):
    server.content = CONTENT[:-1] + b'!'
    other = hashlib.sha256(server.content).hexdigest()
    assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    said = capsys.readouterr().err
    assert DIGEST in said and other in said and leftovers(store) == [] and model_path('alexnet') is None
    fetch('alexnet', server.url, other.upper())
    capsys.readouterr()
    verify('alexnet')
    assert 'accepted with --sha256' in capsys.readouterr().out
    assert leftovers(store) == [f'{MODELS["alexnet"].file}.sha256']
    server.content = CONTENT
    fetch('alexnet', server.url)  # the known one again
    assert model_path('alexnet').read_bytes() == CONTENT and leftovers(store) == []


@pytest.mark.parametrize(('manners', 'words'), [
    ({'status': 404}, '127.0.0.1 answers 404 Not Found'), ({'status': 503}, 'answers 503'),
    ({'kind': 'text/html; charset=utf-8'}, 'web page')])
def test_answers_that_hold_no_file(server, store, capsys, manners, words):
    vars(server).update(manners)
    assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    said = capsys.readouterr().err
    assert words in said and 'fetch alexnet --from URL_OR_FILE' in said and leftovers(store) == []


def test_no_network(store, monkeypatch, capsys):
    assert cli.main(['models', 'fetch', 'alexnet', '--from', 'http://127.0.0.1:1/f']) == 5
    said = capsys.readouterr().err
    assert '127.0.0.1 cannot be reached' in said and 'refused' in said and 'HTTPS_PROXY' in said
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:1')
    assert cli.main(['models', 'fetch', 'alexnet']) == 5
    assert 'the proxy does not answer' in capsys.readouterr().err


def test_goes_through_the_proxy_of_the_environment(server, store, monkeypatch):
    monkeypatch.setenv('HTTP_PROXY', f'http://127.0.0.1:{server.server_port}')
    fetch('alexnet')
    assert server.asked == [('http://no.invalid/f', None)]  # a proxy is asked for the whole address


def test_offline_takes_files_only(server, store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('GAVN_OFFLINE', '1')
    assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    assert 'GAVN_OFFLINE' in capsys.readouterr().err and server.asked == [] and not store.exists()
    local = tmp_path / 'mine.pth'
    local.write_bytes(CONTENT)
    assert cli.main(['models', 'fetch', 'alexnet', '--from', str(local)]) == 0
    assert model_path('alexnet').read_bytes() == CONTENT and local.read_bytes() == CONTENT


def test_a_local_file_of_another_hash_is_not_taken(store, tmp_path):
    local = tmp_path / 'mine.pth'
    local.write_bytes(b'other')
    with pytest.raises(ModelError, match='not the file that was expected'):
        fetch('alexnet', str(local))
    assert leftovers(store) == [] and local.read_bytes() == b'other'


@pytest.mark.parametrize(('arguments', 'words'), [
    (['alexnot'], "there are no weights called alexnot; did you mean 'alexnet'?"),
    (['alexnet', '--from', 'none.pth'], 'none.pth is neither a file'),
    (['alexnet', '--from', 'ftp://host/f'], 'neither a file'),
    (['alexnet', '--sha256', '12ab'], '12ab is no SHA-256')])
def test_arguments_that_cannot_be(store, capsys, arguments, words):
    assert cli.main(['models', 'fetch', *arguments]) == 5
    assert words in capsys.readouterr().err and not store.exists()


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room(server, store, monkeypatch, capsys, number):
    usage = hub.shutil.disk_usage('/')
    with monkeypatch.context() as patch:
        patch.setattr(hub.shutil, 'disk_usage', lambda _: usage._replace(free=1000))
        assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    assert 'is full' in capsys.readouterr().err and server.asked == []

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(download, '_copy', full)
    assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    assert 'is full' in capsys.readouterr().err


def test_read_only_home(server, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setenv('GAVN_HOME', str(tmp_path / 'file'))  # root may write anywhere, but not below a file
    assert cli.main(['models', 'fetch', 'alexnet', '--from', server.url]) == 5
    said = capsys.readouterr().err
    assert 'cannot write' in said and 'GAVN_HOME' in said and server.asked == []


def test_verify(server, store, capsys):
    assert cli.main(['models', 'verify']) == 0
    assert cli.main(['models', 'verify', 'alexnet']) == 5 and 'was not fetched' in capsys.readouterr().err
    path = fetch('alexnet', server.url)
    assert cli.main(['models', 'verify', 'alexnet']) == 0 and 'SHA-256 verified' in capsys.readouterr().out
    path.write_bytes(CONTENT[:-5])
    assert cli.main(['models', 'verify']) == 5
    said = capsys.readouterr().err
    assert DIGEST in said and 'fetch alexnet' in said
    fetch('alexnet', server.url)  # a damaged file is no reason to leave it
    verify('alexnet')


def test_list(store, capsys):
    assert cli.main(['models', 'list']) == 0
    said = capsys.readouterr().out
    assert all(word in said for model in MODELS.values() for word in (model.file, model.url, model.terms))
    assert said.count('not fetched') == len(MODELS) and str(folder()) in said and not store.exists()


def test_home(monkeypatch):
    monkeypatch.delenv('GAVN_HOME')
    assert folder() == Path.home() / '.cache/gavn/models'


def test_names_and_hashes_agree(monkeypatch):
    monkeypatch.undo()
    for name, begins in (('alexnet', '7be5be79'), ('spynet', '3d2a1287')):
        assert begins in MODELS[name].file and MODELS[name].sha256.startswith(begins)
    assert all(len(model.sha256) == 64 and model.url.startswith('https://') for model in MODELS.values())
    assert all(model.url.endswith(f'/{model.file}') for model in MODELS.values())


def test_no_weights_are_read_that_could_run_code():
    root = Path(__file__).resolve().parents[2]
    files = [path for folder in ('gavn', 'scripts', 'inference') for path in root.glob(f'{folder}/**/*.py')]
    calls = [(path, node) for path in files
             for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == 'torch.load']
    assert calls
    for path, node in calls:
        assert 'weights_only=True' in ast.unparse(node), f'{path}, line {node.lineno}'
