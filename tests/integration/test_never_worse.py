"""Output is never worse than input: faces without a gain are copied; weights must fit the degradation."""
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from drawn_faces import Detector, at, frame
from restore_fakes import FACE, audio_packets, fixed_face, make_restorer, write_video

from gavn.cli import main as cli
from gavn.faces.tracker import follow_faces
from gavn.faces.tracks import Faces
from gavn.media import read_frames
from gavn.media.stream_copy import is_same_video
from gavn.restoration import job, restore_video, weight_selection
from gavn.restoration.degradation import KINDS, DegradationEstimate
from gavn.restoration.report import NEGLIGIBLE, Report
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import CERTAIN, TaskError

FAINT, PLAIN = 0.4, 3.  # grey levels that a restorer adds


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(2,)))


@pytest.fixture
def talk(tmp_path) -> Path:
    return write_video(tmp_path / 'talk.mp4', 12, audio=0.48)


def video_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts * packet.time_base, bytes(packet))
                for packet in container.demux(video=0) if packet.pts is not None]


def found(kind: str, share: float = 1.) -> DegradationEstimate:
    """Degradation of a kind with that probability; the rest is `mixed`, or of `mixed` itself `sr`."""
    other = 'sr' if kind == 'mixed' else 'mixed'
    shares = {one: {kind: share, other: 1 - share}.get(one, 0.) for one in KINDS}
    return DegradationEstimate(kind, shares, 4, detail=0.5, noise=4., blocks=0.1)


def restored(source: Path, target: Path, gain: float, **settings) -> Report:
    return restore_video.restore_video(source, target, make_restorer(gain), Settings(**settings))


def test_hardly_any_change_is_reported_and_the_file_copied(talk, tmp_path, caplog):
    report = restored(talk, tmp_path / 'out.mp4', FAINT)
    assert (tmp_path / 'out.mp4').read_bytes() == talk.read_bytes()
    assert report.copied and report.hardly_changed and report.change == pytest.approx(FAINT, abs=0.01)
    assert (report.frames_in, report.frames_out, report.restored, report.passed_through) == (12, 12, 0, 12)
    assert report.faces[0]['after'] == report.faces[0]['before']
    [words] = [notice for notice in report.notices if 'hardly any change' in notice]
    assert '0.40 grey levels' in words and 'copied without encoding' in words and words in caplog.text


def test_a_visible_change_is_encoded(talk, tmp_path):
    report = restored(talk, tmp_path / 'out.mp4', PLAIN)
    assert not report.copied and not report.hardly_changed and report.restored == 11
    assert report.change == pytest.approx(PLAIN, abs=0.01)
    assert not any('hardly' in notice for notice in report.notices)


def test_the_face_and_the_piece_that_change_most_decide(talk, tmp_path, monkeypatch):
    """A long video with one degraded minute is not taken for one that hardly changes."""
    monkeypatch.setattr('gavn.restoration.resume_state.SEGMENT_FRAMES', 4)
    base = make_restorer(PLAIN)

    class LastOnly(Restorer):
        def residuals(self, crops, audio=None):
            for index, residual in enumerate(super().residuals(crops, audio)):
                yield residual * (index >= 6)

    report = restore_video.restore_video(
        talk, tmp_path / 'out.mp4', LastOnly(base.spec, base.networks, 'cpu'))
    assert not report.copied and report.change > 2 * NEGLIGIBLE


@pytest.mark.parametrize(('name', 'other'), [('out.mkv', None), ('out.mp4', 'voice.mp4'), ('out.mov', None)])
def test_another_container_or_audio_gets_the_packets_as_they_are(talk, tmp_path, name, other):
    audio = other and write_video(tmp_path / other, 8, audio=0.32)
    report = restored(talk, tmp_path / name, 0., audio=audio)
    assert report.copied and is_same_video(talk, tmp_path / name)
    made, given = video_packets(tmp_path / name), video_packets(talk)
    assert [content for _, content in made] == [content for _, content in given]
    moved = made[0][0] - given[0][0]  # .mkv holds nothing before zero: all streams move with the audio's lead
    times = [[float(time) for time, _ in packets] for packets in (made, given)]
    assert [time - float(moved) for time in times[0]] == pytest.approx(times[1], abs=2e-3)
    written, stored = audio_packets(tmp_path / name), audio_packets(audio or talk)
    assert [content for _, content in written] == [content for _, content in stored]


@pytest.mark.parametrize('settings', [{'preview': 0.2}, {'scale': '2'}, {'fps': Fraction(10)},
                                      {'codec': 'libx265'}, {'pix_fmt': 'yuv420p'}])
def test_other_frames_than_those_stored_are_encoded(talk, tmp_path, settings):
    """The report still says that they hardly changed."""
    report = restored(talk, tmp_path / 'out.mp4', 0., **settings)
    assert report.hardly_changed and not report.copied
    assert any('hardly any change' in notice and 'copied' not in notice for notice in report.notices)


def test_what_cannot_be_copied_is_encoded(talk, tmp_path, monkeypatch):
    monkeypatch.setattr('gavn.media.stream_copy.is_same_video', lambda *_: False)
    report = restored(talk, tmp_path / 'out.mkv', 0.)
    assert not report.copied and len(list(read_frames(tmp_path / 'out.mkv'))) == 12


