"""`gavn demo`: all steps on synthetic talking faces.

Makes the data, trains the landmark detector and both stages of a small GAVN with `gavn/train.py`, tests it
with `gavn/test.py`, restores a degraded video with `gavn restore` and writes a comparison video.
"""
from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gavn.errors import GavnError
from gavn.runtime.project import PACKAGE, project_root

if TYPE_CHECKING:
    from gavn.metrics.results_file import ResultRow

ROOT = project_root()
TASKS = {'car': 'car_crf38', 'deblur': 'blur', 'sr': 'sr_x4'}  # task -> degradation layer of the data set
LEAST_GAIN = 0.3  # dB over the degraded input, on known identities with other speech
STORED_CRF = 1  # deblurring would amplify compression artifacts
VIDEO_SIZE = (320, 288)  # width and height of the video that is restored, in pixels
FACE = (60, 8, 270, 218)  # x0, y0, x1, y1: part of the video that the comparison image shows
COLUMNS = ('psnr', 'ssim')


class DemoError(GavnError):
    """A step failed, or the restored clips are not better than the input."""


@dataclass(frozen=True)
class Size:
    """Size of the data and the trainings."""

    name: str  # prefix of all output names
    clips: int  # training clips per known identity
    seconds: float  # length of a clip
    iters: dict[str, tuple[int, ...]]  # training -> iterations of its phases; empty = as in the option files
    least_gain: float | None  # required gain of the restored test clips, in dB; None = no requirement

    def settings(self, which: str, task: str) -> list[str]:
        """Returns `--force_yml` settings for an option file: `pfld`, `gavn` (training) or `test`."""
        models = f'experiments/{self.name}_{{}}_{task}/models'
        run, part = ('gavn', 'test') if which == 'test' else (which, 'train')
        settings = [f'name={self.name}_{run}_{task}', f'datasets:{part}:root=datasets/{self.name}',
                    f'datasets:{part}:degradation={TASKS[task]}']
        if run == 'gavn':
            settings.append(f'path:pretrain_network_l={models.format("pfld")}/net_l_latest.pth')
        if which == 'test':
            settings.append(f'path:pretrain_network_g={models.format("gavn")}/net_g_latest.pth')
        return settings + [f'train:phases:{i}:iters={n}' for i, n in enumerate(self.iters.get(which, ()))]


FULL = Size('demo', clips=3, seconds=2.0, iters={}, least_gain=LEAST_GAIN)
SMALLEST = Size('demo_smallest', clips=1, seconds=0.8, iters={'pfld': (6, 4), 'gavn': (8, 4, 4, 4)},
                least_gain=None)
