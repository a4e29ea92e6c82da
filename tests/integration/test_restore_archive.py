"""An archive is restored in independent tasks: the bytes of one machine, whatever fails or is killed."""
import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from restore_fakes import fixed_face, make_restorer, write_video

from gavn.cli import main as cli
from gavn.errors import ExitCode, InputPathError
from gavn.restoration import job, restore_video, resume_state
from gavn.restoration.output_path import OutputPathError
from gavn.restoration.settings import Settings
from gavn.runtime.exit_codes import code_of

pytest.importorskip('datatrove', reason='needs datatrove: pip install "gavn[cluster]"')

from datatrove.io import get_datafolder

from gavn.restoration import archive_report, archive_steps
from gavn.restoration.archive import Archive
from gavn.restoration.restorer_spec import RestorerSpec
from gavn.runtime.executors import MAX_TASKS, Executor

SEGMENT_FRAMES = 7
LENGTHS = {'a.mp4': 4, 'deep/b.mkv': 6, 'deep/er/long video.mp4': 40}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(resume_state, 'SEGMENT_FRAMES', SEGMENT_FRAMES)
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(3, 20), cuts=(12,)))
    monkeypatch.setattr(archive_steps, '_PAUSE', 0.01)


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(20, ('lq', 'audio')).save(path)
    return path


@pytest.fixture(scope='module')
def talks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('talks')
    for name, frames in LENGTHS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, frames, 1.)
    (folder / 'notes.txt').write_text('no video')
    return folder


@pytest.fixture(scope='module')
def whole(talks, tmp_path_factory) -> dict[str, bytes]:
    """The outputs of `restore_video`."""
    out = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resume_state, 'SEGMENT_FRAMES', SEGMENT_FRAMES)
        patched.setattr(job, 'follow_faces', fixed_face(absent=(3, 20), cuts=(12,)))
        for name in LENGTHS:
            target = out / output_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            restore_video.restore_video(talks / name, target, make_restorer(20, ('lq', 'audio')), Settings())
    return outputs(out)


def output_name(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return f'{stem}_gavn{ending}'


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*')
            if path.suffix in ('.mp4', '.mkv')}


def listed(source: Path | str, output: Path | str, weights: Path, tasks: int = 2) -> Archive:
    spec = RestorerSpec(weights=str(weights))
    return Archive(str(source), str(output), spec, Settings(), piece=2 * SEGMENT_FRAMES).listed(tasks)


def run(archive: Archive, retry: bool = False, only: tuple[str, ...] = ()) -> dict:
    logs = archive.outputs.resolve_paths(f'{archive.work}/logs')
    stages = archive_steps.stages(archive, 1, retry)
    Executor().run('restore', [stage for stage in stages if not only or stage.name in only], logs)
    return archive_report.read_summary(archive) if archive.outputs.exists('report.json') else {}


def records(archive: Archive, stage: str) -> dict[str, dict]:
    recorded = archive.records(stage)
    return {record['file']: record for rank in range(archive.tasks) for record in recorded.of(rank)}


def record_file(archive: Archive, stage: str, rank: int) -> Path:
    (path,) = Path(archive.output, archive.work, 'records').glob(f'{stage}_{rank:05d}.*')
    return path


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob('*.gavn'))


def test_the_bytes_are_those_of_one_machine(talks, whole, weights, tmp_path):
    summary = run(listed(talks, tmp_path, weights))
    assert outputs(tmp_path) == whole and states(tmp_path) == ['.gavn']
    assert summary['done'] == 3 and summary['frames'] == 50 and summary['hours'] == pytest.approx(2 / 3600)
    with (tmp_path / 'report.csv').open(newline='', encoding='utf-8') as file:
        rows = {row['file']: row for row in csv.DictReader(file)}
    assert rows.keys() == LENGTHS.keys() and {row['status'] for row in rows.values()} == {'done'}
    assert json.loads((tmp_path / 'report.json').read_text())['videos'][0]['frames_per_second'] > 0
    report = json.loads((tmp_path / 'deep/er/long video_gavn.mp4.json').read_text())
    assert report['source'] == str(talks / 'deep/er/long video.mp4') and report['resumed'] == 40
    assert report['resumed_seconds'] > 0
    assert not [notice for notice in report['notices'] if 'resuming' in notice]  # nothing was interrupted


