"""Twelve clips on a real Slurm and a real Ray, with a worker that is killed, and a comparison on each.

    python -m pytest -m slow tests/cluster

Slurm: `apt-get install slurmctld slurmd slurm-client munge`, as root. Ray: `pip install ray`.
"""
from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import ray_nodes
import slurm
from processes import PATIENCE, kill_one
from raw_videos import photo, table, write_raw_video
from restore_fakes import make_restorer
from tiny_comparison import make_place

pytestmark = pytest.mark.slow
pytest.importorskip('datatrove')
pytest.importorskip('dlib')

ROOT = Path(__file__).resolve().parents[2]
CLIPS, FRAMES, LONG = 12, 30, 260  # the last clip has LONG frames, two pieces
SLURM = ('--executor', 'slurm', '--workers', '2', '--tasks', '3', '--slurm-time', '0:30:00')
Environment = Mapping[str, str]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Twelve clips, their table, and weights of a network that brightens."""
    folder = tmp_path_factory.mktemp('cluster')
    face = photo()
    for number in range(CLIPS):
        frames = LONG if number == CLIPS - 1 else FRAMES
        write_raw_video(folder / f'talks/{number // 4}/talk{number}.mp4',
             [np.roll(face, (index + 3 * number) % 12, axis=1) for index in range(frames)])
    table(folder / 'clips.csv', [(f'{n // 4}/talk{n}.mp4', f'speaker{n}', 'train') for n in range(CLIPS)])
    make_restorer(20, ('lq', 'audio')).save(folder / 'weights.safetensors')
    return folder


@pytest.fixture(scope='module')
def local(folder: Path) -> dict[str, dict[str, str]]:
    """Digests of the results of one machine: prepared files, and `gavn restore` without an executor."""
    run(prepare(folder, 'prepared_local'), environment())
    assert len(list((folder / 'prepared_local/gt').glob('*/*'))) == CLIPS
    talks = sorted((folder / 'talks').glob('*/*'))
    run(['restore', *map(str, talks), '-o', f'{folder}/restored_local', *networks(folder)], environment())
    flat = digests(folder / 'restored_local')
    restored = {f'{n // 4}/talk{n}_gavn.mp4': flat[f'talk{n}_gavn.mp4'] for n in range(CLIPS)}
    return {'prepared': digests(folder / 'prepared_local'), 'restored': restored}


def environment(more: Environment | None = None) -> Environment:
    paths = [str(ROOT), str(ROOT / 'tests/helpers'), os.environ.get('PYTHONPATH', '')]
    return {**os.environ, **(more or {}), 'PYTHONPATH': os.pathsep.join(filter(None, paths)),
            'OMP_NUM_THREADS': '1', 'FAKE_PAUSE': '0.05'}  # so that a worker can be caught at work


def networks(folder: Path) -> list[str]:
    return ['--weights', f'{folder}/weights.safetensors', '--import', 'restore_fakes']


def prepare(folder: Path, out: str) -> list[str]:
    return ['prepare', '--videos', f'{folder}/talks', '--csv', f'{folder}/clips.csv', '--out',
            f'{folder}/{out}', '--annotator', 'dlib', '--degradations', 'sr', '--no-lmdb']


def restore(folder: Path, out: str) -> list[str]:
    return ['restore', f'{folder}/talks', '-o', f'{folder}/{out}', *networks(folder), '--piece-frames', '250']


def command(arguments: list[str]) -> list[str]:
    return [sys.executable, '-m', 'gavn.cli', *arguments]


def run(arguments: list[str], environment: Environment) -> None:
    done = subprocess.run(command(arguments), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def digests(folder: Path) -> dict[str, str]:
    """Digests of frames, arrays and videos."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob('*') if path.suffix in ('.png', '.npy', '.mp4')}


def some_file(folder: Path, pattern: str):
    """Whether a file of this pattern exists and is not empty."""
    return lambda: any(path.stat().st_size for path in folder.glob(pattern))


def report(folder: Path) -> list[str]:
    with (folder / 'report.csv').open(newline='', encoding='utf-8') as file:
        return sorted(row['status'] for row in csv.DictReader(file))


