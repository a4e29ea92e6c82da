import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from python_speech_features import mfcc as reference_mfcc
from raw_videos import Stub, photo, table, write_raw_video

from gavn.cli.main import main
from gavn.cli.prepare import add_arguments
from gavn.data.clip_store import ClipStore, read_meta, read_stats
from gavn.data.degradation import degrade
from gavn.data.landmark_annotator import (
    ANNOTATORS,
)
from gavn.data.preparation import Preparation, RejectedVideoError, statistics
from gavn.data.sources import (
    ClipSource,
    draw_splits,
    find_separate_audio,
    from_csv,
    from_voxceleb,
    voxceleb_splits,
)
from gavn.data.storage import STORES
from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box
from gavn.faces.tracks import Face, Faces, fixed_box
from gavn.runtime.arguments import Parser

prepare = pytest.importorskip('gavn.cli.prepare_clips', reason='needs datatrove: pip install "gavn[prepare]"')

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setitem(ANNOTATORS, 'stub', Stub)
    monkeypatch.setattr('gavn.cli.prepare.ANNOTATORS', ('stub',))
    prepare._annotator.cache_clear()
    return 'stub'


@pytest.mark.parametrize('name', ['../outside.mp4', '/data/outside.mp4', 'a/../../outside.mp4'])
def test_a_table_cannot_name_clips_outside_the_data_set(tmp_path, name):
    with pytest.raises(ValueError, match='is not a valid clip id'):
        from_csv('/videos', table(tmp_path / 't.csv', [(name, 'anna', 'train')]))


def test_the_former_name_of_annotator_gives_a_notice(capsys):
    parser = Parser()
    add_arguments(parser)
    needed = ['--videos', 'videos', '--out', 'out']
    assert parser.parse_args(needed).annotator == 'auto' and not capsys.readouterr().err
    assert parser.parse_args([*needed, '--teacher', 'dlib']).annotator == 'dlib'
    assert capsys.readouterr().err == 'notice: --teacher is now --annotator\n'


def test_a_clip_cannot_lie_inside_another(tmp_path):
    rows = [('a.mp4', 'anna', 'train'), ('a/b.mp4', 'anna', 'train')]
    with pytest.raises(ValueError, match='clip a/b would lie inside the folder of clip a'):
        from_csv('/videos', table(tmp_path / 't.csv', rows))


def test_csv(tmp_path):
    rows = [('a/one.mp4', 'anna', 'train'), ('b/two.mpg', 'bob', 'val')]
    sources = from_csv('/videos', table(tmp_path / 't.csv', rows))
    assert sources == [ClipSource('a/one', Path('/videos/a/one.mp4'), 'anna', 'train'),
                       ClipSource('b/two', Path('/videos/b/two.mpg'), 'bob', 'val')]
    assert [s.clip for s in from_csv('/videos', tmp_path / 't.csv', only='b/*')] == ['b/two']
    table(tmp_path / 't.csv', [('a.mp4', 'anna', 'train'), ('b.mp4', 'anna', 'val')])
    assert len(from_csv('/videos', tmp_path / 't.csv', known_speakers=True)) == 2


@pytest.mark.parametrize('rows, message', [
    ([('a.mp4', 'anna', 'demo')], "split 'demo'"),
    ([('a.mp4', 'anna', 'train'), ('b.mp4', 'anna', 'val')], 'speaker anna is in val and train'),
    ([('a.mp4', 'anna', 'train'), ('a.mpg', 'anna', 'train')], 'two videos would have the name a'),
    ([], 'no videos'),
])
def test_csv_that_does_not_hold(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        from_csv(tmp_path, table(tmp_path / 't.csv', rows))


def test_csv_without_columns(tmp_path):
    (tmp_path / 't.csv').write_text('file,who\na,b\n')
    with pytest.raises(ValueError, match='no column speaker, split'):
        from_csv(tmp_path, tmp_path / 't.csv')


def test_tables_of_excel(tmp_path):
    """Excel begins UTF-8 with a byte order mark; its plain CSV is not UTF-8."""
    text = 'file,speaker,split\nJürgen.mp4,j,train\n'
    (tmp_path / 't.csv').write_bytes(text.encode('utf-8-sig'))
    assert [source.clip for source in from_csv(tmp_path, tmp_path / 't.csv')] == ['Jürgen']
    (tmp_path / 't.csv').write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=r't\.csv is not UTF-8; save it as "CSV UTF-8"'):
        from_csv(tmp_path, tmp_path / 't.csv')


