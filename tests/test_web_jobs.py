"""What the page does with a video, without the page: limits, names, jobs in turn, nothing left behind."""
import asyncio
import json
import threading
import time
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from restore_fakes import WIDTH, fixed_face, make_restorer, write_video

from gavn.faces.tracker import NoFace
from gavn.media import probe, read_frames
from gavn.restoration import job as restoration
from gavn.restoration.choosing import TaskError
from gavn.restoration.report import ESTIMATES
from gavn.web import html, jobs, show, videos
from gavn.web.jobs import RestoreRequest
from gavn.web.limits import Limits, RefusalError, length
from gavn.web.progress_tracker import CancelError, ProgressTracker, State
from gavn.web.session_manager import SessionManager
from gavn.web.uploads import ShortError, safe_name
from gavn.web.videos import Video


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
    desk = SessionManager(folder, networks, Limits(megabytes=1, seconds=2, videos=3, total_megabytes=2.1))
    yield desk
    networks.gate.set()
    desk.close()
    assert not [path for path in folder.rglob('*') if path.is_file()]


def upload(desk: SessionManager, name: str = 'talk.mp4', frames: int = 6, sound: float | None = .24) -> str:
    """The token of a video that was uploaded."""
    path = write_video(desk.folder.parent / 'made.mp4', frames, sound)
    return sent(desk, name, path.read_bytes())


def sent(desk: SessionManager, name: str, content: bytes) -> str:
    async def chunks():
        yield content
    token = desk.uploads.announce(name, len(content))
    asyncio.run(desk.uploads.receive(token, chunks()))
    return token


def taken(desk: SessionManager, session: str = 'me', **what: object) -> Video:
    return desk.take(session, upload(desk, **what))


def finished(desk: SessionManager, order: RestoreRequest, session: str = 'me') -> Video:
    """The session's last video, after it was restored as ordered."""
    video = desk.videos(session)[-1]
    desk.restore(session, order, [video.key]).join()
    return video


def test_a_job_makes_videos_pictures_and_a_report(desk, networks):
    video = taken(desk, name='my <b>talk; rm -rf.MP4')
    source = video.source
    assert source.name == 'my_b_talk_rm_-rf.mp4' and source.is_relative_to(desk.folder / 'sessions')
    assert finished(desk, RestoreRequest('sr', 'largest', 0.5)) is video
    assert video.trouble is None and networks.asked == ['sr']
    made = video.result
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
    taken(desk, frames=12)
    result = finished(desk, RestoreRequest(preview=0.2)).result
    assert result.report.frames_out == 5 and result.preview == 0.2


def test_a_new_job_removes_what_was_made_before_and_videos_go_one_by_one(desk, tmp_path):
    first = taken(desk)
    one = finished(desk, RestoreRequest()).result
    two = finished(desk, RestoreRequest(preview=0.1)).result
    assert one.video == two.video and len(list(read_frames(two.video))) < 6
    example = write_video(tmp_path / 'example.mp4', 6, sound=None)
    second = desk.take_example('me', example)
    assert desk.take_example('me', example) is second and desk.videos('me') == [first, second]
    desk.drop('me', first.key)
    assert not first.source.parent.exists() and second.source.exists() and desk.videos('me') == [second]
    desk.drop('me', second.key)
    assert example.exists() and not desk.videos('me')


def test_one_video_that_fails_does_not_stop_the_others(desk, monkeypatch):
    videos = [taken(desk, name=f'{name}.mp4') for name in 'abc']
    real = jobs.restore_video

    def failing(source, *args, **how):
        if source.name == 'b.mp4':
            raise NoFace(f'{source}: no face was found')
        return real(source, *args, **how)
    monkeypatch.setattr(jobs, 'restore_video', failing)
    desk.restore('me', RestoreRequest(), [video.key for video in videos]).join()
    assert [video.result is not None for video in videos] == [True, False, True]
    assert videos[1].trouble == 'no face was found'
    said = html.outcome(videos, False)
    assert '2 of 3 videos are restored' in said and 'b.mp4: no face was found' in said


