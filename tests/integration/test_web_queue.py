"""The queue of the page's jobs: their order, its limits, and the end of the server."""
import threading
import time

import pytest
from restore_fakes import fixed_face
from web_sessions import Fakes, taken

from gavn.restoration import job as restoration
from gavn.web.jobs import RestoreRequest
from gavn.web.limits import Limits, RefusalError
from gavn.web.networks import Networks
from gavn.web.session_manager import SessionManager


@pytest.fixture
def networks() -> Fakes:
    fakes = Fakes(workers=2)
    fakes.gate.clear()
    return fakes


@pytest.fixture
def sessions(tmp_path, networks, monkeypatch):
    monkeypatch.setattr(restoration, 'follow_faces', fixed_face())
    folder = tmp_path / 'served'
    folder.mkdir()
    sessions = SessionManager(folder, networks, Limits(waiting=2, jobs=3))
    yield sessions
    networks.gate.set()
    sessions.close()


def start(sessions: SessionManager, name: str, client: str):
    """The job of a page and its video."""
    video = taken(sessions, name)
    return sessions.restore(name, RestoreRequest(), [video.key], client), video


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_worker_runs_one_job_and_the_others_wait_in_order(sessions, networks):
    jobs = [start(sessions, name, name)[0] for name in 'abcd']
    wait_until(lambda: len(networks.asked) == 2)
    wait_until(lambda: jobs[3].tracker.state.what == 'waiting: 1 job before this one')
    assert jobs[2].tracker.state.what == 'waiting: 0 jobs before this one'
    assert sessions.queue.status() == {'status': 'ok', 'workers': 2, 'running': 2, 'waiting': 2}
    with pytest.raises(RefusalError, match='queue is full: 2 jobs are waiting'):
        start(sessions, 'e', 'e')
    jobs[2].cancel()
    jobs[2].join()
    wait_until(lambda: jobs[3].tracker.state.what == 'waiting: 0 jobs before this one')
    networks.gate.set()
    for job in jobs:
        job.join()
    assert [video.result is not None for name in 'abcd' for video in sessions.videos(name)] == [
        True, True, False, True]
    assert sessions.queue.status()['running'] == 0 and not sessions.queue._clients


def test_a_refused_job_keeps_the_earlier_result(sessions, networks):
    networks.gate.set()
    job, video = start(sessions, 'a', 'one')
    job.join()
    sessions.queue.close()
    with pytest.raises(RefusalError, match='is stopping'):
        sessions.restore('a', RestoreRequest(), [video.key], 'one')
    assert video.result.video.exists()


def test_a_client_has_a_limited_number_of_jobs_on_all_its_pages(sessions, networks):
    jobs = [start(sessions, name, 'one')[0] for name in 'abc']
    with pytest.raises(RefusalError, match='3 jobs from this computer'):
        start(sessions, 'd', 'one')
    other, _ = start(sessions, 'e', 'another')
    networks.gate.set()
    for job in (*jobs, other):
        job.join()
    start(sessions, 'f', 'one')[0].join()


def test_a_server_that_stops_finishes_running_jobs_and_tells_those_that_wait(sessions, networks):
    started = [start(sessions, name, name) for name in 'abc']
    wait_until(lambda: len(networks.asked) == 2)
    stopping = threading.Thread(target=sessions.drain, args=(20,))
    stopping.start()
    started[2][0].join()
    assert started[2][1].failure == 'The server is stopping. Try again in a minute.'
    assert sessions.queue.status()['status'] == 'stopping'
    networks.gate.set()
    for job, video in started[:2]:
        job.join()
        assert video.result.video.exists()
    assert stopping.is_alive()  # until the pages have their results
    for name in 'ab':
        sessions.leave(name)
    stopping.join(5)
    assert not stopping.is_alive()


def test_a_server_stops_after_the_grace_whatever_runs(sessions):
    start(sessions, 'a', 'a')
    begun = time.monotonic()
    sessions.drain(0.3)
    assert 0.3 <= time.monotonic() - begun < 5


@pytest.mark.parametrize(('count', 'device', 'asked', 'devices'), [
    (0, 'auto', 0, ['auto']), (0, 'auto', 3, ['auto'] * 3), (2, 'auto', 0, ['cuda:0', 'cuda:1']),
    (2, 'cuda', 3, ['cuda:0', 'cuda:1', 'cuda:0']), (2, 'cuda:1', 0, ['cuda:1']), (2, 'cpu', 2, ['cpu'] * 2)])
def test_each_worker_has_its_own_restorer_and_gpu(count, device, asked, devices, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: count)
    monkeypatch.setattr(Networks, '_load', lambda self, key, device: [key, device])
    networks = Networks(device=device, workers=asked)
    loaded = [networks.restorer('sr', worker) for worker in range(networks.workers)]
    assert loaded == [['sr', device] for device in devices]
    assert len(set(map(id, loaded))) == networks.workers