def test_a_long_video_is_shared_by_tasks(talks, whole, weights, tmp_path):
    archive = listed(talks, tmp_path, weights, tasks=3)
    run(archive, only=('videos',))
    assert states(tmp_path) == ['.gavn', 'long video_gavn.mp4.gavn']
    pieces = list(archive_steps.RestorePieces(archive, 1).pieces())
    assert [piece for _, piece in pieces] == [range(0, 14), range(14, 28), range(28, 40)]
    for rank in (2, 0, 1):  # in any order
        list(archive_steps.RestorePieces(archive, 1).run(rank=rank, world_size=3))
        assert [record['first'] for record in archive.records('pieces').of(rank)] == [14 * rank]
    assert run(archive)['done'] == 3 and outputs(tmp_path) == whole


def test_what_a_killed_task_has_left_is_finished(talks, whole, weights, tmp_path):
    """One task of each stage leaves no record, half of a piece, and an incomplete line."""
    archive = listed(talks, tmp_path, weights, tasks=3)
    run(archive, only=('videos',))
    planned = [archive.records('videos').of(rank)[0]['status'] == 'planned' for rank in range(3)]
    lost = planned.index(False)
    name = next(archive.shard(lost))
    record_file(archive, 'videos', lost).write_text('[1.5, {"file": "a.m')
    (tmp_path / output_name(name)).unlink()
    step = archive_steps.RestorePieces(archive, 1)
    record, piece = next(step.pieces())
    step.restore(record, range(piece.start, piece.start + SEGMENT_FRAMES))
    run(archive, only=('finish', 'report'))
    assert outputs(tmp_path) == whole and archive_report.read_summary(archive)['done'] == 3
    report = json.loads((tmp_path / 'deep/er/long video_gavn.mp4.json').read_text())
    assert f'resuming an interrupted run: {SEGMENT_FRAMES} of 40 frames are done' in report['notices']


def test_completed_tasks_are_not_repeated(talks, weights, tmp_path, monkeypatch):
    run(listed(talks, tmp_path, weights))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*_gavn.mp4')}
    monkeypatch.setattr(archive_steps, 'local_copy', None)  # nobody reads a video
    assert run(listed(talks, tmp_path, weights))['done'] == 3
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_task_that_is_started_twice_keeps_all_records(talks, weights, tmp_path):
    """A lost process still writes; the newest record of a video counts, an incomplete line does not."""
    archive = listed(talks, tmp_path, weights)
    with archive.records('videos').writer(0) as lost, archive.records('videos').writer(0) as again:
        lost({'file': 'a.mp4', 'status': 'failed', 'reason': 'a long reason'})
        again({'file': 'b.mp4', 'status': 'done'})
        lost({'file': 'c.mp4', 'status': 'done'})
        again({'file': 'a.mp4', 'status': 'done'})
    with next((tmp_path / archive.work / 'records').iterdir()).open('a') as file:
        file.write('[1.5, {"file": "d.m')
    recorded = archive.records('videos')
    assert {record['file']: record['status'] for record in recorded.of(0)} == dict.fromkeys(
        ('a.mp4', 'b.mp4', 'c.mp4'), 'done')
    assert recorded.of(1) == []


def test_pieces_of_one_video_are_records_of_their_own(talks, weights, tmp_path):
    archive = listed(talks, tmp_path, weights)
    with archive.records('pieces').writer(0) as write:
        for first in (0, 7, 0):
            write({'file': 'a.mp4', 'status': 'done', 'first': first})
    assert [record['first'] for record in archive.records('pieces').of(0)] == [0, 7]


def test_another_listing_repeats_no_finished_video(talks, whole, weights, tmp_path, monkeypatch):
    run(listed(talks, tmp_path, weights))
    monkeypatch.setattr(archive_steps, 'local_copy', None)  # nobody reads a video
    assert run(listed(talks, tmp_path, weights, tasks=1))['done'] == 3 and outputs(tmp_path) == whole


