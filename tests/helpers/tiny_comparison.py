"""A tiny data set and option files of two methods, for the tests of comparisons."""
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny_run

ROOT = Path(__file__).resolve().parents[2]
FAKE = sys.executable, str(ROOT / 'tests/helpers/fake_pipeline.py')
EDVR = {'type': 'EDVR', 'num_feat': 8, 'num_frame': 5, 'deformable_groups': 2, 'num_extract_block': 1,
        'num_reconstruct_block': 1, 'hr_in': True, 'with_predeblur': True}


def make_place(folder: Path) -> Path:
    """Data and option files of gavn, also with silence, and of edvr with half batches; returns the folder."""
    data, detector = tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'detector.pth')
    gavn = tiny_run.options(data, detector, folder)
    gavn['logger']['save_checkpoint_freq'] = 1
    kept = 'name', 'model_type', 'network_g', 'network_l', 'network_inputs', 'path'
    test = {key: gavn[key] for key in kept}
    test |= {'datasets': {'val': gavn['datasets']['val']}, 'val': {'metrics': gavn['val']['metrics']}}
    edvr = {**gavn, 'model_type': 'AVVideoModel', 'network_inputs': ['lq'], 'network_g': EDVR, 'path': {}}
    edvr['train'] = {**gavn['train'], 'phases': [{'name': 'all', 'iters': 5, 'lr': 1e-4}]}
    edvr['datasets'] = {**gavn['datasets'], 'train': {
        **gavn['datasets']['train'], 'gt_frames': 'center', 'batch_size_per_gpu': 1}}
    del edvr['network_l']
    pfld = {**gavn, 'model_type': 'LandmarkModel'}
    pfld['train'] = {**gavn['train'], 'pixel_opt': {'type': 'PFLDLoss'},
                     'phases': [{'name': 'fit', 'iters': 3, 'lr': 1e-4}]}
    pfld['val'] = {'val_freq': 3, 'metrics': {'nme': {'type': 'landmark_nme'}}}
    for key in ('network_g', 'network_inputs', 'path'):
        pfld.pop(key)
    (folder / 'options').mkdir()
    tested = {**test, **{key: edvr[key] for key in ('model_type', 'network_inputs', 'network_g', 'path')}}
    del tested['network_l']
    quiet = {'method': 'quiet', 'datasets': {
        name: {**section, 'audio': 'zeros'} for name, section in gavn['datasets'].items()}}
    quiet_test = {**test, **quiet, 'datasets': {'val': quiet['datasets']['val']}}
    files = {'train_gavn': gavn, 'test_gavn': test, 'train_edvr': edvr, 'test_edvr': tested,
             'train_gavn_quiet': {**gavn, **quiet}, 'test_gavn_quiet': quiet_test, 'train_pfld': pfld}
    for name, options in files.items():
        tiny_run.write(options, folder / 'options' / f'{name}_deblur.yml')
    return folder


@contextlib.contextmanager
def handling_sigterm() -> Iterator[None]:
    """Restores the handler of SIGTERM that a command replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_compare(place: Path, out: Path, *arguments: str, methods: Sequence[str] = ('gavn', 'edvr'),
                budget: str = '60it', options: Path | None = None) -> int:
    """Runs the command with the fake pipeline on the data of `make_place`; returns its exit code."""
    from gavn.cli import compare as command
    from gavn.cli.main import main
    fakes = {'TRAINER': (*FAKE, 'train'), 'TESTER': (*FAKE, 'test')}
    with handling_sigterm(), patch.multiple(command, **fakes):
        return main([
            'compare', '--data', str(place / 'data'), '--options', str(options or place / 'options'),
            '--budget', budget, '--out', str(out), '--device', 'cpu', '--methods', *methods, *arguments])


def say(folder: Path, fakes: dict) -> None:
    """Sets how the fake pipeline behaves from now on."""
    (folder / 'fakes.json').write_text(json.dumps(fakes))


def starts(out: Path, method: str) -> list[str]:
    """One entry a start of a training: the iterations that were done before, and its threads."""
    return (out / f'experiments/out_{method}/starts').read_text().splitlines()


def fake_command(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
                 *first: str, **defaults: Any) -> Callable[..., tuple[int, str]]:
    """The command with the fake pipeline; takes arguments, returns its exit code and what it printed."""
    monkeypatch.setattr('gavn.experiments.compare.jobs._PAUSE', 0.02)
    monkeypatch.setenv('FAKES', str(tmp_path / 'fakes.json'))
    say(tmp_path, {})

    def run(*arguments: str, **choices: Any) -> tuple[int, str]:
        code = run_compare(place, tmp_path / 'out', *first, *arguments, **{**defaults, **choices})
        said = capsys.readouterr()
        return code, said.out + said.err
    return run
