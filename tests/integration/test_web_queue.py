"""The queue of the page's jobs: their order, its limits, and the end of the server."""
import threading
import time
from argparse import Namespace
from contextlib import suppress
from functools import partial

import pytest
from restore_fakes import fixed_face, make_restorer, write_video
from web_sessions import Fakes, taken

from gavn.cli.restore_jobs import input_output_pairs
from gavn.restoration import job as restoration
from gavn.web.jobs import RestoreRequest, _ending
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


def parallel(*calls):
    """Runs the calls in threads, and returns their results and their refusals."""
    found = []

    def collected(call):
        try:
            found.append(call())
        except RefusalError as error:
            found.append(error)
    threads = [threading.Thread(target=collected, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return found


def test_of_two_clicks_at_once_one_starts_a_job(sessions, networks, monkeypatch):
    """Both are admitted only if neither waits for the other; so the barrier breaks."""
    networks.gate.set()
    video, both, admit = taken(sessions), threading.Barrier(2), sessions.queue.admit

    def admitting(client):
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return admit(client)
    monkeypatch.setattr(sessions.queue, 'admit', admitting)
    found = parallel(*(partial(sessions.restore, 'me', RestoreRequest(preview=preview), [video.key])
                       for preview in (0.1, None)))
    refused, = (one for one in found if isinstance(one, RefusalError))
    started, = (one for one in found if one is not refused)
    assert 'A job of this page is running' in str(refused)
    started.join()
    assert video.failure is None and video.result.video.exists()
    assert sessions.queue.status()['running'] == sessions.queue.status()['waiting'] == 0


@pytest.mark.parametrize('end', [lambda sessions, key: sessions.drop('me', key),
                                 lambda sessions, key: sessions.leave('me')], ids=['remove', 'leave'])
def test_a_job_that_starts_while_its_video_is_removed_is_cancelled(sessions, networks, monkeypatch, end):
    video, started, admit = taken(sessions), threading.Event(), sessions.queue.admit
    networks.gate.set()

    def admitting(client):
        started.set()
        time.sleep(0.3)  # the removal would end within this time if it did not wait
        return admit(client)

    def removing():
        assert started.wait(20)
        end(sessions, video.key)
    monkeypatch.setattr(sessions.queue, 'admit', admitting)
    job, = (one for one in parallel(partial(sessions.restore, 'me', RestoreRequest(), [video.key]), removing)
            if one is not None)
    assert job.cancelled and not job.running
    assert video.failure is None and not video.source.parent.exists()


def test_a_job_without_a_thread_leaves_the_queue(sessions, networks, caplog):
    networks.gate.set()
    video = taken(sessions)

    def none(thread):
        raise RuntimeError("can't start new thread")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, 'start', none)
        for start_job in (partial(sessions.restore, 'me', RestoreRequest(), [video.key], 'one'),
                          partial(sessions.find_faces, 'me', video.key, 'one')):
            with pytest.raises(RefusalError, match='cannot start a job now'):
                start_job()
    assert "can't start new thread" in caplog.text
    assert sessions.queue.status()['waiting'] == 0 and not sessions.queue._clients
    sessions.restore('me', RestoreRequest(), [video.key], 'one').join()
    assert video.result.video.exists()


def test_a_stop_cancels_all_jobs_before_it_waits_for_one(sessions, networks):
    jobs = [start(sessions, name, name)[0] for name in 'abc']
    video = taken(sessions, 'd')
    wait_until(lambda: len(networks.asked) == 2)
    closing = threading.Thread(target=sessions.close)
    closing.start()
    wait_until(lambda: all(job.cancelled for job in jobs))
    assert closing.is_alive()  # two jobs load their weights
    with pytest.raises(RefusalError, match='is stopping'):
        sessions.restore('d', RestoreRequest(), [video.key])
    networks.gate.set()
    closing.join(20)
    assert not closing.is_alive() and not any(job.running for job in jobs)


@pytest.mark.parametrize('name', ['talk.MP4', 'talk.mp4', 'talk.MoV', 'talk.avi'])
def test_the_page_names_outputs_as_the_command_does(tmp_path, name):
    source = write_video(tmp_path / 'talk.mp4', 6, audio=.24).rename(tmp_path / name)
    args = Namespace(input=[str(source)], output=None, ext='auto', suffix='gavn', audio=None, preview=None)
    (_, target), = input_output_pairs(args)
    assert _ending(source) == target.suffix == ('.mkv' if name.endswith('avi') else source.suffix)


def test_workers_do_not_share_a_restorer_of_the_users_weights(tmp_path):
    make_restorer(gain=40.).save(tmp_path / 'w.safetensors')
    networks = Networks(tmp_path / 'w.safetensors', device='cpu', workers=2)
    first, second = (networks.restorer('auto', worker) for worker in range(2))
    assert first is not second and list(first.weights) == list(second.weights)
    assert list(first.weights) == [str(tmp_path / 'w.safetensors')]
    assert networks.restorer('sr', 1) is second