@pytest.fixture(scope='module')
def slurm_cluster(tmp_path_factory) -> Iterator[Environment]:
    """A node with two cores; yields the environment of its commands."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.cluster(tmp_path_factory.mktemp('slurm')) as cluster:
        yield environment(cluster)


def test_slurm(folder, local, slurm_cluster):
    def is_worker(stage):
        return lambda words: 'python' in words[0] and any(
            word.endswith(f'/{stage}/executor.pik') for word in words)

    out = folder / 'prepared_slurm'
    run([*prepare(folder, out.name), *SLURM], slurm_cluster)
    print('killed', kill_one(is_worker('clips'), some_file(out, '.prepare/records/**/*.json')))
    slurm.wait_for_jobs(slurm_cluster)
    assert not (out / 'report.csv').exists()  # the last stage waits for all clips
    run([*prepare(folder, out.name), *SLURM], slurm_cluster)
    slurm.wait_for_jobs(slurm_cluster)
    assert digests(out) == local['prepared']

    out = folder / 'restored_slurm'
    run([*restore(folder, out.name), *SLURM], slurm_cluster)
    print('killed', kill_one(is_worker('videos'), some_file(out, '.gavn/*/records/videos_*')))
    print('killed', kill_one(is_worker('pieces'), some_file(out, '2/*.gavn/*.nut')))
    slurm.wait_for_jobs(slurm_cluster)
    assert digests(out) == local['restored'] and report(out) == ['done'] * CLIPS


@pytest.fixture(scope='module')
def ray_cluster() -> Iterator[Environment]:
    """Two nodes with a core each; yields the environment of its commands."""
    pytest.importorskip('ray')
    with ray_nodes.cluster(environment({})) as address:
        yield environment({'RAY_ADDRESS': address})


def test_ray(folder, local, ray_cluster):
    for arguments, name, begun in ((prepare, 'prepared', '.prepare/records/**/*.json'),
                                   (restore, 'restored', '.gavn/*/records/videos_*')):
        out = folder / f'{name}_ray'
        words = command([*arguments(folder, out.name), '--executor', 'ray', '--workers', '2', '--tasks', '3'])
        with subprocess.Popen(words, env=ray_cluster) as driver:
            print('killed', kill_one(is_ray_task, some_file(out, begun)))
            assert driver.wait(PATIENCE) == 0
        assert digests(out) == local[name]
    assert report(out) == ['done'] * CLIPS


def is_ray_task(words: list[str]) -> bool:
    """Whether a process is at work on a task."""
    return words[0].startswith('ray::_run_quietly')


def test_a_comparison_on_ray(ray_cluster, tmp_path):
    place, out = make_place(tmp_path), tmp_path / 'out'
    run(compare(place, out, 'ray'), ray_cluster)
    assert methods_in_tables(out) == {'GAVN', 'EDVR'}


def test_a_comparison_on_slurm(slurm_cluster, tmp_path):
    place, out = make_place(tmp_path), tmp_path / 'out'
    run([*compare(place, out, 'slurm'), '--slurm-time', '0:30:00'], slurm_cluster)
    slurm.wait_for_jobs(slurm_cluster)
    run([*compare(place, out, 'slurm'), '--report'], slurm_cluster)
    assert methods_in_tables(out) == {'GAVN', 'EDVR'}


def compare(place: Path, out: Path, executor: str) -> list[str]:
    return ['compare', '--data', f'{place}/data', '--options', f'{place}/options', '--task', 'deblur',
            '--methods', 'gavn', 'edvr', '--budget', '6it', '--device', 'cpu', '--out', str(out),
            '--jobs', '2', '--executor', executor]


def methods_in_tables(out: Path) -> set[str]:
    """Names of the methods in the tables of a comparison whose methods were a task each."""
    assert {path.name for path in (out / 'executor/methods/completions').iterdir()} == {'00000', '00001'}
    assert {'gavn_val.csv', 'edvr_val.csv'} <= {path.name for path in (out / 'results').iterdir()}
    assert 'Not done' not in (out / 'README.md').read_text()
    table = (out / 'tables/table1.md').read_text()
    return {name for name in ('GAVN', 'EDVR') if name in table}
