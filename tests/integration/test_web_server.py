"""The server of the page over HTTP: what it gives, what it refuses, and what it leaves."""
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote
from zipfile import ZipFile

import pytest
import requests

pytest.importorskip('gradio', reason='needs gradio (the extra [web])')

from starlette.testclient import TestClient

from gavn.cli import main as cli
from gavn.web import server
from gavn.web.files import Files, ZipDownload
from gavn.web.job_queue import JobQueue
from gavn.web.limits import Limits
from gavn.web.networks import Networks
from gavn.web.request_filter import RequestFilter
from gavn.web.server import Address, PortError, remove_abandoned, serving
from gavn.web.uploads import Uploads


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def no_examples(folder: Path) -> list[Path]:
    return []


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('web')


@pytest.fixture(scope='module')
def url(place):
    """A server of small limits; its folder is gone afterwards."""
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('gavn.web.server.mkdtemp', lambda prefix: _made(place / f'{prefix}x'))
        patch.setattr('gavn.web.server.gettempdir', lambda: str(place))
        patch.setenv('GRADIO_ALLOWED_PATHS', '/etc')  # what a user has set there must not count
        networks, address = Networks(Path('own.safetensors')), Address(port=free_port())
        with serving(networks, address, Limits(0.1, 5), no_examples) as url:
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


def announced(url: str, name: str, size: object, **headers: str) -> requests.Response:
    return post(url, f'/upload?name={quote(name, safe="")}&size={size}', headers=headers)