def test_chosen_faces_alone_are_restored(desk, monkeypatch):
    """The search of the whole video serves its preview as well: the ids stay."""
    monkeypatch.setattr(videos, 'follow_faces', fixed_face(cuts=(4,)))
    monkeypatch.setattr(restoration, 'follow_faces', lambda *_, **__: pytest.fail('a second search'))
    video = taken(desk, frames=12)
    desk.look_for_faces('me', video.key).join()
    assert desk.look_for_faces('me', video.key) is None
    assert video.chosen == {0, 1}
    desk.choose('me', video.key, [1])
    report = finished(desk, RestoreRequest(faces='chosen')).result.report
    assert (report.restored, [face['face'] for face in report.faces]) == (8, [1])
    report = finished(desk, RestoreRequest(faces='chosen', preview=0.24)).result.report
    assert (report.frames_out, report.restored) == (6, 2)
    with pytest.raises(RefusalError, match=r'no chosen face is in its first 0\.1 s'):
        desk.restore('me', RestoreRequest(faces='chosen', preview=0.1), [video.key])
    desk.choose('me', video.key, [])
    with pytest.raises(RefusalError, match='at least one face'):
        desk.restore('me', RestoreRequest(faces='chosen'), [video.key])
    with pytest.raises(RefusalError, match='no such face'):
        desk.choose('me', video.key, [7])


def test_the_whole_picture_is_enlarged(desk):
    """Videos and pictures of before and after have one size."""
    taken(desk)
    result = finished(desk, RestoreRequest(scale='2')).result
    assert probe(result.video).width == 2 * WIDTH and probe(result.side).width == 4 * WIDTH
    before, after = (cv2.imread(str(path)) for path in (result.before, result.after))
    assert before.shape == after.shape and np.abs(before.astype(int) - after).mean() < 30


def test_hardly_any_change_is_said(desk, monkeypatch):
    monkeypatch.setattr(desk.networks, 'restorer', lambda _: make_restorer(0.2))
    video = taken(desk)
    result = finished(desk, RestoreRequest()).result
    assert result.report.hardly_changed and result.report.copied
    said = show.heading(video, result)
    assert 'Hardly any change: talk.mp4' in said and 'grey levels' in said and 'copied as it is' in said


def test_weights_for_another_damage_are_refused_in_words_of_the_page(desk, monkeypatch):
    def certain(*_, **how):
        if not how['found'] and not _[3].force_task:
            raise TaskError('the faces are compressed, not blurred', 'give --force-task')
    monkeypatch.setattr(jobs, 'restore_video', certain)
    taken(desk)
    trouble = finished(desk, RestoreRequest('sr')).trouble
    assert trouble.startswith('the faces are compressed') and 'even if the faces' in trouble
    assert '--force-task' not in trouble


@pytest.mark.parametrize(('frames', 'said'), [(60, 'too long: 2 s'), (1, 'single picture')])
def test_unsuitable_videos_are_refused_and_removed(desk, frames, said):
    with pytest.raises(RefusalError, match=said):
        taken(desk, frames=frames, sound=None)
    assert not list(desk.folder.rglob('*.mp4'))
    with pytest.raises(RefusalError, match='Drop a video first'):
        desk.restore('me', RestoreRequest(), [None])


def test_large_empty_and_unreadable_files_are_refused(desk):
    with pytest.raises(RefusalError, match=r'too large: 1.0 MB. This page takes up to 1 MB and 2 s'):
        sent(desk, 'a.mp4', bytes(1_000_001))
    with pytest.raises(RefusalError, match='empty'):
        sent(desk, 'a.mp4', b'')
    with pytest.raises(RefusalError, match=r'^a\.mkv: no readable media file') as told:
        desk.take('me', sent(desk, 'a.mkv', b'words'))
    assert str(desk.folder) not in str(told.value)


@pytest.mark.parametrize('name', ['list.m3u8', 'list.ffconcat', 'talk.mp4'])
def test_playlists_open_nothing(desk, tmp_path, name):
    """They name another file of the machine, whatever their own name is."""
    secret = write_video(tmp_path / 'secret.mp4', 30, sound=None)
    for text in (f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{secret}\n#EXT-X-ENDLIST\n',
                 f"ffconcat version 1.0\nfile '{secret}'\n"):
        with pytest.raises(RefusalError):
            desk.take('me', sent(desk, name, text.encode()))
    assert not desk.videos('me')


