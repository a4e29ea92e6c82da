"""What a comparison makes of option files."""
import argparse
import sys
from functools import partial
from pathlib import Path

import pytest
import tiny_run
import yaml
from basicsr.archs import build_network
from tiny_comparison import ROOT, make_place

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.cli import compare, compare_settings
from gavn.experiments.compare import jobs
from gavn.experiments.compare.calibration import kinds_of_phases, timed_options
from gavn.experiments.compare.experiments import load_method, option_files
from gavn.experiments.compare.jobs import JobSpec
from gavn.experiments.compare.run import _environment
from gavn.experiments.compare.settings import CompareBudget, CompareError, CompareSettings
from gavn.models.cost import parameters
from gavn.runtime.executors import CLUSTERS


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp('compare'))


@pytest.fixture
def settings(place, tmp_path):
    def make(**changes):
        return CompareSettings(**{
            'data': place / 'data', 'task': 'deblur', 'methods': ('gavn', 'edvr'), 'out': tmp_path / 'out',
            'options': place / 'options', 'budget': CompareBudget(6, 'it'), 'root': ROOT, **changes})
    return make


def comparisons(*arguments: str) -> list[CompareSettings]:
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    return compare_settings.comparisons_of(parser.parse_args([
        '--data', 'data', '--methods', 'gavn', '--budget', '6it', *arguments]))


def test_phases_that_train_the_same_are_timed_once(settings):
    method = load_method(settings(), 'gavn')
    phases = method.train['train']['phases']
    phases.append({**phases[2], 'name': 'settle', 'lr': 1e-5})
    assert kinds_of_phases(method) == [0, 1, 2, 2]
    options = timed_options(method, settings())
    assert [phase['name'] for phase in options['train']['phases']] == ['temporal', 'warmup', 'finetune']
    assert 'val' not in options and list(options['datasets']) == ['train']


def test_variants_are_found_by_either_name(settings, tmp_path):
    options = tmp_path / 'options'
    options.mkdir()
    for name in ('train_gavn_deblur_wo_if.yml', 'train_gavn_wo_if_deblur.yml'):
        (options / name).touch()
        assert option_files(settings(options=options), 'train', 'gavn_wo_if') == (options / name, [])


def test_variants_are_overlays_of_their_method(settings, tmp_path):
    options, preset = tmp_path / 'options', tmp_path / 'small.yml'
    (options / 'ablations').mkdir(parents=True)
    for name in ('train_gavn_deblur.yml', 'train_pfld_deblur.yml', 'ablations/wo_if.yml'):
        (options / name).touch()
    asked = settings(options=options, overlays=(preset,))
    assert option_files(asked, 'train', 'gavn') == (options / 'train_gavn_deblur.yml', [preset])
    assert option_files(asked, 'train', 'gavn_wo_if') == (
        options / 'train_gavn_deblur.yml', [preset, options / 'ablations/wo_if.yml'])
    assert option_files(asked, 'train', 'pfld') == (options / 'train_pfld_deblur.yml', [])
    with pytest.raises(CompareError, match=r'train_gavn_wo_of_deblur\.yml does not exist'):
        option_files(asked, 'train', 'gavn_wo_of')


def test_missing_flow_weights_are_refused(settings, place, tmp_path):
    options = tmp_path / 'options'
    options.mkdir()
    for kind in ('train', 'test'):
        made = yaml.safe_load((place / f'options/{kind}_edvr_deblur.yml').read_text())
        made['network_g'] = {'type': 'BasicVSRPlusPlus', 'mid_channels': 8, 'num_blocks': 1,
                             'is_low_res_input': False, 'spynet_path': 'none/spynet.pth'}
        tiny_run.write(made, options / f'{kind}_basicvsrpp_deblur.yml')
    with pytest.raises(CompareError, match=r'network_g\.spynet_path: none/spynet\.pth does not exist'):
        load_method(settings(options=options), 'basicvsrpp')


def test_command_line_options_apply_to_every_method(settings):
    asked = settings(amp='bf16', workers=3, gpus=('1',), images=True, frames=5)
    for token in ('gavn', 'edvr'):
        method = load_method(asked, token)
        assert method.train['train']['amp'] == 'bf16' and method.test['val']['save_img'] is True
        assert method.train['datasets']['train']['num_worker_per_gpu'] == 3
        assert method.train['num_gpu'] == method.test['num_gpu'] == 1
        assert {section['max_frames'] for section in method.test['datasets'].values()} == {5}