def test_own_videos_need_a_table_or_a_split_by_video(tmp_path):
    """The error counted speakers, which the folder of a newcomer does not have."""
    (tmp_path / 'talk.mp4').write_bytes(b'')
    with pytest.raises(ValueError, match=r'no videos in .*VoxCeleb2.*\n.*--csv, or use --split-by video'):
        voxceleb_splits(tmp_path, None, (200, 5, 20))


def test_voxceleb_layout(tmp_path):
    for speaker in range(1, 9):
        for video in ('abc', 'def'):
            for n in (1, 2):
                path = tmp_path / 'dev' / 'mp4' / f'id{speaker:05d}' / video / f'{n:05d}.mp4'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    sources = from_voxceleb(tmp_path, {'train': ['id00003'], 'test': ['id00001']})
    assert len(sources) == 8 and sources[0].clip == 'id00003/abc/00001' and sources[-1].split == 'test'
    few = from_voxceleb(tmp_path, {'train': ['id00003', 'id00004']}, clips_per_speaker=3, seed=5)
    assert [s.speaker for s in few] == ['id00003'] * 3 + ['id00004'] * 3
    assert few == from_voxceleb(tmp_path, {'train': ['id00003', 'id00004']}, clips_per_speaker=3, seed=5)
    drawn = voxceleb_splits(tmp_path, None, (4, 1, 2), seed=1)
    assert len({s.speaker for s in drawn if s.split == 'train'}) == 4 and len({s.speaker for s in drawn}) == 7
    lists = [tmp_path / f'{name}.txt' for name in ('a', 'b', 'c')]
    for path, text in zip(lists, ('id00001\nid00002\n', 'id00003\n', ''), strict=True):
        path.write_text(text)
    assert {(s.speaker, s.split) for s in voxceleb_splits(tmp_path, lists, ())} == {
        ('id00001', 'train'), ('id00002', 'train'), ('id00003', 'val')}
    with pytest.raises(ValueError, match='id99999'):
        from_voxceleb(tmp_path, {'train': ['id99999']})
    audio = tmp_path / 'dev' / 'aac' / 'id00003' / 'abc' / '00001.m4a'
    assert find_separate_audio(sources[0].path) is None
    audio.parent.mkdir(parents=True)
    audio.touch()
    assert find_separate_audio(sources[0].path) == audio


def test_splits_are_drawn_by_speaker_and_seed():
    names = [f'id{i}' for i in range(30)]
    splits = draw_splits(names, (20, 3, 5), seed=2)
    assert [len(splits[name]) for name in ('train', 'val', 'test')] == [20, 3, 5]
    assert len({name for part in splits.values() for name in part}) == 28
    assert splits == draw_splits(names, (20, 3, 5), seed=2) != draw_splits(names, (20, 3, 5), seed=3)
    with pytest.raises(ValueError, match=r'31 speakers are wanted, but there are 30\n.*--split-counts'):
        draw_splits(names, (20, 3, 8))


# ---- landmarks

def test_statistics_are_those_of_all_rows():
    parts = [np.random.default_rng(i).normal(i, 2, (50 + i, 13)).astype(np.float32) for i in range(3)]
    stats, rows = statistics(parts), np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(stats['mfcc_mean'], rows.mean(0))
    np.testing.assert_allclose(stats['mfcc_std'], rows.std(0))


