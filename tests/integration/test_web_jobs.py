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
from web_sessions import finished, taken

from gavn.faces.tracker import NoFace
from gavn.media import VideoReader, probe, read_frames
from gavn.restoration import job as restoration
from gavn.restoration.report import ESTIMATES
from gavn.restoration.weight_selection import TaskError
from gavn.web import html, jobs, videos
from gavn.web.jobs import RestoreRequest
from gavn.web.limits import RefusalError, length
from gavn.web.progress_tracker import CancelError, ProgressTracker, State
from gavn.web.videos import write_comparison_images


def test_a_job_writes_videos_images_and_a_report(sessions, networks):
    video = taken(sessions, name='my <b>talk; rm -rf.MP4')
    source = video.source
    assert source.name == 'my_b_talk_rm_-rf.mp4' and source.is_relative_to(sessions.folder / 'sessions')
    assert finished(sessions, RestoreRequest('sr', 'largest', 0.5)) is video
    assert video.failure is None and networks.asked == ['sr']
    made = video.result
    for path in (made.video, made.side):
        assert len(list(read_frames(path))) == 6
    before, after = (cv2.imread(str(path)) for path in (made.before, made.after))
    assert before.shape == after.shape == (144, 192, 3)
    gain = (after.astype(float) - before)[80:90, 80:110].mean()
    assert 10 < gain < 30  # half of 40
    notes = json.loads(made.notes.read_text())
    assert notes['settings']['strength'] == 0.5 and notes['note'] == ESTIMATES
    assert str(sessions.folder) not in made.notes.read_text()


def test_a_preview_takes_the_first_seconds(sessions):
    taken(sessions, frames=12)
    result = finished(sessions, RestoreRequest(preview=0.2)).result
    assert result.report.frames_out == 5 and result.preview == 0.2


def test_a_new_job_removes_what_was_made_before_and_videos_go_one_by_one(sessions, tmp_path):
    first = taken(sessions)
    one = finished(sessions, RestoreRequest()).result
    two = finished(sessions, RestoreRequest(preview=0.1)).result
    assert one.video == two.video and len(list(read_frames(two.video))) < 6
    example = write_video(tmp_path / 'example.mp4', 6, audio=None)
    second = sessions.take_example('me', example)
    assert sessions.take_example('me', example) is second and sessions.videos('me') == [first, second]
    sessions.drop('me', first.key)
    assert not first.source.parent.exists() and second.source.exists() and sessions.videos('me') == [second]
    sessions.drop('me', second.key)
    assert example.exists() and not sessions.videos('me')


def test_one_video_that_fails_does_not_stop_the_others(sessions, monkeypatch):
    videos = [taken(sessions, name=f'{name}.mp4') for name in 'abc']
    real = jobs.restore_video

    def failing(source, *args, **how):
        if source.name == 'b.mp4':
            raise NoFace(f'{source}: no face was found')
        return real(source, *args, **how)
    monkeypatch.setattr(jobs, 'restore_video', failing)
    sessions.restore('me', RestoreRequest(), [video.key for video in videos]).join()
    assert [video.result is not None for video in videos] == [True, False, True]
    assert videos[1].failure == 'no face was found'
    said = html.outcome(videos, False)
    assert '2 of 3 videos restored' in said and 'b.mp4: no face was found' in said


def test_chosen_faces_alone_are_restored(sessions, monkeypatch):
    """The search of the whole video serves its preview as well: the ids stay."""
    monkeypatch.setattr(videos, 'follow_faces', fixed_face(cuts=(4,)))
    monkeypatch.setattr(restoration, 'follow_faces', lambda *_, **__: pytest.fail('a second search'))
    video = taken(sessions, frames=12)
    sessions.find_faces('me', video.key).join()
    assert sessions.find_faces('me', video.key) is None
    assert video.chosen == {0, 1}
    sessions.choose('me', video.key, [1])
    report = finished(sessions, RestoreRequest(faces='chosen')).result.report
    assert (report.restored, [face['face'] for face in report.faces]) == (8, [1])
    report = finished(sessions, RestoreRequest(faces='chosen', preview=0.24)).result.report
    assert (report.frames_out, report.restored) == (6, 2)
    with pytest.raises(RefusalError, match=r'no selected face is in its first 0\.1 s'):
        sessions.restore('me', RestoreRequest(faces='chosen', preview=0.1), [video.key])
    sessions.choose('me', video.key, [])
    with pytest.raises(RefusalError, match='at least one face'):
        sessions.restore('me', RestoreRequest(faces='chosen'), [video.key])
    with pytest.raises(RefusalError, match='no such face'):
        sessions.choose('me', video.key, [7])


