"""What the page does with a video, without the page: limits, names, jobs in turn, nothing left behind."""
import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from restore_fakes import fixed_face, make_restorer, write_video

from gavn.pipeline import restoration
from gavn.pipeline.face_tracker import NoFace
from gavn.pipeline.report import ESTIMATES
from gavn.utils.media import read_frames
from gavn.web import words
from gavn.web.desk import Desk, safe_name
from gavn.web.jobs import Order
from gavn.web.limits import Limits, RefusalError, length
from gavn.web.watch import CancelError, State, Watch


class Fakes:
    """In place of `Networks`: one that brightens; `gate` holds jobs back."""

    def __init__(self) -> None:
        self.tasks = {'auto': '', 'sr': ''}
        self.gate, self.asked = threading.Event(), []
        self.gate.set()

    def restorer(self, task: str):
        self.asked.append(task)
        assert self.gate.wait(30)
        return make_restorer(40.)


@pytest.fixture
def networks() -> Fakes:
    return Fakes()


@pytest.fixture
def desk(tmp_path, networks, monkeypatch):
    monkeypatch.setattr(restoration, 'follow_faces', fixed_face())
    folder = tmp_path / 'served'
    folder.mkdir()
    desk = Desk(folder, networks, Limits(megabytes=1, seconds=2))
    yield desk
    networks.gate.set()
    desk.close()
    assert not [path for path in folder.rglob('*') if path.is_file()]


def upload(desk: Desk, name: str = 'talk.mp4', frames: int = 6, sound: float | None = .24) -> Path:
    """A file as gradio leaves it: in a folder named by its hash."""
    folder = desk.folder / f'{len(list(desk.folder.iterdir())):064x}'
    folder.mkdir()
    return write_video(folder / name, frames, sound)


def finished(desk: Desk, order: Order, session: str = 'me'):
    job = desk.start(session, order)
    job.join()
    return job


def test_a_job_makes_videos_pictures_and_a_report(desk, networks):
    given = upload(desk, 'my <b>talk; rm -rf.MP4')
    source = desk.take('me', given)
    assert source.name == 'my_b_talk_rm_-rf.mp4' and source.is_relative_to(desk.folder / 'sessions')
    job = finished(desk, Order('sr', 'largest', 0.5))
    assert job.trouble is None and networks.asked == ['sr']
    made = job.result
    for path in (made.video, made.side):
        assert len(list(read_frames(path))) == 6
    before, after = (cv2.imread(str(path)) for path in (made.before, made.after))
    assert before.shape == after.shape == (160, 192, 3)
    gain = (after.astype(float) - before)[80:90, 80:110].mean()
    assert 10 < gain < 30  # half of 40
    notes = json.loads(made.notes.read_text())
    assert notes['settings']['strength'] == 0.5 and notes['note'] == ESTIMATES
    assert str(desk.folder) not in made.notes.read_text()


def test_a_preview_takes_the_first_seconds(desk):
    desk.take('me', upload(desk, frames=12))
    assert finished(desk, Order(preview=0.2)).result.report.frames_out == 5


def test_a_new_job_or_video_removes_what_was_made_before(desk, tmp_path):
    first = desk.take('me', upload(desk))
    one = finished(desk, Order())
    two = finished(desk, Order())
    assert not one.folder.exists() and two.result.video.exists() and first.exists()
    example = write_video(tmp_path / 'example.mp4', 6, sound=None)
    desk.take_example('me', example)
    assert not two.folder.exists() and not first.exists()
    desk.drop('me')
    assert example.exists()


@pytest.mark.parametrize(('frames', 'said'), [(60, 'too long: 2 s'), (1, 'single picture')])
def test_unsuitable_videos_are_refused_and_removed(desk, frames, said):
    with pytest.raises(RefusalError, match=said):
        desk.take('me', upload(desk, frames=frames, sound=None))
    assert not list(desk.folder.glob('sessions/*/*/*.mp4'))
    with pytest.raises(RefusalError, match='Drop a video first'):
        desk.start('me', Order())


def test_large_and_unreadable_files_are_refused(desk):
    large, text = upload(desk), upload(desk, 'a.mkv')
    large.write_bytes(bytes(1_000_001))
    text.write_text('words')
    with pytest.raises(RefusalError, match=r'too large: 1.0 MB. This page takes up to 1 MB and 2 s'):
        desk.take('me', large)
    with pytest.raises(RefusalError, match=r'^no readable media file') as told:
        desk.take('me', text)
    assert str(desk.folder) not in str(told.value)