def test_a_copy_gets_no_notices_about_encoding(talk, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(job, 'encoding_notices', lambda *_: iter(['the output is opaque']))
    assert 'the output is opaque' in restored(talk, tmp_path / 'a.mp4', PLAIN).notices
    caplog.clear()
    assert 'the output is opaque' not in restored(talk, tmp_path / 'b.mp4', 0.).notices
    assert 'the notices about the output do not apply; the video stream is copied' in caplog.text


def test_images_of_a_folder_are_written_where_nothing_changes(tmp_path):
    frames = tmp_path / 'frames'
    frames.mkdir()
    for index in range(4):
        cv2.imwrite(str(frames / f'{index}.png'), np.full((80, 96, 3), 40 * index, np.uint8))
    report = restored(frames, tmp_path / 'out', 0., write_images=True)
    assert report.hardly_changed and not report.copied and len(list((tmp_path / 'out').iterdir())) == 4


@pytest.mark.parametrize(('task', 'kind', 'share', 'outcome'), [
    ('deblur', 'compression', 0.97, 'refused'), ('deblur', 'mixed', 0.97, 'reported'),
    ('deblur', 'clean', 0.57, 'reported'), ('deblur', 'clean', 0.97, 'refused'),
    ('compression', 'clean', 0.97, 'refused'), ('sr', 'deblur', CERTAIN, 'refused'),
    ('sr', 'deblur', CERTAIN - 0.01, 'reported'), ('compression', 'mixed', 0.97, 'reported'),
    ('deblur', 'deblur', 0.97, 'silent'),
    ('sr', 'sr', 0.97, 'silent'), ('mixed', 'clean', 0.97, 'reported'),
    ('mixed', 'compression', 0.97, 'silent')])
def test_weights_are_held_to_the_degradation(task, kind, share, outcome):
    restorer = make_restorer()
    restorer.name = task

    def choice(force: bool = False):
        return restorer.choose_weights(lambda: found(kind, share), force=force)

    if outcome == 'refused':
        with pytest.raises(TaskError, match=r'(?s)but found in the faces.*--task auto.*--force-task') as told:
            choice()
        assert '\n' not in told.value.found and choice(force=True).message == told.value.found
    else:
        assert bool(choice().message) == (outcome == 'reported') and choice().restores


def test_weights_of_ones_own_are_not_held_to_anything():
    def look():
        raise AssertionError('nobody needs to look')
    assert make_restorer().choose_weights(look, force=False).degradation is None


def test_the_bar_of_the_analysis_is_full_at_the_end(home, talk, tmp_path, monkeypatch, capsys):
    """It ended one frame before the last sample, after which nothing is read."""
    monkeypatch.setattr(weight_selection, 'estimate', lambda crops: found('compression', len([*crops]) / 11))
    assert cli.main(['restore', str(talk), '--task', 'deblur', '-o', str(tmp_path / 'out.mp4')]) == 2
    assert 'analysing faces: 100%' in capsys.readouterr().err


def test_the_wrong_task_is_refused_on_the_command_line(home, talk, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weight_selection, 'estimate', lambda crops: found('compression', 0.97))
    out = tmp_path / 'out.mp4'
    assert cli.main(['restore', str(talk), '--task', 'deblur', '-o', str(out)]) == 2
    said = capsys.readouterr().err
    assert 'are for blur, but found in the faces: compression artifacts (97 %)' in said
    assert '--force-task' in said and not out.exists()
    assert cli.main(['restore', str(talk), '--task', 'deblur', '-o', str(out), '--force-task']) == 0
    report = json.loads((tmp_path / 'out.mp4.json').read_text())
    assert any('are for blur' in notice for notice in report['notices'])
    assert report['degradation']['kind'] == 'compression' and report['settings']['force_task']


def test_a_preview_does_not_stand_in_for_the_whole(tmp_path):
    """A folder restored after a preview is restored whole, and what previews made is not an input."""
    weights = tmp_path / 'w.safetensors'
    make_restorer(20.).save(weights)
    talks = tmp_path / 'talks'
    talks.mkdir()
    write_video(talks / 'a.mp4', 12, audio=None)
    for options in (['--preview', '0.2', '--compare', 'side'], []):
        assert cli.main(['restore', str(talks), '--weights', str(weights), *options]) == 0
    assert sorted(path.name for path in talks.glob('*.mp4')) == [
        'a.mp4', 'a_gavn.mp4', 'a_gavn_preview.mp4', 'a_gavn_preview_compare.mp4']
    assert len(list(read_frames(talks / 'a_gavn.mp4'))) == 12
    assert len(list(read_frames(talks / 'a_gavn_preview.mp4'))) == 5


def test_the_report_shows_each_face(talk, tmp_path, monkeypatch):
    """Its box as --box takes it, in pixels of the input, and a small image."""
    monkeypatch.undo()
    report = restored(talk, tmp_path / 'out.mp4', PLAIN, box=FACE, scale='2')
    [face] = report.faces
    assert face['box'] == [FACE.x0, FACE.y0, FACE.width, FACE.height] and face['box_frame'] == 0
    assert face['thumbnail'].startswith('data:image/jpeg;base64,') and face['height'] == FACE.height
    assert len(face['thumbnail']) < 8000


def test_faces_keep_their_thumbnails_where_they_are_found():
    faces = follow_faces([frame(at(20 + index)) for index in range(12)], Detector(), min_face=20)
    [face] = Faces.from_json(faces.to_json()).faces
    assert face == faces.faces[0] and face.thumbnail.startswith('data:image/jpeg')
    assert face.surest in face.span
