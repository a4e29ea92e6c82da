"""`gavn evaluate`: videos and folders of images in numbers; inputs that do not match get a message."""
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gavn.archs.syncnet_arch import SyncNet
from gavn.cli import evaluate as verb
from gavn.cli import evaluate_clips
from gavn.cli import main as cli
from gavn.data.clip_pairs import collect, pair
from gavn.experiments.report.make import make_tables
from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box
from gavn.faces.tracker import NoFace
from gavn.faces.tracks import Face, Faces
from gavn.media import VideoWriter, read_frames
from gavn.metrics import clip_metrics
from gavn.metrics.results_file import DEGRADED, TRUTH, read_results
from gavn.metrics.table import METRICS, STANDARD

SIDE = 32


@pytest.fixture(autouse=True)
def no_models(tmp_path, monkeypatch):
    monkeypatch.setenv('GAVN_HOME', str(tmp_path / 'nothing_fetched'))


def frames(count: int, side: int = SIDE, noise: int = 0, width: int | None = None) -> list[np.ndarray]:
    """A drifting texture, with some noise in it."""
    draw = np.random.default_rng(noise)
    base = np.random.default_rng(9).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    base = cv2.GaussianBlur(base, (0, 0), 2)
    base = cv2.normalize(base, None, 0, 255, cv2.NORM_MINMAX)
    images = [base[i:i + side, 2 * i:2 * i + (width or side)] for i in range(count)]
    return [(image + draw.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8) for image in images]


def write_images(folder: Path, images: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f'{index:08d}.png'), image)
    return folder