def test_a_folder_is_made_of_good_and_bad_videos(tmp_path, stub, capsys):
    videos, out = tmp_path / 'videos', tmp_path / 'out'
    face, blank = photo(), np.zeros((224, 224, 3), np.uint8)
    write_raw_video(videos / 'good.mp4', [face] * 30)
    wide = np.pad(face, ((0, 0), (88, 88), (0, 0)), mode='edge')
    write_raw_video(videos / 'wide.mp4', [wide] * 36, rate=30)
    write_raw_video(videos / 'mute.mp4', [face] * 26, audio=False)
    write_raw_video(videos / 'short.mp4', [face] * 12)
    write_raw_video(videos / 'dark.mp4', [blank] * 30)
    write_raw_video(videos / 'empty.mp4', [np.zeros((200, 300, 3), np.uint8)] * 30)
    (videos / 'broken.mp4').write_bytes(b'this is no video')
    names = ('good', 'wide', 'mute', 'short', 'dark', 'empty', 'broken', 'absent')
    rows = [(f'{name}.mp4', f'speaker_{name}', 'val' if name == 'mute' else 'train') for name in names]
    arguments = ['--videos', str(videos), '--csv', str(table(tmp_path / 't.csv', rows)), '--out', str(out),
                 '--annotator', stub, '--degradations', 'blur', 'sr_x4', '--store', 'raw']
    assert main(['prepare', *arguments]) == 0
    assert '3  ok' in capsys.readouterr().out

    assert [entry.clip for entry in read_meta(out, 'train')] == ['good', 'wide']
    assert [str(entry) for entry in read_meta(out, 'val')] == ['mute 26 (224,224,3)']
    assert read_meta(out, 'train')[1].n_frames == 30  # 36 frames at 30 a second are 30 at 25
    with open(out / 'report.csv', newline='') as file:
        report = {row['clip']: row for row in csv.DictReader(file)}
    assert {clip for clip, row in report.items() if row['status'] == 'ok'} == {'good', 'wide', 'mute'}
    steps = {clip: (row['step'], row['reason']) for clip, row in report.items() if row['status'] == 'failed'}
    expected = (('short', 'crop', 'only 12 frames'), ('dark', 'landmark', 'no face in 30 of 30'),
                ('empty', 'crop', 'no face in 30 frames'), ('broken', 'crop', 'no readable media'),
                ('absent', 'crop', 'no such file'))
    for clip, step, reason in expected:
        assert steps[clip][0] == step and reason in steps[clip][1]
    assert not (out / 'gt' / 'dark').exists() and report['mute']['audio'] == 'False'

    gt, mfcc = ClipStore(out, 'gt', 'disk'), ClipStore(out, 'mfcc', 'lmdb').array('good')
    assert np.abs(gt.frame('good', 5).astype(int) - face).mean() < 4
    audio = ClipStore(out, 'audio').array('good')
    assert audio.dtype == np.int16 and len(audio) == 30 * 640 and mfcc.shape == (119, 13)
    np.testing.assert_allclose(mfcc, reference_mfcc(audio, 16000), atol=1e-3)
    assert not ClipStore(out, 'audio').array('mute').any()
    expected, _ = degrade([gt.frame('good', i) for i in range(30)], 'blur', 'good')
    assert np.array_equal(ClipStore(out, 'blur', 'lmdb').frame('good', 3), expected[3])
    assert ClipStore(out, 'blur', 'lmdb').value('good/00000003', '').startswith(STORES['raw'].mark)
    assert ClipStore(out, 'landmarks', 'lmdb').array('wide').shape == (30, 68, 2)
    stats = read_stats(out)
    assert stats['clips'] == 2 and stats['mfcc_columns'] == 2 * 119
    wide = gt.frame('wide', 0)
    assert wide.shape == (224, 224, 3) and np.abs(wide.astype(int) - face).mean() > 4  # cropped anew

    before = (out / 'gt' / 'good' / '00000000.png').stat().st_mtime_ns
    write_raw_video(videos / 'short.mp4', [face] * 40)
    assert main(['prepare', *arguments]) == 0 and len(read_meta(out, 'train')) == 2
    assert main(['prepare', *arguments, '--retry']) == 0
    assert [entry.clip for entry in read_meta(out, 'train')] == ['good', 'wide', 'short']
    assert (out / 'gt' / 'good' / '00000000.png').stat().st_mtime_ns == before
    assert ClipStore(out, 'gt', 'lmdb').frame('short', 39).shape == (224, 224, 3)