def put(url: str, token: str, content: bytes, **headers: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.put(f'{url.rstrip("/")}/upload/{token}', content, timeout=20, headers=headers)


def test_the_page_makes_no_outside_requests(url):
    page = get(url, '/')
    assert page.status_code == 200 and 'gavn' in page.text
    found = config(url)
    assert found['analytics_enabled'] is False and found['footer_links'] == []
    assert not [sheet for sheet in found['stylesheets'] if '//' in sheet]
    assert 'fonts.g' not in page.text + get(url, '/theme.css').text
    assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'


@pytest.mark.parametrize('path', ['/etc/passwd', '/etc/hostname', '//etc/passwd', '/proc/self/environ',
                                  str(Path(__file__)), str(Path.cwd() / 'setup.py')])
def test_other_files_cannot_be_downloaded(url, place, path):
    own = place / 'gavn_web_x'
    for asked in (path, quote(path, safe=''), f'{own}/../../../../../../../..{path}',
                  str(own / 'lock'), f'{own}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{path}'):
        for way in ('/file/', f'/file/{"0" * 32}/', '/gradio_api/file=', '/file=', '/gradio_api/file/',
                    '/static/', '/assets/', '/svelte/'):
            answer = get(url, way + asked)
            assert answer.status_code in (403, 404), (way, asked)


@pytest.mark.parametrize('path', [
    '/gradio_api/file=http://127.0.0.1:1/x', '/gradio_api/file=https://example.com/', '/docs',
    '/openapi.json', '/gradio_api/proxy=http://example.com/', '/gradio_api/run-history/buckets',
    '/monitoring', '/logout', '/gradio_api/vibe-code', '/gradio_api/openapi.json', '/gradio_api/mcp',
    '/gradio_api/run/predict', '/gradio_api/upload', '/gradio_api/upload_progress', '/gradio_api/stream/x',
    '/gradio_api/component_server', '/upload', f'/upload/{"0" * 64}', f'/file/{"0" * 32}/a.mp4'])
def test_unused_endpoints_are_closed(url, path):
    assert get(url, path).status_code == 404


def test_the_health_endpoint_gives_the_queue_and_says_when_the_server_stops(url, tmp_path):
    answer = get(url, '/health')
    assert (answer.status_code, answer.json()) == (
        200, {'status': 'ok', 'workers': 1, 'running': 0, 'waiting': 0})
    queue = JobQueue(2, Limits())
    queue.close()
    request_filter = RequestFilter(None, Uploads(tmp_path, Limits()), Files(), True, queue.status)
    answer = TestClient(request_filter, base_url='http://localhost').get('/health')
    assert answer.status_code == 503 and answer.json()['status'] == 'stopping'


def test_other_names_for_this_machine_are_refused(url):
    for host in ('evil.example', 'evil.example:7860', '127.0.0.1.evil.example', '', '10.0.0.1', '[::2]:80'):
        assert get(url, '/', Host=host).status_code in (400, 404), host
    for host in ('localhost:7860', 'LOCALHOST', '127.0.0.2:7860', '[::1]:7860', '[::1]'):
        assert get(url, '/', Host=host).status_code == 200, host


@pytest.mark.parametrize('origin', ['https://evil.example', 'null', 'http://localhost:1', 'http://127.0.0.1'])
def test_pages_of_other_sites_can_neither_send_nor_read(url, origin):
    assert announced(url, 'a.mp4', 3, Origin=origin).status_code == 403
    token = announced(url, 'a.mp4', 3).json()['token']
    assert put(url, token, b'abc', Origin=origin).status_code == 403
    assert get(url, '/config', Origin=origin).status_code == 403
    assert post(url, '/gradio_api/queue/join', json={}, headers={'Origin': origin}).status_code == 403
    assert put(url, token, b'abc', Origin=url.rstrip('/')).status_code == 204


def test_large_uploads_are_refused_and_small_ones_stay_in_the_folder(url, place):
    refused = announced(url, 'big.mp4', 200_000)
    assert refused.status_code == 413 and 'too large: 0.2 MB' in refused.text
    for size in ('', '-1', '1e3', 'x', '9' * 20):
        assert announced(url, 'a.mp4', size).status_code == 400
    token = announced(url, '../../x<y>.mp4', 3).json()['token']
    assert put(url, token, b'abcd').status_code == 400  # more than was announced
    assert put(url, token, b'abc').status_code == 404
    token = announced(url, '../../x<y>.mp4', 3).json()['token']
    assert put(url, token, b'abc').status_code == 204
    assert put(url, token, b'xyz').status_code == 404  # a second time
    stored = list((place / 'gavn_web_x').rglob('x_y*.mp4'))
    assert [path.read_bytes() for path in stored] == [b'abc'] and token not in str(stored)


def test_files_are_served_by_range_and_never_as_html(tmp_path):
    """A name that ends in .html is what a browser would run; it saves it in place of that."""
    (tmp_path / 'a.html').write_text('<script>')
    (tmp_path / 'a.mp4').write_bytes(b'0123456789')
    files, empty = Files(), Uploads(tmp_path, Limits())
    client = TestClient(RequestFilter(None, empty, files, True, dict), base_url='http://localhost')
    page = client.get('/' + files.address(tmp_path / 'a.html'))
    assert page.headers['content-disposition'].startswith('attachment')
    assert page.headers['content-type'] == 'application/octet-stream'
    address = '/' + files.address(tmp_path / 'a.mp4')
    part = client.get(address, headers={'Range': 'bytes=2-4'})
    assert (part.status_code, part.content, part.headers['content-type']) == (206, b'234', 'video/mp4')
    assert client.get(f'{address}?save').headers['content-disposition'].startswith('attachment')
    (tmp_path / 'a.mp4').unlink()
    assert client.get(address).status_code == 404


def test_results_download_as_one_archive(tmp_path):
    paths = tuple(tmp_path / name for name in ('a/talk.mp4', 'a/talk.json', 'b/talk.mp4'))
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]) * 300_000)
    files = Files()
    client = TestClient(RequestFilter(None, Uploads(tmp_path, Limits()), files, True, dict),
                        base_url='http://localhost')
    address = '/' + files.address(ZipDownload(paths))
    assert address == '/' + files.address(ZipDownload(paths)) and address.endswith('/gavn_results.zip')
    answer = client.get(address)
    assert answer.headers['content-disposition'] == 'attachment; filename="gavn_results.zip"'
    with ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ['talk.mp4', 'talk.json', '3_talk.mp4']
        assert archive.read('3_talk.mp4') == paths[2].read_bytes()
    assert sorted(tmp_path.rglob('*.*')) == sorted(paths)
    paths[1].unlink()
    assert client.get(address).status_code == 404