@pytest.mark.parametrize('scale', [None, '2'])
def test_the_images_show_the_face_that_is_restored(tmp_path, scale):
    """Not a larger one beside it, which the user left out."""
    source = VideoReader.from_path(write_video(tmp_path / 'a.mp4', 6, audio=None))
    faces = [{'first_frame': 0, 'last_frame': 1, 'box_frame': 0, 'box': [0., 0., 60., 60.]},
             {'first_frame': 1, 'last_frame': 5, 'box_frame': 4, 'box': [60., 50., 10., 10.]}]
    report = SimpleNamespace(faces=faces, frames_out=6, input={'width': WIDTH})
    enlarged = source.enlarged(scale)
    for path in write_comparison_images(enlarged, enlarged, report, tmp_path):
        shown, times = cv2.imread(str(path)), int(scale or 1)
        face = list(enlarged.read())[4].image[43 * times:67 * times, 49 * times:81 * times]
        assert shown.shape[:2] == (2 * face.shape[0], 2 * face.shape[1])
        assert np.array_equal(shown, cv2.resize(face, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))


def test_notices_name_controls_of_the_page(sessions):
    taken(sessions)
    found = finished(sessions, RestoreRequest()).result.report
    found.notices[:] = ['clean faces\nuse --task mixed to restore', 'small\nuse --scale 2 to enlarge']
    said = html.report(found)
    assert 'Clean faces; use the degradation &quot;mixed&quot; to restore' in said
    assert 'use the output size &quot;2 times&quot; to enlarge' in said and '--' not in said


def test_faces_without_a_thumbnail_stay_selected(sessions, monkeypatch):
    """The page cannot deselect them, and says that they are always restored."""
    monkeypatch.setattr(videos, 'follow_faces', fixed_face(cuts=(4, 8)))
    monkeypatch.setattr(videos, 'MAX_PICTURED', 2)
    video = taken(sessions, frames=12)
    sessions.find_faces('me', video.key).join()
    assert html.faces(video, video.found).count('<input') == 2
    assert '1 more faces' in html.faces(video, video.found)
    assert sessions.choose('me', video.key, [1]) == 2 and video.chosen == {1, 2}
    assert sessions.choose('me', video.key, []) == 1 and video.chosen == {2}
    report = finished(sessions, RestoreRequest(faces='chosen')).result.report
    assert [face['face'] for face in report.faces] == [2]


def test_the_whole_image_is_enlarged(sessions):
    """Comparison videos and images have one size."""
    taken(sessions)
    result = finished(sessions, RestoreRequest(scale='2')).result
    assert probe(result.video).width == 2 * WIDTH and probe(result.side).width == 4 * WIDTH
    before, after = (cv2.imread(str(path)) for path in (result.before, result.after))
    assert before.shape == after.shape and np.abs(before.astype(int) - after).mean() < 30


def test_hardly_any_change_is_reported(sessions, monkeypatch):
    monkeypatch.setattr(sessions.networks, 'restorer', lambda *_: make_restorer(0.2))
    video = taken(sessions)
    result = finished(sessions, RestoreRequest()).result
    assert result.report.hardly_changed and result.report.copied
    said = html.heading(video, result)
    assert all(words in said for words in ('Hardly any change: talk.mp4', 'grey levels', 'without encoding'))


def test_unsuitable_weights_are_refused(sessions, monkeypatch):
    def certain(*_, **how):
        if not how['found'] and not _[3].force_task:
            raise TaskError('the faces are compressed, not blurred', 'give --force-task')
    monkeypatch.setattr(jobs, 'restore_video', certain)
    taken(sessions)
    failure = finished(sessions, RestoreRequest('sr')).failure
    assert failure.startswith('the faces are compressed') and 'even if the faces' in failure
    assert '--force-task' not in failure


def test_idle_sessions_expire_with_a_message(sessions, networks):
    video = taken(sessions)
    sessions.sweep(time.monotonic() + 3599)
    assert video.source.exists()
    networks.gate.clear()
    sessions.restore('me', RestoreRequest(), [video.key])
    sessions.sweep(time.monotonic() + 7200)  # it is at work
    assert video.source.exists()
    networks.gate.set()
    sessions._sessions['me'].job.join()
    sessions.sweep(time.monotonic() + 12_000)
    assert not video.source.exists() and not list(sessions.folder.glob('sessions/*'))
    with pytest.raises(RefusalError, match='not used for 60 min'):
        sessions.videos('me')
    assert sessions.videos('me') == []