def test_crop_modes(tmp_path):
    face = photo(112)
    path = write_raw_video(tmp_path / 'a.mp4', [face] * 26)
    source = ClipSource('a', path, 'x', 'train')

    def no_track(_):
        raise AssertionError('must not be tracked')

    Preparation(tmp_path / 'kept', size=64, mode='none').crop(source, no_track)
    assert ClipStore(tmp_path / 'kept', 'gt').frame('a', 0).shape == (64, 64, 3)
    Preparation(tmp_path / 'auto', size=112).crop(source, no_track)
    assert ClipStore(tmp_path / 'auto', 'gt').frame('a', 0).shape == (112, 112, 3)
    small = fixed_box(Box(40, 40, 54, 54), 26, (112, 112))
    with pytest.raises(RejectedVideoError, match='20 pixels wide'):
        Preparation(tmp_path / 'face', mode='face').crop(source, lambda images: small)
    path = write_raw_video(tmp_path / 'b.mp4', [np.zeros((64, 96, 3), np.uint8)] * 26)
    wide = ClipSource('b', path, 'x', 'train')
    with pytest.raises(RejectedVideoError, match='96x64 are not square'):
        Preparation(tmp_path / 'kept', size=64, mode='none').crop(wide, no_track)
    with pytest.raises(ValueError, match='blurr'):
        Preparation(tmp_path, degradations=('blurr',))


def test_a_changed_request_makes_a_clip_again(tmp_path):
    """Old crops stayed, and a clip that moved to the training data stayed in the validation."""
    images = [np.full((64, 64, 3), 40 + i, np.uint8) for i in range(60)]
    path, root = write_raw_video(tmp_path / 'v.mp4', images), tmp_path / 'out'

    def prepare(size: int, splits: str, stop: float | None = None) -> None:
        made = Preparation(root, size=size, mode='none')
        sources = [ClipSource(clip, path, clip, split, 0., stop) for clip, split in zip('ab', splits.split(),
                                                                                        strict=True)]
        for source in sources:
            made.crop(source, None)
            made.extract_features(source.clip)
            made.records.update(source.clip, status='ok')
        assert made.finish(sources) == 2

    prepare(64, 'train val')
    (root / 'blur/a').mkdir(parents=True)
    before = (root / 'gt/a/00000000.png').stat().st_mtime_ns
    prepare(64, 'train val')
    assert (root / 'gt/a/00000000.png').stat().st_mtime_ns == before and (root / 'blur/a').is_dir()
    prepare(32, 'train train', 1.2)
    assert [(entry.clip, entry.n_frames, entry.shape) for entry in read_meta(root, 'train')] == [
        ('a', 30, (32, 32, 3)), ('b', 30, (32, 32, 3))]
    assert not (root / 'meta_info_val.txt').exists() and not (root / 'blur/a').exists()
    assert len(ClipStore(root, 'mfcc', 'disk').array('a')) == 4 * 30 - 1


def test_audio_and_landmarks_follow_the_longest_segment(tmp_path):
    images = [np.full((64, 64, 3), 40 + i, np.uint8) for i in range(60)]
    source = ClipSource('a', write_raw_video(tmp_path / 'a.mp4', images), 'x', 'train')
    face = Face(0, range(20, 50), Boxes.repeated(Box(0, 0, 64, 64), 30), 1.)
    made = Preparation(tmp_path / 'out', size=64, mode='face')
    made.crop(source, lambda images: Faces((face,), 60, (64, 64)))
    whole = Preparation(tmp_path / 'whole', size=64, mode='none')
    whole.crop(source, None)
    levels = [ClipStore(made.root, 'gt').frame('a', i).mean() for i in (0, 29)]
    assert levels == pytest.approx([60, 89], abs=3) and made.length('a') == 30
    audio = ClipStore(whole.root, 'audio').array('a')
    assert np.array_equal(ClipStore(made.root, 'audio').array('a'), audio[20 * 640:50 * 640])