def test_only_own_uploads_are_taken_once(desk):
    """What is not a token that was given out is none: paths, examples, files of others."""
    token = upload(desk)
    example = desk.folder / 'examples' / 'small.mp4'
    example.parent.mkdir()
    write_video(example, 3, sound=None)
    other = taken(desk, 'other')
    for word in (str(example), str(other.source), '', token[:-1], '../examples', other.key):
        with pytest.raises(RefusalError, match='not uploaded'):
            desk.take('me', word)
        with pytest.raises(RefusalError, match='Drop a video first'):
            desk.drop('me', word)
    desk.take('me', token)
    with pytest.raises(RefusalError, match='not uploaded'):
        desk.take('other', token)
    assert example.exists() and other.source.exists()
    example.unlink()


def test_a_page_holds_so_many_videos(desk):
    for number in range(3):
        taken(desk, name=f'{number}.mp4')
    with pytest.raises(RefusalError, match=r'3\.mp4: a page holds 3 videos'):
        taken(desk, name='3.mp4')
    taken(desk, 'you')


def test_uploads_are_limited_by_number_and_sum(desk):
    tokens = [desk.uploads.announce('a.mp4', 400_000) for _ in range(5)]
    with pytest.raises(RefusalError, match='all pages together'):
        desk.uploads.announce('a.mp4', 100_001)  # of 2.1 MB
    desk.uploads.announce('a.mp4', 50_000)
    with pytest.raises(RefusalError, match='Too many files'):
        desk.uploads.announce('a.mp4', 1)  # two pages' worth wait already
    desk.uploads.expire(time.monotonic() + 601)
    assert desk.uploads.announce('a.mp4', 900_000) not in tokens


def test_an_upload_that_takes_long_is_not_given_up(desk):
    token = desk.uploads.announce('a.mp4', 4)

    async def slowly():
        desk.uploads._waiting[token].active -= 650  # it was announced long ago
        yield b'12'
        desk.uploads.expire(time.monotonic())
        yield b'34'
    asyncio.run(desk.uploads.receive(token, slowly()))
    path = desk.uploads.claim(token)
    assert path.read_bytes() == b'1234'
    path.unlink()  # it belongs to who claimed it


def test_what_comes_must_be_what_was_announced(desk):
    async def chunks(*parts: bytes):
        for part in parts:
            yield part
    for parts in ((b'123',), (b'123', b'456'), ()):
        token = desk.uploads.announce('a.mp4', 4)
        with pytest.raises(ShortError):
            asyncio.run(desk.uploads.receive(token, chunks(*parts)))
        with pytest.raises(RefusalError, match='not announced'):
            asyncio.run(desk.uploads.receive(token, chunks(b'1234')))
    assert not list(desk.folder.rglob('a.mp4'))


def test_a_page_that_is_left_alone_loses_its_videos_and_is_told(desk, networks):
    video = taken(desk)
    desk.sweep(time.monotonic() + 3599)
    assert video.source.exists()
    networks.gate.clear()
    desk.restore('me', RestoreRequest(), [video.key])
    desk.sweep(time.monotonic() + 7200)  # it is at work
    assert video.source.exists()
    networks.gate.set()
    desk._sessions['me'].job.join()
    desk.sweep(time.monotonic() + 12_000)
    assert not video.source.exists() and not list(desk.folder.glob('sessions/*'))
    with pytest.raises(RefusalError, match='left alone for 60 min'):
        desk.videos('me')
    assert desk.videos('me') == []


@pytest.mark.parametrize(('name', 'safe'), [
    ('talk.mp4', 'talk.mp4'), ('../../etc/passwd', 'passwd'), ('<img src=x>.mov', 'img_src_x.mov'),
    ('.mp4', 'mp4'), ('Mädchen 2.MKV', 'Mädchen_2.mkv'), ('$(reboot).mp4;x', 'reboot.mp4x'),
    ('a' * 300 + '.mp4', 'a' * 120 + '.mp4'), ('語' * 300 + '.mp4', '語' * 40 + '.mp4'), ('...', 'video')])
def test_names_of_uploads_become_harmless(name, safe):
    assert safe_name(name) == safe


def test_orders_that_are_none_are_refused(desk):
    video = taken(desk)
    for order, said in ((RestoreRequest('guess'), 'no task guess'), (RestoreRequest(strength=2), 'strength'),
                        (RestoreRequest(strength=None), 'not supported')):
        with pytest.raises(RefusalError, match=said):
            desk.restore('me', order, [video.key])
    assert 'face' in finished(desk, RestoreRequest(faces='7')).trouble


