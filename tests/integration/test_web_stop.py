"""The process of `gavn web` receives SIGTERM while a job runs and another one waits."""
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from restore_fakes import write_video
from web_load import Client, running_server

from gavn.media import read_frames

pytest.importorskip('gradio', reason='needs gradio (the extra [web])')
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux: 127.0.0.2')
FRAMES, PATIENCE = 6, 300  # seconds


def wait_for(url: str, **state: object) -> None:
    """Returns when the server's health has these values."""
    until = time.monotonic() + PATIENCE
    while not state.items() <= (found := requests.get(f'{url}/health', timeout=PATIENCE).json()).items():
        assert time.monotonic() < until, found
        time.sleep(0.1)


@pytest.mark.parametrize('finishes', [True, False])
def test_running_jobs_finish_within_the_grace(tmp_path, finishes):
    """After the grace they are cancelled; jobs that wait are refused. The exit code is 0 in either case."""
    hold, video = tmp_path / 'hold', write_video(tmp_path / 'talk.mp4', FRAMES, audio=.24).read_bytes()
    hold.touch()
    grace = '300' if finishes else '2'
    with (ThreadPoolExecutor(2) as pool,
          running_server(tmp_path, '--workers', '1', '--grace', grace) as (url, process)):
        running = pool.submit(Client(url, 0).restore, video)
        wait_for(url, running=1)
        waiting = pool.submit(Client(url, 1).restore, video)
        wait_for(url, waiting=1)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(AssertionError, match='The server is stopping'):
            waiting.result(PATIENCE)
        if finishes:
            wait_for(url, status='stopping', running=1, waiting=0)
            hold.unlink()
            (tmp_path / 'result.mp4').write_bytes(running.result(PATIENCE))
            assert len(list(read_frames(tmp_path / 'result.mp4'))) == FRAMES
        assert process.wait(PATIENCE) == 0
        stopping, stopped = process.stdout.read().splitlines()
        assert stopping == f'stopping: running jobs have {grace} s to finish'
        assert stopped == 'stopped; temporary files are removed'
        assert not list(tmp_path.glob('gavn_web_*'))
        if not finishes:
            with pytest.raises((AssertionError, requests.RequestException), match=r'ancel|Connection|ended'):
                running.result(PATIENCE)


@pytest.mark.parametrize('first', [[], [signal.SIGTERM]], ids=['serving', 'in the grace'])
def test_ctrl_c_cancels_running_jobs(tmp_path, first):
    video = write_video(tmp_path / 'talk.mp4', FRAMES, audio=.24).read_bytes()
    (tmp_path / 'hold').touch()
    with (ThreadPoolExecutor(1) as pool,
          running_server(tmp_path, '--workers', '1', '--grace', '10000') as (url, process)):
        running = pool.submit(Client(url, 0).restore, video)
        wait_for(url, running=1)
        for number in first:
            process.send_signal(number)
            wait_for(url, status='stopping', running=1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stdout.read().splitlines()[-1] == 'stopped; temporary files are removed'
        assert not list(tmp_path.glob('gavn_web_*'))
        with pytest.raises((AssertionError, requests.RequestException), match=r'ancel|Connection|ended'):
            running.result(PATIENCE)