SIZES = {'full': FULL, 'smallest': SMALLEST}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--task', choices=TASKS, default='deblur',
                        help='degradation to restore (default deblur)')
    parser.add_argument('--size', choices=SIZES, default='full', help='smallest only checks every step')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Runs the demo."""
    make_demo(args.task, args.size)


def make_demo(task: str, size: str = 'full') -> dict[str, float]:
    """Runs all steps for one task; writes below the checkout, or the working directory of a package.

    Raises:
        DemoError: a step fails, or the restored test clips of known identities gain less than `LEAST_GAIN` dB
            (not checked at the smallest size).
    """
    started, plan = time.monotonic(), SIZES[size]
    folder = ROOT / 'results' / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    _step(1, 'make talking faces')
    _make_data(task, plan)
    _step(2, 'train the landmark detector')
    _train('pfld', task, plan)
    _step(3, 'train GAVN: stage 1, then stage 2')
    _train('gavn', task, plan)
    _step(4, 'test it')
    tested = Path('results', f'{plan.name}_gavn_{task}')
    shutil.rmtree(ROOT / tested, ignore_errors=True)
    _pipeline('test', 'test_gavn', plan.settings('test', task))
    restored, degraded = _read_rows(tested / 'demo_test.csv')
    _step(5, 'restore a video file')
    made = _restore(task, plan, folder)
    report = _report(restored, degraded, time.monotonic() - started)
    _show(report, len(restored), made, folder / 'report.json')
    gain = report['psnr_restored'] - report['psnr_input']
    if plan.least_gain is not None and gain < plan.least_gain:
        raise DemoError(f'the restored test clips gain {gain:+.2f} dB, less than {plan.least_gain} dB')
    return report


def _step(number: int, text: str) -> None:
    print(f'\n[{number}/5] {text}', flush=True)


def _make_data(task: str, plan: Size) -> None:
    from gavn.experiments.synthetic.dataset import write_demo_dataset
    write_demo_dataset(ROOT / 'datasets' / plan.name, [TASKS[task]], train_clips=plan.clips,
                       val_clips=0, seconds=plan.seconds)


def _train(which: str, task: str, plan: Size) -> None:
    """Trains from the start; removes the folder of an earlier demo."""
    shutil.rmtree(ROOT / 'experiments' / f'{plan.name}_{which}_{task}', ignore_errors=True)
    _pipeline('train', f'train_{which}', plan.settings(which, task))


def _pipeline(kind: str, options: str, settings: Sequence[str]) -> None:
    _python(PACKAGE / f'{kind}.py', '-opt', f'options/demo/{options}.yml', '--force_yml', *settings)


def _python(*arguments: str | Path) -> None:
    command = [sys.executable, *map(str, arguments)]
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise DemoError(f'`python {" ".join(map(str, arguments))}` ended with {code}; see above')


def _read_rows(path: Path) -> tuple[list[ResultRow], list[ResultRow]]:
    """Returns the rows of restored and of degraded test clips."""
    from gavn.metrics.results_file import DEGRADED, TRUTH, read_results
    rows = [row for row in read_results(ROOT / path) if row.is_clip]
    return ([row for row in rows if row.run.method not in (DEGRADED, TRUTH)],
            [row for row in rows if row.run.method == DEGRADED])


def _is_known(row: ResultRow) -> bool:
    from gavn.experiments.synthetic.head import identities
    return row.clip.split('/')[0] != identities()[-1]


def _mean(rows: Sequence[ResultRow], column: str) -> float:
    values = [value for row in rows if (value := row.values[column]) is not None]
    assert len(values) == len(rows), f'clips without {column}'
    return sum(values) / len(values)


def _report(restored: Sequence[ResultRow], degraded: Sequence[ResultRow], seconds: float) -> dict[str, float]:
    """Returns means over clips of known identities, and with prefix `unseen_` of the unknown identity."""
    report = {}
    for prefix, known in (('', True), ('unseen_', False)):
        after, before = ([row for row in rows if _is_known(row) == known] for rows in (restored, degraded))
        for column in COLUMNS:
            report[f'{prefix}{column}_input'] = _mean(before, column)
            report[f'{prefix}{column}_restored'] = _mean(after, column)
        report[f'{prefix}landmark_nme'] = _mean(after, 'nme')
        report[f'{prefix}landmark_nme_mouth'] = _mean(after, 'nme_mouth')
    return report | {'seconds': seconds}


def _restore(task: str, plan: Size, folder: Path) -> list[Path]:
    """Degrades and restores a video, and writes a comparison with the original."""
    from gavn.faces.geometry import Box
    from gavn.restoration.comparison_video import compare
    clean, degraded, restored = (folder / f'{task}_{name}.mp4' for name in ('clean', 'degraded', 'restored'))
    _write_videos(clean, degraded, task, plan.seconds)
    weights = ROOT / 'experiments' / f'{plan.name}_gavn_{task}' / 'models' / 'restore_latest.safetensors'
    _python('-m', 'gavn.cli', 'restore', degraded, '-o', restored, '--weights', weights, '--force',
            '--codec', 'libx264')  # which encodes also where hardly anything changes
    image, video = folder / f'{task}_compare.png', folder / f'{task}_compare.mp4'
    videos = {'degraded': degraded, 'restored': restored, 'original': clean}
    compare(videos, image, video, Box(*FACE))
    return [degraded, restored, image, video]


def _write_videos(clean: Path, degraded: Path, task: str, seconds: float) -> None:
    """Writes a synthetic video, clean and degraded."""
    from gavn.audio.rates import FRAME_RATE
    from gavn.data.degradation import degrade
    from gavn.experiments.synthetic.head import identities, make_clip, place_on_background
    from gavn.media import VideoWriter
    clip = make_clip(identities()[0], seed=1000, seconds=seconds, words='test')
    frames = place_on_background(clip, *VIDEO_SIZE)
    degraded_frames, _ = degrade(list(frames), TASKS[task], 'demo')
    for path, images in ((clean, frames), (degraded, degraded_frames)):
        height, width = frames.shape[1:3]
        with VideoWriter(path, width, height, FRAME_RATE, clip.audio, crf=STORED_CRF) as writer:
            for image in images:
                writer.write(image)


def _show(report: dict[str, float], clips: int, made: Sequence[Path], path: Path) -> None:
    """Writes the report, prints it as a table, and lists the files."""
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'\n{"":34}{"PSNR (dB)":>20}{"SSIM":>18}{"landmark error (%)":>22}')
    print(f'{"":34}{"input  restored":>20}{"input restored":>18}{"all  mouth":>22}')
    for title, prefix in (('known identities, other speech', ''), ('an unknown identity', 'unseen_')):
        psnr, ssim = (f'{report[f"{prefix}{c}_input"]:.{d}f}  {report[f"{prefix}{c}_restored"]:.{d}f}'
                      for c, d in (('psnr', 2), ('ssim', 4)))
        nme = f'{report[f"{prefix}landmark_nme"]:.2f}  {report[f"{prefix}landmark_nme_mouth"]:.2f}'
        print(f'{title:34}{psnr:>20}{ssim:>18}{nme:>22}')
    print(f'\n{clips} test clips, {report["seconds"]:.0f} s in all; wrote')
    for file in [*made, path]:
        print(f'  {file.relative_to(ROOT)}')