def test_troubles_are_told_in_words(desk, monkeypatch, caplog):
    source = taken(desk).source

    def none(*_, **__):
        raise NoFace('no face was found')
    monkeypatch.setattr(restoration, 'follow_faces', none)
    assert finished(desk, RestoreRequest()).trouble == 'no face was found\nnothing was written'
    assert sorted(path.name for path in source.parent.iterdir()) == ['poster.jpg', source.name]
    monkeypatch.setattr(restoration, 'follow_faces', lambda *_, **__: 1 / 0)
    assert 'the terminal says more' in finished(desk, RestoreRequest()).trouble
    assert 'ZeroDivisionError' in caplog.text


def test_one_restoration_runs_at_a_time_and_each_can_be_cancelled(desk, networks):
    my, your = (taken(desk, session) for session in ('me', 'you'))
    networks.gate.clear()
    mine, yours = (
        desk.restore('me', RestoreRequest(), [my.key]),
        desk.restore('you', RestoreRequest(), [your.key]),
    )
    for begin in (
        partial(desk.restore, 'me', RestoreRequest(), [my.key]),
        partial(desk.look_for_faces, 'me', my.key),
    ):
        with pytest.raises(RefusalError, match='already'):
            begin()
    assert len(networks.asked) <= 1 and mine.running and yours.running
    desk.cancel('you')
    yours.join()
    assert your.result is None and your.trouble is None and len(networks.asked) == 1
    desk.cancel('me')
    networks.gate.set()
    mine.join()
    assert my.result is None and not my.source.with_name('restored').exists()
    assert finished(desk, RestoreRequest(), 'you').result is not None


def test_a_closed_page_leaves_nothing(desk, networks):
    video = taken(desk)
    networks.gate.clear()
    job = desk.restore('me', RestoreRequest(), [video.key])
    threading.Timer(0.1, networks.gate.set).start()
    desk.leave('me')
    assert not job.running and video.result is None
    assert not list(desk.folder.glob('sessions/*'))


def test_a_watch_tells_rate_and_time_left_and_ends_the_work(monkeypatch):
    times = iter([0., 1., 3.])
    monkeypatch.setattr('gavn.web.progress_tracker.time.monotonic', lambda: next(times))
    watch = ProgressTracker(most_frames=12)
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
    said = html.progress(State('restoring', 6, 11, 3.))
    assert '6 of 11 frames · 2.0 frames a second · about 2 s left' in said and 'max="11"' in said
    assert '<script>' not in html.trouble('<script>alert()</script>\nand more') + html.note('<script>')
    assert 'value=' not in html.progress(State())
    assert [length(seconds) for seconds in (0.4, 59.6, 125)] == ['0.4 s', '1 min', '2 min 5 s']


def test_limits_are_above_nothing():
    for wrong in ({'megabytes': 0}, {'seconds': -1}, {'seconds': float('nan')}, {'videos': 0}, {'idle': 0},
                  {'megabytes': 10, 'total_megabytes': 9}):
        with pytest.raises(ValueError, match='above 0'):
            Limits(**wrong)
    assert np.isclose(Limits(megabytes=2.5).bytes, 2_500_000)


def test_a_page_that_was_left_alone_is_emptied_by_its_next_click(desk):
    """And told why, whatever is clicked."""
    pytest.importorskip('gradio', reason='needs gradio (the extra [web])')
    from gavn.web.handlers import Handlers, gr
    from gavn.web.page import lay_out
    video = taken(desk)
    with gr.Blocks():
        handlers = Handlers(desk, None, lay_out(desk))
    parts, request = handlers.parts, SimpleNamespace(session_hash='me')
    chosen = {parts.videos: video.key, parts.task: 'auto', parts.even_so: False, parts.which: 'all',
              parts.scale: '', parts.strength: 1.}

    async def clicked():
        return [updates async for updates in handlers.restore(chosen, request)]
    desk.sweep(time.monotonic() + 4000)
    handlers.cancel(request)
    video = taken(desk)
    desk.sweep(time.monotonic() + 4000)
    shown, = asyncio.run(clicked())
    assert 'left alone' in shown[parts.status] and not shown[parts.videos]['visible']
