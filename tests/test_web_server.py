"""The server of the page over HTTP: what it gives, what it refuses, and what it leaves."""
import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

pytest.importorskip('gradio', reason='needs gradio (the extra [web])')

from gavn import cli
from gavn.web import command, server
from gavn.web.limits import Limits
from gavn.web.networks import Networks
from gavn.web.server import Address, PortError, serving


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


class NoExamples:
    """In place of drawn ones."""

    def __init__(self, folder: Path) -> None:
        pass

    def begin(self) -> None:
        pass


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('web')


@pytest.fixture(scope='module')
def url(place):
    """A server of small limits; its folder is gone afterwards."""
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, 'Examples', NoExamples)
        patch.setattr(server, 'mkdtemp', lambda prefix: _made(place / f'{prefix}x'))
        patch.setenv('GRADIO_ALLOWED_PATHS', '/etc')  # what a user has set there must not count
        with serving(Networks(Path('own.safetensors')), Address(port=free_port()), Limits(0.1, 5)) as url:
            yield url
    os.environ.clear()
    os.environ.update(before)
    assert not (place / 'gavn_web_x').exists()


def _made(path: Path) -> str:
    path.mkdir()
    return str(path)


def get(url: str, path: str, **headers: str) -> requests.Response:
    """A path as it is, dots and all."""
    session = requests.Session()
    session.trust_env = False
    request = requests.Request('GET', url, headers=headers).prepare()
    request.url = url.rstrip('/') + path
    return session.send(request, timeout=20, allow_redirects=False)


def post(url: str, path: str, **what: object) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.post(url.rstrip('/') + path, timeout=20, **what)


def config(url: str) -> dict:
    return json.loads(get(url, '/config').text)


def uploaded(url: str, name: str, content: bytes) -> requests.Response:
    return post(url, '/gradio_api/upload', files={'files': (name, content)})


def test_the_page_is_there_and_asks_nobody(url):
    page = get(url, '/')
    assert page.status_code == 200 and 'gavn' in page.text
    found = config(url)
    assert found['analytics_enabled'] is False and found['footer_links'] == []
    assert not [sheet for sheet in found['stylesheets'] if '//' in sheet]
    assert 'fonts.g' not in page.text + get(url, '/theme.css').text
    assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'


@pytest.mark.parametrize('path', ['/etc/passwd', '/etc/hostname', '//etc/passwd', '/proc/self/environ',
                                  str(Path(__file__)), str(Path.cwd() / 'setup.py')])
def test_files_of_the_machine_cannot_be_had(url, place, path):
    own = place / 'gavn_web_x'
    for asked in (path, quote(path, safe=''), f'{own}/../../../../../../../..{path}',
                  f'{own}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{path}'):
        for way in ('/gradio_api/file=', '/file=', '/gradio_api/file/', '/static/', '/assets/', '/svelte/'):
            answer = get(url, way + asked)
            assert answer.status_code in (403, 404), (way, asked)


@pytest.mark.parametrize('path', [
    '/gradio_api/file=http://127.0.0.1:1/x', '/gradio_api/file=https://example.com/', '/docs',
    '/openapi.json', '/gradio_api/proxy=http://example.com/', '/gradio_api/run-history/buckets',
    '/monitoring', '/logout', '/gradio_api/vibe-code', '/gradio_api/openapi.json', '/gradio_api/mcp',
    '/gradio_api/run/predict'])
def test_doors_that_the_page_does_not_need_are_closed(url, path):
    assert get(url, path).status_code == 404


def test_other_names_for_this_machine_are_refused(url):
    assert get(url, '/', Host='evil.example').status_code == 404
    assert get(url, '/', Host='localhost:7860').status_code == 200


def test_large_uploads_are_refused_and_small_ones_stay_in_the_folder(url, place):
    assert uploaded(url, 'big.mp4', bytes(200_000)).status_code == 413
    path = Path(uploaded(url, '../../x<y>.mp4', b'abc').json()[0])
    assert path.is_relative_to(place / 'gavn_web_x') and path.read_bytes() == b'abc'


@pytest.mark.parametrize('path', ['http://example.com/a.mp4', 'https://example.com/a.mp4', '/etc/passwd'])
def test_a_request_cannot_name_files_elsewhere(url, path, monkeypatch):
    """Neither by an address, which nobody fetches, nor by a path."""
    fetched = []

    async def fetch(address, **_):
        fetched.append(address)
        raise OSError
    monkeypatch.setattr('gradio.processing_utils.async_ssrf_protected_download', fetch)
    take = next(fn for fn in config(url)['dependencies'] if fn['targets'][0][1] == 'upload')
    data = {'path': path, 'meta': {'_type': 'gradio.FileData'}, 'orig_name': 'a.mp4'}
    joined = post(url, '/gradio_api/queue/join', json={
        'data': [data], 'fn_index': take['id'], 'session_hash': 'trial', 'event_data': None})
    assert joined.status_code == 200
    events = get(url, '/gradio_api/queue/data?session_hash=trial').text
    done = next(json.loads(line[6:]) for line in events.splitlines() if 'process_completed' in line)
    assert done['success'] is False and not fetched


def test_a_port_that_is_taken_is_told(url, monkeypatch):
    monkeypatch.setattr(server, 'Examples', NoExamples)
    port = int(url.rstrip('/').rpartition(':')[2])
    with pytest.raises(PortError, match=f'port {port}.*\n.*--port'), \
            serving(Networks(), Address(port=port), Limits()):
        pytest.fail('two servers at one port')


def test_without_gradio_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.setattr(command, 'find_spec', lambda name: None if name == 'gradio' else name)
    assert cli.main(['web']) == 2
    assert capsys.readouterr().err == (
        "error: the page needs gradio: pip install -c constraints.txt -e '.[web]'\n")


def test_without_any_weights_it_does_not_start(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr('gavn.utils.shipped.names', lambda: [])
    assert cli.main(['web']) == 5
    assert '--weights FILE' in capsys.readouterr().err
    assert cli.main(['web', '--weights', str(tmp_path / 'none.safetensors')]) == 5


def test_tasks_are_those_whose_weights_are_there(monkeypatch):
    monkeypatch.setattr('gavn.utils.shipped.names', lambda: ['sr', 'mixed'])
    assert list(Networks().tasks) == ['auto', 'sr', 'mixed']
    assert Networks(Path('own.safetensors')).tasks == {}


def test_limits_and_hosts_are_checked_by_the_command(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cli.main(['web', '--max-mb', '0'])
    assert 'above 0' in capsys.readouterr().err

    def stopped(_, address, limits):
        assert (address, limits) == (Address('0.0.0.0', 80), Limits(7, 8))
        raise KeyboardInterrupt
    monkeypatch.setattr(server, 'serving', stopped)
    monkeypatch.setattr(Networks, 'check', lambda _: None)
    assert cli.main(['web', '--host', '0.0.0.0', '--port', '80', '--max-mb', '7', '--max-seconds', '8']) == 0
    said = capsys.readouterr()
    assert 'without a password' in said.err and 'removed' in said.out
    assert not Address().is_open and Address('0.0.0.0').is_open
