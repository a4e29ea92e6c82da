"""Fifty clients at once, several times: every one gets its video, and the memory of the server stays."""
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from restore_fakes import write_video
from web_load import Client, running_server

from gavn.media import read_frames

pytest.importorskip('gradio', reason='needs gradio (the extra [web])')
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux: 127.0.0.2 and /proc')]
CLIENTS, ROUNDS, FRAMES = 50, 10, 6
FILLED = 6  # rounds after which the server keeps as many pages as it ever does
GROWTH = 20  # MiB that later rounds may add


@pytest.fixture
def server(tmp_path):
    """URL and process of a server with two workers."""
    with running_server(tmp_path, '--workers', '2', '--grace', '30') as server:
        yield server


def test_fifty_clients_get_their_videos_and_memory_does_not_grow(server, tmp_path):
    url, process = server
    video = write_video(tmp_path / 'talk.mp4', FRAMES, audio=.24).read_bytes()

    def restore(number: int) -> int:
        target = tmp_path / f'{number}.mp4'
        target.write_bytes(Client(url, number).restore(video))
        return len(list(read_frames(target)))

    memory, longest, peak = [_mebibytes(process)], 0, 0.
    for turn in range(ROUNDS):
        begun = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(restore, number) for number in range(CLIENTS)]
            while not all(client.done() for client in clients):
                longest = max(longest, requests.get(f'{url}/health', timeout=60).json()['waiting'])
                peak = max(peak, _mebibytes(process))
                time.sleep(0.5)
        assert [client.result() for client in clients] == [FRAMES] * CLIENTS
        memory.append(_mebibytes(process))
        print(f'round {turn + 1}: {CLIENTS} of {CLIENTS} in {time.monotonic() - begun:.0f} s, at most '
              f'{longest} waited; memory {memory[-1]:.0f} MiB (before: {memory[0]:.0f}, at most {peak:.0f})')
    assert longest > CLIENTS // 4 and memory[-1] - memory[FILLED] < GROWTH
    state = requests.get(f'{url}/health', timeout=60).json()
    assert state == {'status': 'ok', 'workers': 2, 'running': 0, 'waiting': 0}
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0 and not list(tmp_path.glob('gavn_web_*'))


def _mebibytes(process: subprocess.Popen) -> float:
    """Resident memory."""
    return int(Path(f'/proc/{process.pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