def write_video(path: Path, images: list[np.ndarray], rate: int = 25, audio: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    samples = round(len(images) * 16000 / rate)
    voice = (9000 * np.sin(np.arange(samples) ** 1.3 / 50)).astype(np.int16) if audio else None
    with VideoWriter(path, width, height, rate, voice, crf=1) as writer:
        for image in images:
            writer.write(image)
    return path


def run(*args, capsys=None):
    code = cli.main(['evaluate', *map(str, args)])
    return (code, capsys.readouterr()) if capsys else code


def test_folders_of_images(tmp_path, capsys):
    for clip, count in (('anna/1', 3), ('bob', 1)):
        for name, noise in (('restored', 4), ('lq', 12), ('gt', 0)):
            write_images(tmp_path / name / clip, frames(count, noise=noise))
    out = tmp_path / 'new' / 'r.csv'
    out.parent.mkdir()
    code, said = run(tmp_path / 'restored', '--reference', tmp_path / 'gt', '--degraded', tmp_path / 'lq',
                     '--metrics', 'psnr', 'ssim', 'niqe', '--method', 'Peer', '-o', out, capsys=capsys)
    assert code == 0, said.err
    rows = {(row.run.method, row.clip): row for row in read_results(out)}
    assert len(rows) == 3 * 4 and rows['Peer', 'anna/1'].frames == 3
    assert {row.run.dataset for row in rows.values()} == {'restored'}
    expected = 20 * np.log10(255 / 4)
    assert rows['Peer', 'mean'].values['psnr'] == pytest.approx(expected, abs=0.5)
    assert rows[DEGRADED, 'mean'].values['psnr'] == pytest.approx(20 * np.log10(255 / 12), abs=0.5)
    assert 'psnr' not in rows[TRUTH, 'mean'].values
    assert rows['Peer', 'bob'].values['niqe'] is None and 'two blocks' in rows['Peer', 'bob'].notes
    table = said.out.splitlines()
    assert table[0].split() == ['PSNR', 'SSIM', 'NIQE']
    assert re.match(r'Peer +3\d\.\d\d ± 0\.\d\d +0\.\d{4} ± 0\.\d{4} +n/a$', table[1])
    assert table[3].split() == ['ground', 'truth', 'n/a']
    assert 'note: niqe: NIQE needs two blocks' in said.out and 'r.csv: 2 clips' in said.out


def test_videos_with_all_metrics(tmp_path, capsys):
    """Two videos of other names go together; what lacks weights reads n/a, and identity is left out."""
    restored = write_video(tmp_path / 'a' / 'mine.mp4', frames(3, 192, noise=4))
    truth = write_video(tmp_path / 'b' / 'theirs.mkv', frames(3, 192), audio=True)
    code, said = run(restored, '--reference', truth, '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 0, said.err
    ours, *_, true = (row for row in read_results(tmp_path / 'r.csv') if row.is_clip)
    assert (ours.run.dataset, ours.run.method, ours.clip, ours.frames) == ('a', 'restored', 'mine', 3)
    assert set(ours.values) == {'psnr', 'ssim', 'psnr_y', 'ssim_y', 'ms_ssim', 'lpips', 'niqe', 'sync_c',
                                'sync_d', 'warp'}
    assert [column for column, value in ours.values.items() if value is None] == ['lpips', 'sync_c', 'sync_d']
    assert 'gavn models fetch syncnet' in ours.notes and 'gavn models fetch alexnet' in ours.notes
    assert true.run.method == TRUTH and set(true.values) == {'niqe', 'sync_c', 'sync_d', 'warp'}
    assert ours.values['warp'] > true.values['warp'] > 0


def test_without_a_reference_only_what_needs_none(tmp_path):
    source = write_video(tmp_path / 'v.mp4', frames(2, 192))
    assert run(source, '-o', tmp_path / 'r.csv') == 0
    rows = read_results(tmp_path / 'r.csv')
    assert {row.run.method for row in rows} == {'restored'}
    assert set(rows[0].values) == {'niqe', 'sync_c', 'sync_d', 'warp'}


def test_results_are_called_as_tables_need_it(tmp_path):
    for name in ('restored', 'gt'):
        write_images(tmp_path / name / 'anna', frames(1))
    assert run(tmp_path / 'restored', '--reference', tmp_path / 'gt', '--metrics', 'psnr', '--method', 'EDVR',
               '--dataset', 'speakers', '--degradation', 'car_crf45', '-o', tmp_path / 'r.csv') == 0
    assert {(row.run.dataset, row.run.degradation, row.run.method) for row in read_results(tmp_path / 'r.csv')
            } == {('speakers', 'car_crf45', name) for name in ('EDVR', TRUTH)}
    assert list(make_tables([tmp_path / 'r.csv'])) == [1]


# ---- audio and time

class Counting:
    """Stands in for the score: counts the images, and gives the samples of its audio."""

    def __init__(self, network, device):
        self.count = 0

    def update(self, image):
        self.count += 1

    def result(self, audio):
        return type('Result', (), {'confidence': float(self.count), 'distance': float(len(audio))})


@pytest.fixture
def syncnet(tmp_path, monkeypatch):
    torch.save(SyncNet().state_dict(), tmp_path / 'syncnet.pth')
    monkeypatch.setattr(clip_metrics, 'SyncScore', Counting)
    return f'syncnet={tmp_path / "syncnet.pth"}'


@pytest.mark.parametrize(('rate', 'count'), [(25, 10), (50, 20), (10, 4)])
def test_synchrony_uses_25_frames_a_second_and_existing_audio(tmp_path, syncnet, rate, count):
    quiet = write_video(tmp_path / 'quiet.mp4', frames(count), rate)
    loud = write_video(tmp_path / 'loud.mp4', frames(count), rate, audio=True)
    assert run(quiet, '--reference', loud, '--metrics', 'sync', '--weights', syncnet,
               '-o', tmp_path / 'r.csv') == 0
    for row in read_results(tmp_path / 'r.csv'):
        if row.is_clip:
            assert row.frames == count and row.values['sync_c'] == 10
            assert abs(row.values['sync_d'] - 6400) < 1100


def test_clips_that_cannot_be_in_sync_say_why(tmp_path, syncnet):
    write_video(tmp_path / 'c' / 'silent.mp4', frames(8))
    write_video(tmp_path / 'c' / 'wide.mp4', frames(8, width=48), audio=True)
    assert run(tmp_path / 'c', '--metrics', 'sync', '--weights', syncnet, '-o', tmp_path / 'r.csv') == 0
    silent, wide, mean, _ = read_results(tmp_path / 'r.csv')
    assert silent.notes == 'sync_c, sync_d: the clip has no audio'
    assert 'square crops of a face, the images are 48x32' in wide.notes
    assert mean.values == {'sync_c': None, 'sync_d': None}


def test_a_clip_shorter_than_syncnets_window_is_measured_otherwise(tmp_path):
    torch.save(SyncNet().state_dict(), tmp_path / 's.pth')
    source = write_video(tmp_path / 'v.mp4', frames(1, 192), audio=True)
    assert run(source, '--metrics', 'niqe', 'sync', 'warp', '--weights', f'syncnet={tmp_path / "s.pth"}',
               '-o', tmp_path / 'r.csv') == 0
    row = read_results(tmp_path / 'r.csv')[0]
    assert row.values['niqe'] > 0 and row.values['sync_c'] is row.values['warp'] is None
    assert 'it needs 6 frames with audio' in row.notes and 'warp: it needs two frames' in row.notes


def test_the_face_is_cropped_where_the_truth_shows_it(tmp_path, syncnet, monkeypatch):
    def track(images):
        list(images)
        face = Face(0, range(5, 10), Boxes.repeated(Box(10, 10, 20, 20), 5), 1.)
        return Faces((face,), 10, (96, 64))

    monkeypatch.setattr(evaluate_clips, 'follow_main_face', track)
    truth = write_video(tmp_path / 't.mp4', frames(10, 64, width=96), audio=True)
    restored = write_video(tmp_path / 'r.mp4', frames(10, 64, width=96, noise=3), audio=True)
    assert run(restored, '--reference', truth, '--metrics', 'psnr', 'sync', '--weights', syncnet,
               '--crop-face', '-o', tmp_path / 'r.csv') == 0
    row = read_results(tmp_path / 'r.csv')[0]
    assert (row.frames, row.notes) == (5, 'only frames 5 to 9 of 10')
    assert row.values['sync_c'] == 5 and abs(row.values['sync_d'] - 5 * 640) < 1100
    assert row.values['psnr'] > 25


# ---- bad input

def test_lengths_that_differ(tmp_path, capsys):
    a, b = write_images(tmp_path / 'a', frames(3)), write_video(tmp_path / 'b.mp4', frames(5))
    code, said = run(a, '--reference', b, '--metrics', 'psnr', '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 2 and f'{a} has 3 frames, but {b} has 5' in said.err
    assert not (tmp_path / 'r.csv').exists()


def test_sizes_that_differ(tmp_path, capsys):
    a, b = write_images(tmp_path / 'a', frames(2)), write_images(tmp_path / 'b', frames(2, 40))
    code, said = run(a, '--degraded', b, '--metrics', 'niqe', '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 2 and f'frame 0 of {a} is 32x32 pixels, but of {b} 40x40' in said.err


def test_clips_without_a_counterpart(tmp_path, capsys, caplog):
    for name in ('a/one', 'a/two', 'b/one', 'b/three'):
        write_images(tmp_path / name, frames(1))
    args = tmp_path / 'a', '--reference', tmp_path / 'b', '--metrics', 'psnr', '-o', tmp_path / 'r.csv'
    code, said = run(*args, capsys=capsys)
    assert code == 2 and f'{tmp_path / "b"} lacks clips of {tmp_path / "a"}: two\n' in said.err
    write_images(tmp_path / 'b' / 'two', frames(1))
    assert run(*args) == 0 and 'that ' in caplog.text and 'lacks: three' in caplog.text


@pytest.mark.parametrize('make', [
    lambda place: place.mkdir(), lambda place: None, lambda place: place.write_bytes(b'no video'),
    lambda place: write_images(place, frames(1)) and (place / '00000009.png').write_bytes(b'no image'),
], ids=['empty folder', 'absent', 'no video', 'no image'])
def test_unreadable_input(tmp_path, capsys, make):
    make(tmp_path / 'x')
    code, said = run(tmp_path / 'x', '--metrics', 'niqe', '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 4 and said.err.startswith('error: ') and str(tmp_path / 'x') in said.err
    assert not (tmp_path / 'r.csv').exists()


def test_places_that_say_two_things(tmp_path, capsys):
    write_images(tmp_path / 'x', frames(1))
    write_video(tmp_path / 'x' / 'v.mp4', frames(1))
    assert run(tmp_path / 'x', '-o', tmp_path / 'r.csv') == 4
    assert 'images beside other clips' in capsys.readouterr().err
    write_video(tmp_path / 'y' / 'v.mp4', frames(1))
    write_images(tmp_path / 'y' / 'v', frames(1))
    assert run(tmp_path / 'y', '-o', tmp_path / 'r.csv') == 4
    assert 'have the same name' in capsys.readouterr().err
    mean = write_video(tmp_path / 'mean.mp4', frames(1))
    assert run(mean, '-o', tmp_path / 'r.csv') == 2 and "'mean'" in capsys.readouterr().err


@pytest.mark.parametrize(('args', 'code', 'words'), [
    (['--metrics', 'lpips'], 5, 'gavn models fetch alexnet'),
    (['--metrics', 'sync'], 5, 'gavn models fetch syncnet'),
    (['--metrics', 'sync', '--weights', 'syncnet=absent.pth'], 5, 'absent.pth'),
    (['--metrics', 'sync', '--device', 'cuda:77'], 2, 'cuda:77'),
])
def test_weights_that_were_asked_for_and_are_not_there(tmp_path, capsys, args, code, words):
    source = write_video(tmp_path / 'v.mp4', frames(1))
    got, said = run(source, '--reference', source, *args, '-o', tmp_path / 'r.csv', capsys=capsys)
    assert got == code and words in said.err


def test_weights_of_another_network(tmp_path, capsys):
    torch.save({'params': torch.nn.Linear(2, 2).state_dict()}, tmp_path / 'w.pth')
    source = write_video(tmp_path / 'v.mp4', frames(1))
    code, said = run(source, '--metrics', 'sync', '--weights', f'syncnet={tmp_path / "w.pth"}',
                     '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 5 and 'do not fit the network SyncNet' in said.err


def test_a_comparison_without_a_truth(tmp_path, capsys):
    source = write_video(tmp_path / 'v.mp4', frames(1))
    code, said = run(source, '--metrics', 'niqe', 'psnr', '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 2 and 'psnr need the ground truth: use --reference' in said.err


def test_no_face(tmp_path, capsys, monkeypatch):
    def none(images):
        raise NoFace(f'no face in {len(list(images))} frames')

    monkeypatch.setattr(evaluate_clips, 'follow_main_face', none)
    source = write_video(tmp_path / 'v.mp4', frames(2))
    code, said = run(source, '--crop-face', '-o', tmp_path / 'r.csv', capsys=capsys)
    assert code == 3 and 'v.mp4: no face in 2 frames' in said.err


def test_an_existing_output_is_kept(tmp_path):
    source, out = write_video(tmp_path / 'v.mp4', frames(1)), tmp_path / 'r.csv'
    out.write_text('precious')
    assert run(source, '--metrics', 'niqe', '-o', out) == 2 and out.read_text() == 'precious'
    assert run(source, '--metrics', 'niqe', '-o', out, '--force') == 0 and len(read_results(out)) == 3


@pytest.mark.parametrize('args', [[], ['v.mp4', '--metrics', 'nme'], ['v.mp4', '--weights', 'other=x'],
                                  ['v.mp4', '--weights', 'syncnet=']])
def test_usage_errors(args, capsys):
    with pytest.raises(SystemExit) as error:
        run(*args)
    assert error.value.code == 2 and 'usage: gavn' in capsys.readouterr().err


@pytest.mark.parametrize('name', [DEGRADED, TRUTH, ' '])
def test_a_method_is_not_called_like_what_it_is_compared_with(name, capsys):
    with pytest.raises(SystemExit) as error:
        run('v.mp4', '--method', name)
    assert error.value.code == 2 and 'cannot name a method' in capsys.readouterr().err


def test_the_parser_knows_the_metrics_and_the_weights():
    names = tuple(key for key, metric in STANDARD.items()
                  if 'true_landmarks' not in METRICS[metric['type']].needs)
    assert names == verb.METRICS
    assert set(verb.WEIGHT_FILES) == set(evaluate_clips.WEIGHTS)
    for key in evaluate_clips.WEIGHTS.values():
        assert key in verb.METRICS and STANDARD[key]['type'] in METRICS


def test_script_is_the_same_command(tmp_path, monkeypatch, capsys):
    script = Path(__file__).resolve().parents[2] / 'scripts/evaluate.py'
    monkeypatch.setattr(sys, 'argv', [str(script), str(tmp_path / 'none.mp4')])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(script), run_name='__main__')
    assert error.value.code == 4 and 'none.mp4' in capsys.readouterr().err


# ---- clips as users have them

def test_images_of_a_folder_are_one_clip_in_order(tmp_path):
    write_images(tmp_path / 'clip', frames(3))
    (tmp_path / 'clip' / 'notes.txt').write_text('x')
    found = collect(tmp_path / 'clip')
    assert found.is_one and list(found.clips) == ['clip'] and found.clips['clip'].read_audio() is None
    read = list(found.clips['clip'].read())
    assert [frame.time for frame in read] == [0, 0.04, 0.08]
    for frame, image in zip(read, frames(3), strict=True):
        assert np.array_equal(frame.image, image)


def test_triples_hold_the_same_frame_of_all(tmp_path):
    for name in ('a', 'b'):
        write_video(tmp_path / name / 'v.mp4', frames(4))
    write_video(tmp_path / 'c' / 'v.mkv', frames(4))
    triple, = pair(*(collect(tmp_path / name) for name in 'abc'))
    together = list(triple.frames())
    assert [[frame.index for frame in three] for three in together] == [[i] * 3 for i in range(4)]
    only, = pair(collect(tmp_path / 'a'), None, collect(tmp_path / 'c'))
    frame, none, truth = next(only.frames())
    assert none is None and np.array_equal(truth.image, next(read_frames(tmp_path / 'c' / 'v.mkv')).image)
    assert np.abs(frame.image.astype(int) - truth.image).max() <= 8
