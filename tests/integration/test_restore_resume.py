"""A restoration that is killed resumes, and its file equals that of an uninterrupted run."""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from media_files import make_file
from restore_fakes import FACE, fixed_face, make_restorer, write_video

from gavn.faces.box_array import Boxes
from gavn.faces.tracks import ChoiceError, Face
from gavn.media import probe, read_frames
from gavn.restoration import job as restoration
from gavn.restoration import restore_video, resume_state
from gavn.restoration.audio_features import silent_features
from gavn.restoration.face_clip import FaceClipRestorer, FrameBuffer, _warmup_start, warmup_frames
from gavn.restoration.output_path import OutputPathError
from gavn.restoration.report import Report
from gavn.restoration.settings import Settings
from gavn.runtime import memory
from gavn.runtime.windows import Layout

FRAMES, SEGMENT_FRAMES = 30, 7
KILLED = Path(__file__).parents[1] / 'helpers/killed_restore.py'


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(resume_state, 'SEGMENT_FRAMES', SEGMENT_FRAMES)
    monkeypatch.setattr(restoration, 'follow_faces', fixed_face(absent=(3, 20), cuts=(12,)))


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'in.mp4', FRAMES, audio=1.2)


def restore(source: Path, target: Path, **options) -> Report:
    settings = Settings(**options.pop('settings', {}))
    return restore_video.restore_video(source, target, make_restorer(inputs=('lq', 'audio')), settings,
                                       **options)


def test_pieces_do_not_show(source, tmp_path, monkeypatch):
    """What is added to a frame does not depend on how the video is divided, down to one frame a piece."""
    restorer = make_restorer(inputs=('lq', 'audio'))
    network = restorer.networks['network_g']
    monkeypatch.setattr(network, 'forward', lambda lq, audio: sum(
        lq[:, i:i + 3] * weight for i, weight in enumerate((0.1, 0.2, 0.4, 0.1, 0.2))))
    faces = fixed_face(absent=(3, 20), cuts=(12,))(frame.image for frame in read_frames(source))
    faces = replace(faces, faces=(*faces.faces, Face(9, range(5, 27), Boxes.repeated(FACE, 22), 1.)))
    changes = []
    for length in (FRAMES, 7, 1):
        buffer, clip_restorer, added = (
            FrameBuffer(read_frames(source)),
            FaceClipRestorer(restorer, silent_features(tmp_path), faces),
            [],
        )
        for start in range(0, FRAMES, length):
            part = range(start, min(start + length, FRAMES))
            added += [[clip_restorer.patch(frame, *change).change for change in changes]
                      for frame, changes in clip_restorer.changes(buffer, part)]
            assert len(buffer) <= warmup_frames(restorer.layout) + 2 * 5 + 1
        changes.append(added)
    assert max(np.abs(patch).max() for patches in changes[0] for patch in patches) > 5
    for divided in changes[1:]:
        assert all(np.array_equal(a, b) for one, other in zip(changes[0], divided, strict=True)
                   for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('layout', [Layout(1, 2), Layout(3, 2), Layout(3, 7), Layout(6, 0)])
def test_the_lead_holds_the_context_of_any_window(layout):
    for first in range(40):
        aligned = first - first % layout.outputs
        begin = _warmup_start(first, layout)
        assert begin % layout.outputs == 0 and first - begin <= warmup_frames(layout)
        assert begin == 0 or aligned - begin >= layout.context


def killed(source: Path, target: Path, after: int) -> None:
    """A restoration in a process of its own, killed when so many pieces are finished."""
    arguments = [sys.executable, str(KILLED), str(source), str(target), str(SEGMENT_FRAMES)]
    folder = target.with_name(f'{target.name}.gavn')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env=environment) as job:
        while len(list(folder.glob('[0-9]*.json'))) < after and job.poll() is None:
            time.sleep(0.01)
        assert job.poll() is None, job.stderr.read().decode()
        job.send_signal(signal.SIGKILL)


def test_a_killed_run_ends_with_the_same_file(source, tmp_path, caplog):
    whole, resumed = tmp_path / 'whole.mp4', tmp_path / 'resumed.mp4'
    report = restore(source, whole)
    killed(source, resumed, after=2)
    assert not resumed.exists()
    again = restore(source, resumed)
    assert SEGMENT_FRAMES <= again.resumed < FRAMES and 'resuming an interrupted run' in caplog.text
    assert resumed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['resumed.mp4', 'whole.mp4']
    assert (again.restored, again.passed_through) == (report.restored, report.passed_through) == (28, 2)
    assert [face['before'] for face in again.faces] == [face['before'] for face in report.faces]


def interrupted(source: Path, target: Path, monkeypatch, after: int = 2, **options) -> Path:
    """Stops a restoration when so many pieces are finished; returns its state folder."""
    real = resume_state.ResumeState.finish

    def finish(self, part, notes):
        real(self, part, notes)
        if part.start // SEGMENT_FRAMES + 1 == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(resume_state.ResumeState, 'finish', finish)
        restore(source, target, **options)
    return target.with_name(f'{target.name}.gavn')