def test_outputs_and_parameters_of_methods(place, settings, tmp_path):
    options = tmp_path / 'options'
    options.mkdir()
    for file in (place / 'options').iterdir():
        (options / file.name).write_text(file.read_text().replace('gt_frames: center', 'gt_frames: all'))
    found = {token: load_method(settings(options=options), token) for token in ('gavn', 'edvr')}
    assert {token: method.outputs for token, method in found.items()} == {'gavn': 1, 'edvr': 5}
    gavn, edvr = found.values()
    assert (gavn.detects, edvr.detects) == (True, False)
    assert gavn.parameters == parameters(build_network(tiny_run.NETWORK), build_network(tiny_run.DETECTOR))


@pytest.mark.parametrize(('task', 'preset'), [('car', 'small.yml'), ('deblur', 'small_deblur.yml')])
def test_default_options_are_found_from_any_folder(tmp_path, monkeypatch, task, preset):
    monkeypatch.chdir(tmp_path)
    made, = comparisons('--task', task)
    assert (made.options / f'train_gavn_{task}.yml').is_file()
    assert [path.name for path in made.overlays] == [preset] and made.overlays[0].is_file()
    assert [path.name for path in made.detector_overlays] == ['small_pfld.yml']


@pytest.mark.parametrize(('device', 'visible', 'gpus'), [
    ('cpu', None, ()), ('auto', None, ('0', '1', '2')), ('cuda:1', None, ('1',)), ('cuda:1', '5,7,9', ('7',)),
    ('cuda', '5,7,9', ('5', '7', '9'))])
def test_devices(monkeypatch, device, visible, gpus):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    monkeypatch.setattr(compare_settings.torch.cuda, 'device_count', lambda: 3)
    made, = comparisons('--task', 'deblur', '--device', device)
    assert made.gpus == gpus


@pytest.mark.parametrize('executor', CLUSTERS)
@pytest.mark.parametrize(('device', 'count', 'assigned', 'number', 'visible'), [
    ('auto', 1, '3', 1, '3'), ('cuda', 1, None, 1, None), ('auto', 0, '3', 0, ''), ('cpu', 1, '3', 0, '')])
def test_tasks_of_a_cluster_have_its_gpus(place, tmp_path, monkeypatch, executor, device, count, assigned,
                                          number, visible):
    """The machine that submits has no GPU, and one of its own choice in CUDA_VISIBLE_DEVICES."""
    steps = pytest.importorskip('gavn.experiments.compare.cluster')
    monkeypatch.setattr(compare_settings.torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '7')
    made, = comparisons('--task', 'deblur', '--executor', executor, '--device', device, '--gpus-per-task',
                        str(count), '--options', str(place / 'options'), '--data', str(place / 'data'))
    method = load_method(made, 'gavn')
    assert method.train['num_gpu'] == method.test['num_gpu'] == number
    if assigned is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', assigned)  # in the task
    told = tmp_path / 'told'
    job = JobSpec('train', (sys.executable, '-c', f'import os; open({str(told)!r}, "w").write(repr('
                            'os.environ.get("CUDA_VISIBLE_DEVICES")))'), (), (told,))
    list(steps.RunJobs([[job]], tmp_path, partial(_environment, made), tmp_path).run())
    assert told.read_text() == repr(visible)


def test_a_method_is_not_trained_by_two_tasks_at_once(tmp_path, monkeypatch):
    steps = pytest.importorskip('gavn.experiments.compare.cluster')
    monkeypatch.setattr(jobs, 'LOCK_PATIENCE', 0)
    group = [JobSpec('train_gavn', ('false',), (), (tmp_path / 'weights',), resumes=True)]
    with jobs.locked(tmp_path / 'train_gavn.lock'), pytest.raises(CompareError, match='is at work'):
        list(steps.RunJobs([group], tmp_path, lambda _: {}, tmp_path).run())


@pytest.mark.parametrize(('arguments', 'words'), [
    (('--device', 'cuda'), 'the tasks of the cluster have no GPU\ngive --gpus-per-task 1'),
    (('--device', 'cuda:1', '--gpus-per-task', '2'), 'device cuda:1: the cluster chooses the GPUs of a task'),
    (('--device', 'tpu'), "device 'tpu' is not one of")])
def test_devices_that_a_cluster_does_not_give(arguments, words):
    with pytest.raises(CompareError, match=words):
        comparisons('--task', 'deblur', '--executor', 'slurm', *arguments)


def test_missing_initial_weights_are_refused(place, settings, tmp_path):
    options = tmp_path / 'options'
    options.mkdir()
    for file in (place / 'options').iterdir():
        text = file.read_text().replace('path: {}', 'path: {pretrain_network_g: no.pth}')
        (options / file.name).write_text(text)
    with pytest.raises(CompareError, match=r'pretrain_network_g: no\.pth does not exist'):
        load_method(settings(options=options), 'edvr')