def test_a_killed_run_resumes_where_it_was(tmp_path):
    """SIGKILL after the first clip; the same command again completes without doing that clip anew."""
    pytest.importorskip('dlib')
    videos, out = tmp_path / 'videos', tmp_path / 'out'
    face = photo()
    rows = []
    for name in ('a', 'b', 'c'):
        write_raw_video(videos / f'{name}.mp4', [face] * 40)
        rows.append((f'{name}.mp4', name, 'train'))
    arguments = ['--videos', str(videos), '--csv', str(table(tmp_path / 't.csv', rows)), '--out', str(out),
                 '--annotator', 'dlib', '--degradations', 'sr']
    script = ROOT / 'scripts' / 'prepare' / 'prepare.py'
    process = subprocess.Popen([sys.executable, str(script), *arguments], start_new_session=True,
                               cwd=tmp_path, stderr=subprocess.DEVNULL)
    record = out / '.prepare' / 'records' / 'a.json'
    while process.poll() is None and not (record.is_file() and 'status' in record.read_text()):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert json.loads(record.read_text())['status'] == 'ok' and not (out / 'meta_info_train.txt').exists()
    files = [path for path in out.rglob('*') if path.is_file() and path.stem != 'task_00000' and (
        path.stem == 'a' or path.parent.name == 'a')]
    before = {path: path.stat().st_mtime_ns for path in files if '.prepare' not in path.parts}
    assert len(before) == 2 * 40 + 3
    assert main(['prepare', *arguments]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert [entry.clip for entry in read_meta(out, 'train')] == ['a', 'b', 'c']
    assert ClipStore(out, 'sr', 'lmdb').frame('c', 39).shape == (224, 224, 3)


def test_arguments_fail_at_the_door(tmp_path, capsys):
    rows = table(tmp_path / 't.csv', [('a.mp4', 'anna', 'train')])
    for extra, message in ((['--degradations', 'carr'], 'did you mean'), (['--only', 'z*'], 'no videos')):
        arguments = ['--videos', str(tmp_path), '--csv', str(rows), '--out', str(tmp_path / 'o'), *extra]
        assert main(['prepare', *arguments]) == 2 and message in capsys.readouterr().err
    assert not (tmp_path / 'o').exists()


def test_slurm_is_one_option_away(tmp_path, monkeypatch, stub):
    from datatrove.executor import SlurmPipelineExecutor
    made = []

    class Fake(SlurmPipelineExecutor):
        def __init__(self, pipeline, **options):
            super().__init__(pipeline, **options)
            made.append((pipeline, options))

        def run(self):
            made.append('submitted')

    monkeypatch.setattr('datatrove.executor.SlurmPipelineExecutor', Fake)
    rows = table(tmp_path / 't.csv', [('a.mp4', 'anna', 'train'), ('b.mp4', 'bob', 'val')])
    arguments = ['--videos', str(tmp_path), '--csv', str(rows), '--out', str(tmp_path / 'o')]
    arguments += ['--annotator', stub, '--executor', 'slurm', '--slurm-partition', 'fast', '--workers', '7']
    assert main(['prepare', *arguments, '--cpus-per-task', '3']) == 0
    (steps, options), (last, after), submitted = made
    assert [step.name for step in steps] == ['videos', 'crop', 'landmark', 'mfcc', 'degrade', 'done']
    assert options['tasks'] == options['workers'] == 2 and options['partition'] == 'fast'
    assert options['cpus_per_task'] == 3 and not after['run_on_dependency_fail']
    assert [step.name for step in last] == ['finish'] and after['depends'] and submitted == 'submitted'