def test_invalid_requests_are_refused(sessions):
    video = taken(sessions)
    for request, said in ((RestoreRequest('guess'), 'no task guess'),
                          (RestoreRequest(strength=2), 'strength'),
                          (RestoreRequest(strength=None), 'strength must be a number')):
        with pytest.raises(RefusalError, match=said):
            sessions.restore('me', request, [video.key])
    assert 'face' in finished(sessions, RestoreRequest(faces='7')).failure


def test_errors_have_messages(sessions, monkeypatch, caplog):
    source = taken(sessions).source

    def none(*_, **__):
        raise NoFace('no face was found')
    monkeypatch.setattr(restoration, 'follow_faces', none)
    assert finished(sessions, RestoreRequest()).failure == 'no face was found\nno output was written'
    assert sorted(path.name for path in source.parent.iterdir()) == ['poster.jpg', source.name]
    monkeypatch.setattr(restoration, 'follow_faces', lambda *_, **__: 1 / 0)
    assert 'see the terminal' in finished(sessions, RestoreRequest()).failure
    assert 'ZeroDivisionError' in caplog.text


def test_one_restoration_runs_at_a_time_and_each_can_be_cancelled(sessions, networks):
    my, your = (taken(sessions, session) for session in ('me', 'you'))
    networks.gate.clear()
    mine, yours = (
        sessions.restore('me', RestoreRequest(), [my.key]),
        sessions.restore('you', RestoreRequest(), [your.key]),
    )
    for begin in (
        partial(sessions.restore, 'me', RestoreRequest(), [my.key]),
        partial(sessions.find_faces, 'me', my.key),
    ):
        with pytest.raises(RefusalError, match='is running'):
            begin()
    assert len(networks.asked) <= 1 and mine.running and yours.running
    sessions.cancel('you')
    yours.join()
    assert your.result is None and your.failure is None and len(networks.asked) == 1
    sessions.cancel('me')
    networks.gate.set()
    mine.join()
    assert my.result is None and not my.source.with_name('restored').exists()
    assert finished(sessions, RestoreRequest(), 'you').result is not None


def test_a_closed_page_leaves_nothing(sessions, networks):
    video = taken(sessions)
    networks.gate.clear()
    job = sessions.restore('me', RestoreRequest(), [video.key])
    threading.Timer(0.1, networks.gate.set).start()
    sessions.leave('me')
    assert not job.running and video.result is None
    assert not list(sessions.folder.glob('sessions/*'))


def test_progress_has_rate_and_time_left_and_cancels(monkeypatch):
    times = iter([0., 1., 3.])
    monkeypatch.setattr('gavn.web.progress_tracker.time.monotonic', lambda: next(times))
    tracker = ProgressTracker(max_frames=12)
    tracker.step('restoring', 1, 11)
    tracker.step('restoring', 6, 11)
    state = tracker.state
    assert (state.rate, state.left) == (2, 2.5)
    with pytest.raises(RefusalError, match='longer than its header'):
        tracker.step('restoring', 13, None)
    tracker.cancel()
    with pytest.raises(CancelError):
        tracker.step('restoring', 7, 11)


def test_html_is_escaped_and_has_the_time_left():
    said = html.progress(State('restoring', 6, 11, 3.))
    assert '6 of 11 frames · 2.0 frames/s · about 2 s left' in said and 'max="11"' in said
    assert '<script>' not in html.failure('<script>alert()</script>\nand more') + html.note('<script>')
    assert 'value=' not in html.progress(State())
    assert [length(seconds) for seconds in (0.4, 59.6, 125)] == ['0.4 s', '1 min', '2 min 5 s']


def test_an_expired_page_is_emptied_by_its_next_click(sessions):
    """And the page says why, whatever is clicked."""
    pytest.importorskip('gradio', reason='needs gradio (the extra [web])')
    from gavn.web.handlers import Handlers, gr
    from gavn.web.page import lay_out
    video = taken(sessions)
    with gr.Blocks():
        handlers = Handlers(sessions, None, lay_out(sessions))
    parts, request = handlers.parts, SimpleNamespace(session_hash='me', client=None)
    chosen = {parts.videos: video.key, parts.task: 'auto', parts.force: False, parts.which: 'all',
              parts.scale: '', parts.strength: 1.}

    async def clicked():
        return [updates async for updates in handlers.restore(chosen, request)]
    sessions.sweep(time.monotonic() + 4000)
    handlers.cancel(request)
    video = taken(sessions)
    sessions.sweep(time.monotonic() + 4000)
    shown, = asyncio.run(clicked())
    assert 'not used' in shown[parts.status] and not shown[parts.videos]['visible']
