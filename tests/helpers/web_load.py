"""A `gavn web` server in a process of its own, and a client that does over HTTP what a browser does."""
from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import requests
from requests.adapters import HTTPAdapter

_PATIENCE = 900  # seconds
_HELPERS = Path(__file__).resolve().parent


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Yields the URL and the process of a server with a network that brightens; see web_server.py."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_HELPERS / 'web_server.py'), str(folder), '--port', str(port), *options]
    places = os.pathsep.join([str(_HELPERS.parents[1]), str(_HELPERS)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env={**os.environ, 'TMPDIR': str(folder), 'PYTHONPATH': places})
    try:
        assert 'the page is at' in process.stdout.readline()
        yield f'http://127.0.0.1:{port}', process
    finally:
        process.kill()


class _From(HTTPAdapter):
    """Sends from an address of this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **settings: object) -> None:
        super().init_poolmanager(*args, **settings, source_address=(self.address, 0))


class Client:
    """A page of a server.

    Args:
        url: of the server.
        number: each has its own address, 127.0.0.2 and up.
    """

    def __init__(self, url: str, number: int) -> None:
        self.url, self.session, self.page = url.rstrip('/'), requests.Session(), token_hex(6)
        self.session.trust_env = False
        self.session.mount('http://', _From(f'127.0.0.{number + 2}'))
        self.config = self._get('config').json()
        self.ids = {item['props'].get('elem_id'): item['id'] for item in self.config['components']}

    def restore(self, video: bytes) -> bytes:
        """Uploads a video, restores it, downloads the result and closes the page; returns the result."""
        heart = self._get(f'gradio_api/heartbeat/{self.page}', stream=True)
        size = {'name': 'talk.mp4', 'size': len(video)}
        token = self.session.post(f'{self.url}/upload', params=size, timeout=_PATIENCE).json()['token']
        self.session.put(f'{self.url}/upload/{token}', video, timeout=_PATIENCE).raise_for_status()
        added = self._event('drop', 'upload', ['all'], {'tokens': [token], 'failures': []})
        key = re.search(r'"value": "([0-9a-f]{8})"', added)
        assert key, added
        text = self._event('restore', 'click', {'videos': key[1], 'task': 'auto', 'faces': 'all', 'scale': '',
                                                'strength': 1., 'force': False})
        file = re.search(r'file/[0-9a-f]{32}/talk_gavn\.mp4', text)
        assert file, text
        result = self._get(file[0]).content
        heart.close()
        return result

    def _event(self, element: str, kind: str, values: object, data: object = None) -> str:
        """Runs an event through gradio's queue; returns all that the server sent."""
        target = [self.ids[element], kind]
        number, event = next((number, event) for number, event in enumerate(self.config['dependencies'])
                             if target in [list(one) for one in event['targets']])
        names = {identity: name for name, identity in self.ids.items()}
        inputs = values if isinstance(values, list) else [values[names[item]] for item in event['inputs']]
        body = {'data': inputs, 'event_data': data, 'fn_index': event.get('id', number),
                'session_hash': self.page, 'trigger_id': self.ids[element]}
        joined = self.session.post(f'{self.url}/gradio_api/queue/join', json=body, timeout=_PATIENCE)
        joined.raise_for_status()
        lines = self._get(f'gradio_api/queue/data?session_hash={self.page}', stream=True).iter_lines()
        return ''.join(json.dumps(json.loads(line[6:])) for line in lines if line[:5] == b'data:')

    def _get(self, path: str, stream: bool = False) -> requests.Response:
        return self.session.get(f'{self.url}/{path}', stream=stream, timeout=_PATIENCE)
