"""The main job from nothing to a restored file, at its smallest size; and videos side by side."""
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from gavn.cli import demo
from gavn.config.option_file import force, read_options
from gavn.faces.geometry import Box
from gavn.media import VideoWriter, probe, read_audio, read_frames
from gavn.metrics.results_file import ResultRow, RunInfo
from gavn.restoration.comparison_video import compare
from gavn.runtime.project import PACKAGE


def test_the_main_job() -> None:
    """One test, so that parallel workers do not run the demo twice into the same folders."""
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'GAVN_PROGRESS': '0'}
    command = [sys.executable, '-m', 'gavn.cli', 'demo', '--size', 'smallest']
    finished = subprocess.run(command, cwd=demo.ROOT, env=environment, check=False, text=True,
                              capture_output=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for words in ('[5/5] restore a video file', 'known identities, other speech', 'an unknown identity'):
        assert words in finished.stdout
    folder = demo.ROOT / 'results/demo_smallest'
    _assert_report(json.loads((folder / 'report.json').read_text()))
    _assert_restored(folder / 'deblur_degraded.mp4', folder / 'deblur_restored.mp4')
    sheet = cv2.imread(str(folder / 'deblur_compare.png'))
    assert sheet.shape[1] == 3 * 2 * (demo.FACE[2] - demo.FACE[0])


def _assert_report(report: dict[str, float]) -> None:
    assert {'psnr_input', 'psnr_restored', 'ssim_input', 'ssim_restored', 'seconds'} <= report.keys()
    assert 20 < report['psnr_input'] < 40
    assert abs(report['psnr_restored'] - report['psnr_input']) < 3  # hardly trained, not broken
    assert 0 < report['ssim_input'] < 1


def _assert_restored(degraded: Path, restored: Path) -> None:
    """What comes out has the times and the audio of what went in, and another image."""
    before, after = list(read_frames(degraded)), list(read_frames(restored))
    assert [frame.time for frame in after] == [frame.time for frame in before]
    assert any((a.image != b.image).any() for a, b in zip(after, before, strict=True))
    assert np.array_equal(read_audio(restored), read_audio(degraded))
    assert np.abs(read_audio(restored).astype(float)).mean() > 100


def test_settings_place_everything_under_one_name() -> None:
    settings = demo.SMALLEST.settings('gavn', 'sr')
    assert 'name=demo_smallest_gavn_sr' in settings
    assert 'train:phases:2:iters=4' in settings


@pytest.mark.parametrize(('task', 'layer'), [('car', 'car_crf38'), ('deblur', 'blur'), ('sr', 'sr_x4')])
def test_one_set_of_option_files_serves_all_tasks(task, layer) -> None:
    detector = f'experiments/demo_pfld_{task}/models/net_l_latest.pth'
    network = f'experiments/demo_gavn_{task}/models/net_g_latest.pth'
    for which, file, name, paths in (
            ('pfld', 'train_pfld', f'demo_pfld_{task}', {}),
            ('gavn', 'train_gavn', f'demo_gavn_{task}', {'pretrain_network_l': detector}),
            ('test', 'test_gavn', f'demo_gavn_{task}',
             {'pretrain_network_l': detector, 'pretrain_network_g': network})):
        options, source = read_options(PACKAGE.parent / f'options/demo/{file}.yml')
        force(options, source, demo.FULL.settings(which, task))
        section, = options['datasets'].values()
        assert (options['name'], section['root'], section['degradation']) == (name, 'datasets/demo', layer)
        assert options.get('path', {}) == paths


def test_too_small_a_gain_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    others = dict.fromkeys(('ssim', 'nme', 'nme_mouth'), 1.0)
    restored, degraded = ([ResultRow(RunInfo('demo', 'blur', ''), f'{name}/test0', 9, others | {'psnr': psnr})
                           for name in ('ada', 'eva')] for psnr in (30.2, 30.0))
    for name in ('_make_data', '_train', '_pipeline'):
        monkeypatch.setattr(demo, name, lambda *_: None)
    monkeypatch.setattr(demo, '_read_rows', lambda _: (restored, degraded))
    monkeypatch.setattr(demo, '_restore', lambda *_: [])
    monkeypatch.setattr(demo, 'ROOT', tmp_path)
    with pytest.raises(demo.DemoError, match=r'\+0\.20 dB'):
        demo.make_demo('car')


def test_videos_side_by_side(tmp_path) -> None:
    for name, level in (('left', 40), ('right', 200)):
        with VideoWriter(tmp_path / f'{name}.mp4', 64, 48, 25) as writer:
            for _ in range(5):
                writer.write(np.full((48, 64, 3), level, np.uint8))
    videos = {name: tmp_path / f'{name}.mp4' for name in ('left', 'right')}
    compare(videos, tmp_path / 'sheet.png', tmp_path / 'both.mp4')
    compare(videos, tmp_path / 'face.png', tmp_path / 'face.mp4', Box(8, 4, 28, 34))
    info = probe(tmp_path / 'both.mp4')
    assert (info.width, info.height) == (128, 72)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape == (3 * 72, 128, 3)
    assert cv2.imread(str(tmp_path / 'face.png')).shape == (3 * (24 + 60), 80, 3)
    assert abs(int(sheet[50, 10, 0]) - 40) < 4
    assert abs(int(sheet[50, 100, 0]) - 200) < 4
    with VideoWriter(tmp_path / 'wide.mp4', 80, 48, 25) as writer:
        writer.write(np.zeros((48, 80, 3), np.uint8))
    with pytest.raises(ValueError, match='64x48, 80x48'):
        compare({'a': videos['left'], 'b': tmp_path / 'wide.mp4'}, tmp_path / 'x.png', tmp_path / 'x.mp4')
    assert not (tmp_path / 'x.mp4').exists()