def test_outputs_of_other_settings_or_inputs_are_told_and_kept(weights, tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    write_video(source / 'a.mp4', 4, None)
    assert run(listed(source, out, weights))['done'] == 1
    before = outputs(out)
    other = replace(listed(source, out, weights), settings=Settings(strength=0.5), tasks=2).listed(2)
    assert run(other)['skipped'] == 1
    reason = f'{out}/a_gavn.mp4 exists and was made with different settings\n'
    assert records(other, 'finish')['a.mp4']['reason'].startswith(reason)
    make_restorer(10, ('lq', 'audio')).save(tmp_path / 'w.safetensors')
    other = listed(source, out, tmp_path / 'w.safetensors')
    assert run(other)['skipped'] == 1
    assert 'with different weights' in records(other, 'finish')['a.mp4']['reason']
    write_video(source / 'a.mp4', 5, None)
    same = listed(source, out, weights)
    assert run(same)['skipped'] == 1 and outputs(out) == before
    assert 'with different input' in records(same, 'finish')['a.mp4']['reason']
    (out / 'a_gavn.mp4').unlink()
    assert run(listed(source, out, weights))['frames'] == 5
    (source / 'a.mp4').unlink()
    assert run(same)['done'] == 1  # the input is not needed any more


@pytest.mark.parametrize('stage', ['videos', 'pieces', 'finish'])
@pytest.mark.parametrize('place', ['disk', 'memory', 's3'], indirect=True)
def test_an_input_that_was_removed_fails_alone(talks, weights, place, stage):
    source = get_datafolder(f'{place}/in')
    source.fs.put(f'{talks}/', source.path, recursive=True)
    archive = listed(f'{place}/in', f'{place}/out', weights)
    name = 'deep/er/long video.mp4'
    order = ('videos', 'pieces', 'finish')
    before, after = order[:order.index(stage)], order[order.index(stage):]
    if before:
        run(archive, only=before)
    source.rm_file(name)
    summary = run(archive, only=(*after, 'report'))
    assert (summary['done'], summary['failed']) == (2, 1)
    assert records(archive, 'finish')[name]['reason'].startswith(f'{name} cannot be read: ')


def test_an_input_that_nobody_may_read_fails_alone(weights, tmp_path):
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/a.mp4', 4, None)
    (tmp_path / 'in/b.mp4').symlink_to('b.mp4')  # endless, so not even root can read it
    archive = listed(tmp_path / 'in', tmp_path / 'out', weights)
    summary = run(archive)
    assert (summary['done'], summary['failed']) == (1, 1)
    assert 'b.mp4 cannot be read: ' in records(archive, 'finish')['b.mp4']['reason']


@pytest.mark.parametrize('step', [archive_steps.RestoreVideos, archive_steps.RestorePieces])
def test_a_full_disk_stops_the_task(talks, weights, tmp_path, monkeypatch, step):
    archive = listed(talks, tmp_path, weights)
    if step is archive_steps.RestorePieces:
        run(archive, only=('videos',))

    def full(*_):
        raise resume_state.DiskError(errno.ENOSPC, 'no space left')

    for name in ('restore_video', 'restore_piece'):
        monkeypatch.setattr(archive_steps, name, full)
    with pytest.raises(resume_state.DiskError, match='no space left'):
        for rank in range(2):
            list(step(archive, 1).run(rank=rank, world_size=2))


def test_a_video_that_was_not_planned_is_left_to_the_next_run(talks, whole, weights, tmp_path):
    """A cluster continues with `finish` after a task of `videos` is lost."""
    archive = listed(talks, tmp_path, weights)
    run(archive, only=('videos',))
    ranks = [rank for rank in range(2) for record in archive.records('videos').of(rank)
             if record['status'] == 'planned']
    record_file(archive, 'videos', ranks[0]).write_text('')
    (tmp_path / archive.work / f'logs/videos/completions/{ranks[0]:05d}').unlink()
    summary = run(archive, only=('pieces', 'finish', 'report'))
    assert (summary['done'], summary['unfinished']) == (2, 1)
    record = records(archive, 'finish')['deep/er/long video.mp4']
    assert record['reason'].endswith('rerun the same command')
    assert run(archive)['done'] == 3 and outputs(tmp_path) == whole
    assert len(records(archive, 'pieces')) == 1  # of one video


def test_one_video_has_a_task_for_each_worker(weights, tmp_path):
    (tmp_path / 'in').mkdir()
    write_video(tmp_path / 'in/a.mp4', 40, None)
    archive = Archive(str(tmp_path / 'in'), str(tmp_path / 'out'), RestorerSpec(weights=str(weights)),
                      Settings(), piece=SEGMENT_FRAMES)
    assert archive.listed(None, workers=3).tasks == 3 and archive.listed(None).tasks == 1
    assert archive.listed(None, workers=5000).tasks == MAX_TASKS
    assert archive.listed(2, workers=3).tasks == 2
    archive = archive.listed(None, workers=3)
    run(archive, only=('videos',))
    pieces = list(archive_steps.RestorePieces(archive, 1).pieces())
    assert [piece for _, piece in pieces] == [range(0, 14), range(14, 28), range(28, 40)]


def test_failures_are_reported_and_tried_again_on_request(weights, tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    write_video(source / 'good.mp4', 4, None)
    (source / 'playlist.mp4').write_text("ffconcat version 1.0\nfile 'good.mp4'\n")
    write_video(source / 'taken.mp4', 4, None)
    out.mkdir()
    (out / 'taken_gavn.mp4').write_bytes(b'of somebody else')
    archive = listed(source, out, weights)
    summary = run(archive)
    assert (summary['done'], summary['failed'], summary['skipped']) == (1, 1, 1)
    reasons = {name: record['reason'] for name, record in records(archive, 'finish').items()}
    assert 'playlists are not supported' in reasons['playlist.mp4']
    assert 'taken_gavn.mp4 exists and is of another video' in reasons['taken.mp4']
    assert (out / 'taken_gavn.mp4').read_bytes() == b'of somebody else'
    write_video(source / 'playlist.mp4', 4, None)
    assert run(archive)['failed'] == 1 and run(archive, retry=True)['done'] == 2


def test_a_stopped_task_is_unfinished_in_the_report(talks, weights, tmp_path):
    archive = listed(talks, tmp_path, weights)
    run(archive)
    record_file(archive, 'finish', 0).unlink()
    assert run(archive, only=('report',))['unfinished'] == 2


def test_another_machine_must_not_mix_its_pieces_in(talks, weights, tmp_path, monkeypatch):
    archive = listed(talks, tmp_path, weights)
    run(archive, only=('videos',))
    monkeypatch.setattr(restore_video, 'versions', lambda: {'torch': 'another'})
    records = list(archive_steps.RestorePieces(archive, 1).work(0))
    assert {record['status'] for record in records} == {'failed'}
    assert 'is of a run with another search\nall machines need the same versions' in records[0]['reason']


def test_a_video_in_use_is_waited_for(talks, whole, weights, tmp_path, monkeypatch):
    archive = listed(talks, tmp_path, weights)
    real, calls = archive_steps.restore_video, []

    def busy(source, target, *args):
        calls.append(source)
        if len(calls) == 1:
            with resume_state.ResumeState.opened(target, {'job': 'of another process'}):
                return real(source, target, *args)
        return real(source, target, *args)

    monkeypatch.setattr(archive_steps, 'restore_video', busy)
    assert run(archive)['done'] == 3 and outputs(tmp_path) == whole
    assert len(calls) == 3  # two short videos, one of them twice


def test_object_storage_is_input_and_output(talks, whole, weights, place):
    storage = get_datafolder(place)
    storage.fs.put(f'{talks}/', storage.path + '/talks', recursive=True)
    archive = listed(f'{place}/talks', f'{place}/out', weights, tasks=3)
    run(archive, only=('videos',))
    state = 'deep/er/long video_gavn.mp4.gavn'
    assert {'job.json', 'faces.json'} <= {os.path.basename(file) for file in archive.outputs.find(state)}
    run(archive, only=('pieces',))
    assert len([file for file in archive.outputs.find(state) if file.endswith('.nut')]) == 6
    assert run(archive)['done'] == 3 and not archive.outputs.find(state)
    made = {name: archive.outputs.cat_file(name) for name in archive.outputs.find('')}
    assert {name: made[name] for name in whole} == whole
    report = json.loads(made['a_gavn.mp4.json'])
    assert report['source'].startswith(place[:5]) and report['source'].endswith('bucket/talks/a.mp4')
    assert run(listed(f'{place}/talks', f'{place}/out', weights, tasks=1))['done'] == 3


def test_the_command(talks, whole, weights, tmp_path, capfd):
    command = ['restore', str(talks), '-o', str(tmp_path), '--weights', str(weights), '--executor', 'local']
    assert cli.main([*command, '--tasks', '2']) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.startswith('3 done; 0.00 hours of video, ') and last.endswith('has the result of each video')
    assert outputs(tmp_path) == whole


@pytest.mark.parametrize(('extra', 'message'), [
    (['-o', '{talks}/out'], 'outputs would become inputs'), ([], 'one folder and an output folder'),
    (['-o', '{out}', '--force'], '--force does not go'),
    (['-o', '{out}', '--ext', 'png'], '--ext does not go'),
    (['-o', '{out}', '--executor', 'ray'], 'no Ray cluster is running')])
def test_arguments_fail_at_the_door(talks, weights, tmp_path, capsys, extra, message):
    command = ['restore', str(talks), '--weights', str(weights), '--executor', 'local']
    extra = [word.format(talks=talks, out=tmp_path / 'out') for word in extra]
    if 'ray' in extra:
        pytest.importorskip('ray', reason='needs ray')
    assert cli.main([*command, *extra]) in (ExitCode.USAGE, ExitCode.FAILED)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('folder', 'message'), [('none', 'is not a folder'), ('empty', 'no videos found')])
def test_an_archive_without_videos_is_an_error_of_the_input(tmp_path, folder, message):
    (tmp_path / 'empty').mkdir()
    archive = Archive(str(tmp_path / folder), str(tmp_path / 'out'), RestorerSpec(), Settings())
    with pytest.raises(InputPathError, match=f'{folder}.*{message}') as error:
        archive.listed(None)
    assert not isinstance(error.value, OutputPathError) and code_of(error.value) == ExitCode.USAGE