def test_a_request_cannot_name_files(url):
    """No handler takes a file: there is nothing that gradio would fetch or convert for one."""
    found = config(url)
    kinds = {part['id']: part['type'] for part in found['components']}
    taken = {kinds[part] for handler in found['dependencies'] for part in handler['inputs']}
    assert taken == {'radio', 'dropdown', 'slider', 'checkbox'}
    assert not {'video', 'file', 'image', 'imageslider', 'downloadbutton'} & set(kinds.values())


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.2', '::1', 'localhost', 'LocalHost'])
def test_hosts_of_this_machine_alone_are_not_open(host):
    assert not Address(host).is_open


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '10.0.0.1', 'example.com', ''])
def test_other_hosts_are_open(host):
    assert Address(host).is_open


@pytest.mark.parametrize('host', ['127.0.0.2', '::1'])
def test_other_loopback_addresses_serve_and_check(host, monkeypatch):
    monkeypatch.setattr('gavn.web.server.mkdtemp', tempfile.mkdtemp)
    before = dict(os.environ)
    try:
        networks, address = Networks(Path('own.safetensors')), Address(host, free_port())
        with serving(networks, address, Limits(0.1, 5), no_examples) as url:
            assert get(url, '/config').status_code == 200
            assert get(url, '/config', Host='evil.example').status_code == 404
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_folders_of_killed_servers_are_removed(tmp_path):
    """The lock of the first goes with its process; strangers' folders and young ones stay."""
    script = ('import sys, time, tempfile; tempfile.tempdir = sys.argv[1]\n'
              'from gavn.web.server import server_folder\n'
              'with server_folder() as folder: print(folder, flush=True); time.sleep(60)')

    def start():
        process = subprocess.Popen([sys.executable, '-c', script, str(tmp_path)], stdout=subprocess.PIPE,
                                   text=True)
        return process, Path(process.stdout.readline().strip())
    killed, left = start()
    (left / 'talk.mp4').write_text('a face')
    killed.kill()
    killed.wait()
    living, used = start()
    assert not left.exists() and used.exists()
    young, old = tmp_path / 'gavn_web_young', tmp_path / 'gavn_web_old'
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    (tmp_path / 'gavn_web_link').symlink_to(young)
    assert remove_abandoned(tmp_path) == [old]
    assert used.exists() and young.exists() and not old.exists()
    living.terminate()
    living.wait()


def test_a_port_that_is_taken_is_reported(url, monkeypatch):
    port = int(url.rstrip('/').rpartition(':')[2])
    with pytest.raises(PortError, match=f'port {port}.*\n.*--port'), \
            serving(Networks(), Address(port=port), Limits(), no_examples):
        pytest.fail('two servers at one port')


def test_without_gradio_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert cli.main(['web']) == 2
    assert capsys.readouterr().err == (
        "error: the page needs gradio: pip install -c constraints.txt -e '.[web]'\n")


def test_without_any_weights_it_does_not_start(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr('gavn.checkpoints.pretrained.list_pretrained', lambda: [])
    assert cli.main(['web']) == 5
    assert '--weights FILE' in capsys.readouterr().err
    assert cli.main(['web', '--weights', str(tmp_path / 'none.safetensors')]) == 5


def test_tasks_are_those_whose_weights_are_there(monkeypatch):
    monkeypatch.setattr('gavn.checkpoints.pretrained.list_pretrained', lambda: ['sr', 'mixed'])
    assert list(Networks().tasks) == ['auto', 'sr', 'mixed', 'fast']
    assert Networks(Path('own.safetensors')).tasks == {}


def test_limits_and_hosts_are_checked_by_the_command(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cli.main(['web', '--max-mb', '0'])
    assert 'above 0' in capsys.readouterr().err

    def stopped(_, address, limits, draw, grace):
        assert (address, limits) == (Address('0.0.0.0', 80), Limits(7, 8, 9, 70, 120, 5, 2))
        assert grace == 30
        raise KeyboardInterrupt
    monkeypatch.setattr(server, 'serving', stopped)
    monkeypatch.setattr(Networks, 'check', lambda _: None)
    assert cli.main(['web', '--host', '0.0.0.0', '--port', '80', '--max-mb', '7', '--max-seconds', '8',
                     '--max-videos', '9', '--max-total-mb', '70', '--idle', '2min', '--max-waiting', '5',
                     '--max-jobs', '2', '--grace', '30']) == 0
    said = capsys.readouterr()
    assert 'without a password' in said.err and 'removed' in said.out
    assert cli.main(['web', '--max-mb', '7', '--max-total-mb', '6']) == 2
    assert 'the total must not be less than the largest video' in capsys.readouterr().err