def test_other_settings_begin_anew(source, tmp_path, monkeypatch):
    target = tmp_path / 'out.mp4'
    folder = interrupted(source, target, monkeypatch)
    assert json.loads((folder / 'job.json').read_text())['settings']['strength'] == 1
    assert restore(source, target, settings={'strength': 0.5}).resumed == 0


def test_compiled_networks_do_not_resume_segments_of_others(source, tmp_path, monkeypatch):
    target = tmp_path / 'out.mp4'
    interrupted(source, target, monkeypatch)
    restorer = make_restorer(inputs=('lq', 'audio'))
    restorer.compile = 'default'
    assert restore_video.restore_video(source, target, restorer, Settings()).resumed == 0


def test_faces_that_were_written_otherwise_are_looked_for_anew(source, tmp_path, monkeypatch):
    target = tmp_path / 'out.mp4'
    folder = interrupted(source, target, monkeypatch)
    job = json.loads((folder / 'job.json').read_text())
    del job['search']['form']  # as before there was one
    (folder / 'job.json').write_text(json.dumps(job))
    (folder / 'faces.json').write_text(json.dumps({'faces': [{'boxes': [[1, 2, 3, 4]]}]}))
    report = restore(source, target)
    assert (report.resumed, report.restored) == (0, 28)


def test_freed_memory_is_given_back_after_each_step_and_every_piece(source, tmp_path, monkeypatch):
    given, steps = [], 5
    monkeypatch.setattr(memory, 'trim_memory', lambda: given.append(0))
    restore(source, tmp_path / 'out.mp4')
    assert len(given) == steps + -(-FRAMES // SEGMENT_FRAMES)


def test_resuming_can_be_declined(source, tmp_path, monkeypatch):
    target = tmp_path / 'out.mp4'
    interrupted(source, target, monkeypatch)
    assert restore(source, target, resume=False).resumed == 0


def test_a_folder_that_is_no_resume_state_is_left_alone(source, tmp_path):
    precious = tmp_path / 'out.mp4.gavn' / 'diary.txt'
    precious.parent.mkdir()
    precious.write_text('dear diary')
    with pytest.raises(OutputPathError, match='is not the state of an interrupted run'):
        restore(source, tmp_path / 'out.mp4')
    assert precious.read_text() == 'dear diary'


def test_two_processes_do_not_make_one_file(source, tmp_path, monkeypatch):
    target = tmp_path / 'out.mp4'
    interrupted(source, target, monkeypatch)
    job = json.loads((tmp_path / 'out.mp4.gavn/job.json').read_text())
    with (
        resume_state.ResumeState.opened(target, job),
        pytest.raises(OutputPathError, match='another process'),
    ):
        restore(source, target)


def test_a_preview_is_the_beginning(source, tmp_path):
    report = restore(source, tmp_path / 'out.mp4', settings={'preview': 0.4})
    assert report.frames_in == report.frames_out == 10
    frames = list(read_frames(tmp_path / 'out.mp4'))
    assert [frame.time for frame in frames] == [frame.time for frame in list(read_frames(source))[:10]]
    assert probe(tmp_path / 'out.mp4').audio_tracks and probe(tmp_path / 'out.mp4').duration < 0.5


def test_an_unknown_face_does_not_cost_the_search(tmp_path, monkeypatch):
    searches = []

    def follow(frames, **options):
        searches.append(options)
        return fixed_face(cuts=(4,))(frames)

    monkeypatch.setattr(restoration, 'follow_faces', follow)
    source, target = write_video(tmp_path / 'in.mp4', 8, audio=None), tmp_path / 'out.mp4'
    for wrong in ('7', '0,2'):
        with pytest.raises(ChoiceError, match=r'\nthe faces are kept in .*out.mp4.gavn'):
            restore(source, target, settings={'faces': wrong})
    report = restore(source, target, settings={'faces': '1', 'strength': 0.5})
    assert len(searches) == 1 and report.restored == 4 and report.cuts == [4] and report.coverage == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ['in.mp4', 'out.mp4']
    with pytest.raises(ChoiceError):
        restore(source, tmp_path / 'b.mp4', settings={'faces': '7'})
    restore(source, tmp_path / 'b.mp4', settings={'min_face': 20.})
    assert len(searches) == 3  # what is searched for has changed


def test_the_report_describes_the_source(tmp_path):
    source = make_file(tmp_path / 'in.mp4', range(0, 12000, 1200), size=(96, 80), color_trc=16)
    report = restore(source, tmp_path / 'out.mp4')
    assert (report.input['width'], report.input['height'], report.input['hdr']) == (96, 80, True)
    assert any('is HDR' in notice for notice in report.notices)
    assert {'numpy', 'opencv', 'onnxruntime'} <= report.versions.keys()