def test_only_uploads_are_taken(desk, tmp_path):
    outside = write_video(tmp_path / 'secret.mp4', 3, sound=None)
    link = desk.folder / 'f' / 'link.mp4'
    link.parent.mkdir()
    link.symlink_to(outside)
    mine = upload(desk)
    other = desk.take('other', upload(desk))
    for path in (outside, link, desk.folder / 'f/../../secret.mp4', desk.folder, other, mine.parent):
        with pytest.raises(RefusalError, match='not uploaded'):
            desk.take('me', path)
    assert outside.exists() and other.exists()
    link.unlink()
    desk.take('me', mine)


@pytest.mark.parametrize(('name', 'safe'), [
    ('talk.mp4', 'talk.mp4'), ('../../etc/passwd', 'passwd'), ('<img src=x>.mov', 'img_src_x.mov'),
    ('.mp4', 'mp4'), ('Mädchen 2.MKV', 'Mädchen_2.mkv'), ('$(reboot).mp4;x', 'reboot.mp4x'),
    ('a' * 300 + '.mp4', 'a' * 60 + '.mp4'), ('...', 'video')])
def test_names_of_uploads_become_harmless(name, safe):
    assert safe_name(name) == safe


def test_orders_that_are_none_are_refused(desk):
    desk.take('me', upload(desk))
    for order, said in ((Order('guess'), 'no task guess'), (Order(strength=2), 'strength'),
                        (Order(strength=None), 'not supported')):
        with pytest.raises(RefusalError, match=said):
            desk.start('me', order)
    assert 'face' in finished(desk, Order(faces='7')).trouble


def test_troubles_are_told_in_words(desk, monkeypatch, caplog):
    source = desk.take('me', upload(desk))

    def none(*_, **__):
        raise NoFace('no face was found')
    monkeypatch.setattr(restoration, 'follow_faces', none)
    job = finished(desk, Order())
    assert job.trouble == 'no face was found\nnothing was written' and not job.folder.exists()
    assert list(source.parent.iterdir()) == [source]
    monkeypatch.setattr(restoration, 'follow_faces', lambda *_, **__: 1 / 0)
    assert 'the terminal says more' in finished(desk, Order()).trouble
    assert 'ZeroDivisionError' in caplog.text


def test_one_restoration_runs_at_a_time_and_each_can_be_cancelled(desk, networks):
    for session in ('me', 'you'):
        desk.take(session, upload(desk))
    networks.gate.clear()
    mine, yours = (desk.start(session, Order()) for session in ('me', 'you'))
    with pytest.raises(RefusalError, match='already'):
        desk.start('me', Order())
    assert len(networks.asked) <= 1 and mine.running and yours.running
    desk.cancel('you')
    yours.join()
    assert yours.result is None and yours.trouble is None and len(networks.asked) == 1
    desk.cancel('me')
    networks.gate.set()
    mine.join()
    assert mine.result is None and not mine.folder.exists()
    assert finished(desk, Order(), 'you').result is not None


def test_a_closed_page_leaves_nothing(desk, networks):
    desk.take('me', upload(desk))
    networks.gate.clear()
    job = desk.start('me', Order())
    threading.Timer(0.1, networks.gate.set).start()
    desk.leave('me')
    assert not job.running and job.result is None
    assert not list(desk.folder.glob('sessions/*'))


def test_a_watch_tells_rate_and_time_left_and_ends_the_work(monkeypatch):
    times = iter([0., 1., 3.])
    monkeypatch.setattr('gavn.web.watch.time.monotonic', lambda: next(times))
    watch = Watch(most_frames=12)
    watch.step('restoring', 1, 11)
    watch.step('restoring', 6, 11)
    state = watch.state
    assert (state.rate, state.left) == (2, 2.5)
    with pytest.raises(RefusalError, match='longer than its header'):
        watch.step('restoring', 13, None)
    watch.cancel()
    with pytest.raises(CancelError):
        watch.step('restoring', 7, 11)


def test_words_are_escaped_and_say_what_is_left():
    said = words.progress(State('restoring', 6, 11, 3.))
    assert '6 of 11 frames · 2.0 frames a second · about 2 s left' in said and 'max="11"' in said
    assert '<script>' not in words.trouble('<script>alert()</script>\nand more') + words.note('<script>')
    assert 'value=' not in words.progress(State())
    assert [length(seconds) for seconds in (0.4, 59.6, 125)] == ['0.4 s', '1 min', '2 min 5 s']


def test_limits_are_above_nothing():
    for wrong in ({'megabytes': 0}, {'seconds': -1}, {'seconds': float('nan')}):
        with pytest.raises(ValueError, match='above 0'):
            Limits(**wrong)
    assert np.isclose(Limits(megabytes=2.5).bytes, 2_500_000)
