"""Comparing methods: equal budgets, nothing done twice, nothing lost, one failure stops no other."""
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tiny_comparison import FAKE, ROOT, fake_command, handling_sigterm, make_place, say, starts

from gavn.cli.main import main
from gavn.experiments.compare import jobs
from gavn.experiments.compare.plan import read_plan
from gavn.experiments.compare.run import Comparison
from gavn.metrics.results_file import read_results
from gavn.models.budget import Budget


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp('compare'))


@pytest.fixture
def run(place, tmp_path, monkeypatch, capsys):
    return fake_command(place, tmp_path, monkeypatch, capsys, '--task', 'deblur')


def test_from_a_data_set_to_a_table(run, tmp_path):
    code, said = run()
    out = tmp_path / 'out'
    assert code == 0, said
    shares = read_plan(out).shares
    assert {token: share.iterations for token, share in shares.items()} == {'gavn': 60, 'edvr': 120}
    assert shares['gavn'].clips == shares['edvr'].clips == 120
    made = yaml.safe_load((out / 'options/train_gavn_deblur.yml').read_text())
    assert [phase['iters'] for phase in made['train']['phases']] == shares['gavn'].phases == [17, 17, 26]
    assert made['datasets']['val']['root'].endswith('/data') and made['num_gpu'] == 0
    page, table = (out / 'README.md').read_text(), (out / 'tables/table1.md').read_text()
    assert '60it, that is 120 clips' in page and '| EDVR |' in page and 'Not done' not in page
    assert '| 1.2 | 0.' in page and (out / 'figures/psnr.png').stat().st_size > 1000
    assert 'GAVN' in table and 'EDVR' in table and '30.5' in table and table in said
    rows = read_results(out / 'results/gavn_val.csv')
    assert {row.run.method for row in rows} == {'GAVN', 'degraded input'}
    assert '| 60 | 120 | 120 |' in page and '| 120 | 120 | 120 |' in page  # one frame of every clip


def test_speed_beside_other_jobs_is_omitted(run, tmp_path):
    out = tmp_path / 'out'

    def speeds() -> list[set[float | None]]:
        return [{row.run.fps for row in read_results(path)} for path in sorted((out / 'results').iterdir())]

    assert run()[0] == 0 and speeds() == [{2.5}, {2.5}]
    assert 'Frames a second' not in (out / 'README.md').read_text()
    say(tmp_path, {'': {'tested': 1}})  # so that one has begun before the other ends
    assert run('--fresh', '--jobs', '2', budget='6it')[0] == 0 and speeds() == [{None}, {None}]
    assert 'left out for test_gavn, test_edvr' in (out / 'README.md').read_text()
    assert run('--jobs', '1', budget='6it')[0] == 0 and speeds() == [{None}, {None}]  # tested before


def test_the_page_names_the_landmark_detector(place, run, tmp_path):
    assert run(methods=['gavn'])[0] == 0
    page = (tmp_path / 'out/README.md').read_text()
    file = place / 'detector.pth'
    assert f'Landmark detector of GAVN: PFLDAV, weights `{file}`, trained before' in page
    assert 'its weights do not say' in page
    weights = file.read_bytes()
    spent = Budget({'minutes': 12.34, 'clips_seen': 16000})
    torch.save({**torch.load(file), **spent.checkpoint_entry(4000)}, file)
    assert run('--fresh', methods=['gavn'])[0] == 0
    file.write_bytes(weights)
    assert 'took 4,000 iterations, 16,000 clips seen, 12.3 min, which is in no' in (
        tmp_path / 'out/README.md').read_text()
    assert run('--fresh', methods=['edvr'])[0] == 0
    assert 'Landmark detector' not in (tmp_path / 'out/README.md').read_text()


def test_finished_jobs_are_not_repeated(run, tmp_path):
    assert run()[0] == 0 and run()[0] == 0
    out = tmp_path / 'out'
    assert len(starts(out, 'gavn')) == len(starts(out, 'edvr')) == 1
    (out / 'tested/out_edvr/val.csv').unlink()
    (out / 'experiments/out_gavn/models/net_g_latest.pth').unlink()
    assert run()[0] == 0 and len(starts(out, 'gavn')) == 2 and len(starts(out, 'edvr')) == 1
    assert (out / 'tested/out_edvr/val.csv').is_file()


def test_one_failure_stops_no_other(run, tmp_path):
    say(tmp_path, {'_gavn': {'fail': True}})
    code, said = run()
    out = tmp_path / 'out'
    assert code == 1 and 'train_gavn failed: training diverged' in said
    assert 'test_gavn skipped: train_gavn is missing' in said
    page = (out / 'README.md').read_text()
    assert '## Not done' in page and 'train_gavn: training diverged; see' in page
    assert [path.name for path in (out / 'results').iterdir()] == ['edvr_val.csv']
    assert 'EDVR' in (out / 'tables/tables.md').read_text()
    say(tmp_path, {})
    assert run()[0] == 0 and len(starts(out, 'gavn')) == 2 and len(starts(out, 'edvr')) == 1


def test_methods_may_be_added(run, tmp_path):
    assert run(methods=['gavn'])[0] == 0
    assert run(methods=['edvr', 'gavn'])[0] == 0  # the clips stay those of the first start
    assert read_plan(tmp_path / 'out').shares['edvr'].clips == 120
    assert len(starts(tmp_path / 'out', 'gavn')) == 1


def test_ctrl_c_stops_the_trainings(run, tmp_path, monkeypatch):
    say(tmp_path, {'_gavn': {'seconds': .05}, '_edvr': {'seconds': .01}})
    seen = []

    def interrupt(comparison, outcomes):
        if (tmp_path / 'out/experiments/out_edvr/state').exists():
            seen.append({name: outcome.state for name, outcome in outcomes.items()})
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, 'show', interrupt)
        code, said = run('--jobs', '2', '--threads', '3')
    assert code == 130 and 'rerun the same command to resume' in said
    assert seen == [{'train_gavn': 'running', 'test_gavn': 'waiting', 'train_edvr': 'running',
                     'test_edvr': 'waiting'}]
    say(tmp_path, {})
    assert run('--jobs', '2', '--threads', '3')[0] == 0  # at once: nobody holds the lock any more
    first, second = starts(tmp_path / 'out', 'edvr')
    assert first == '0 3' and int(second.split()[0]) > 0


def test_a_killed_comparison_resumes(place, run, tmp_path):
    """The whole command, killed by SIGKILL: its training ends with it, and the next start resumes."""
    say(tmp_path, {'_gavn': {'seconds': 0.02}})
    script = ('import sys; sys.path[0] = {root!r}; from gavn.cli import compare, main; '
              'compare.TRAINER, compare.TESTER = {train!r}, {test!r}; '
              'sys.exit(main.main(["compare", *sys.argv[1:]]))')
    script = script.format(root=str(ROOT), train=(*FAKE, 'train'), test=(*FAKE, 'test'))
    state = tmp_path / 'out/experiments/out_gavn/state'
    with (tmp_path / 'said').open('w') as output:
        process = subprocess.Popen(
            [sys.executable, '-c', script, '--data', str(place / 'data'), '--task', 'deblur', '--device',
             'cpu', '--options', str(place / 'options'), '--out', str(tmp_path / 'out'), '--budget', '60it',
             '--methods', 'gavn', 'edvr'], stdout=output, stderr=output)
    until = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, (tmp_path / 'said').read_text()
    say(tmp_path, {})
    assert run()[0] == 0
    assert [int(line.split()[0]) > 0 for line in starts(tmp_path / 'out', 'gavn')] == [False, True]


def test_a_folder_is_locked_while_in_use(run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, 'LOCK_PATIENCE', 0.1)
    (tmp_path / 'out').mkdir()
    with jobs.locked(tmp_path / 'out/lock'):
        code, said = run()
    assert code == 2 and 'is at work' in said


@pytest.mark.parametrize('flag', ['-o', '--out'])
def test_the_script_is_the_verb(place, tmp_path, capsys, monkeypatch, flag):
    """Both refuse a budget with the same words and exit code; `-o` names the folder, as in other verbs."""
    arguments = ['--data', f'{place}/data', '--task', 'deblur', '--methods', 'gavn', '--budget', '5',
                 '--device', 'cpu', flag, f'{tmp_path}/out']
    monkeypatch.setattr(sys, 'argv', ['compare.py', *arguments])
    with handling_sigterm(), pytest.raises(SystemExit) as script:
        runpy.run_path(str(ROOT / 'scripts/compare.py'), run_name='__main__')
    of_script = capsys.readouterr().err
    with handling_sigterm():
        assert main(['compare', *arguments]) == script.value.code == 2
    assert capsys.readouterr().err == of_script
    assert of_script == "error: the budget '5' is neither minutes (15min) nor iterations (4000it)\n"


# ---- what has changed

def test_changed_options(place, run, tmp_path):
    options = shutil.copytree(place / 'options', tmp_path / 'options')
    assert run(options=options)[0] == 0
    file = options / 'train_gavn_deblur.yml'
    file.write_text(file.read_text().replace('ema_decay: 0.9', 'ema_decay: 0.95'))
    code, said = run(options=options)
    assert code == 2 and '--fresh' in said
    assert 'train.ema_decay: 0.98833333' in said and '-> 0.99416666' in said
    assert run('--fresh', 'gavn', options=options)[0] == 0
    out = tmp_path / 'out'
    assert [line.split()[0] for line in starts(out, 'gavn')] == ['0'] and len(starts(out, 'edvr')) == 1
    assert run('--images', options=options)[0] == 0  # tests are done again, trainings are not
    assert len(starts(out, 'gavn')) == 1
    assert yaml.safe_load((out / 'options/test_gavn_deblur.yml').read_text())['val']['save_img'] is True


def test_another_comparison_in_the_same_folder(run, tmp_path):
    assert run()[0] == 0
    code, said = run(budget='61it')
    assert code == 2 and 'holds a comparison with budget 60it, not 61it' in said
    assert run('--fresh', budget='61it')[0] == 0 and read_plan(tmp_path / 'out').clips == 122
    assert len(starts(tmp_path / 'out', 'edvr')) == 1


def test_other_folders_are_refused(run, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.tex').touch()
    code, said = run('--fresh')
    assert code == 2 and 'holds thesis.tex' in said and (tmp_path / 'out/thesis.tex').exists()


def test_other_folders_with_similar_content_are_refused(run, tmp_path):
    """Only a plan or a lock makes a folder one of ours; without them nothing is written there or removed."""
    thesis = tmp_path / 'out/results/thesis.csv'
    thesis.parent.mkdir(parents=True)
    thesis.write_text('years of work')
    for arguments in ((), ('--fresh',), ('--fresh', 'gavn')):
        code, said = run(*arguments)
        assert code == 2 and 'is no comparison, it holds results' in said
        assert [path.name for path in (tmp_path / 'out').iterdir()] == ['results'] and thesis.is_file()
    thesis.unlink()
    thesis.parent.rmdir()
    assert run('--fresh', methods=['edvr'])[0] == 0  # an empty folder will do


def test_an_unwritable_folder_is_refused(run, tmp_path):
    (tmp_path / 'file').touch()
    for out in (tmp_path / 'file', tmp_path / 'file/inside', Path('/proc/comparison')):
        code, said = run('--out', str(out))
        assert code == 2 and f'error: {out} cannot be the folder of a comparison (' in said, said


def test_fresh_deletes_nothing_before_the_arguments_are_checked(run, tmp_path):
    assert run()[0] == 0
    files = sorted(path for path in (tmp_path / 'out').rglob('*') if path.is_file())
    code, said = run('--fresh', '--report')
    assert code == 2 and 'omit one of them' in said
    assert run('--fresh', methods=['gavn', 'edvrr'])[0] == 2
    assert sorted(path for path in (tmp_path / 'out').rglob('*') if path.is_file()) == files


def test_fresh_names_methods_of_the_comparison(run, tmp_path):
    code, said = run('--fresh', 'gvan')
    assert code == 2 and '--fresh gvan: this comparison has gavn, edvr' in said
    assert not (tmp_path / 'out').exists()


def test_the_number_of_loader_processes_may_change(run, tmp_path):
    assert run('--workers', '0')[0] == 0 and run('--workers', '2', '--images')[0] == 0
    made = yaml.safe_load((tmp_path / 'out/options/train_gavn_deblur.yml').read_text())
    assert made['datasets']['train']['num_worker_per_gpu'] == 2
    assert len(starts(tmp_path / 'out', 'gavn')) == 1


@pytest.mark.parametrize(('option', 'value', 'words'), [
    ('--workers', '-3', "'-3' is not a whole number of at least 0"),
    ('--workers', '1.5', "'1.5' is not a whole number"),
    ('--jobs', 'x', "'x' is not a whole number of at least 1"),
    ('--frames', '0', "'0' is not a whole number of at least 1")])
def test_invalid_numbers_are_refused(run, capsys, option, value, words):
    with pytest.raises(SystemExit, match='2'):
        run(f'{option}={value}')
    assert f'argument {option}: {words}' in capsys.readouterr().err


def test_a_changed_detector(place, run, tmp_path):
    say(tmp_path, {'_gavn': {'fail': True}})
    assert run()[0] == 1
    say(tmp_path, {})
    weights = (place / 'detector.pth').read_bytes()
    (place / 'detector.pth').write_bytes(weights + b' ')
    code, said = run()
    (place / 'detector.pth').write_bytes(weights)
    assert code == 1 and 'detector.pth has changed since it began' in said


# ---- minutes

def test_minutes_become_iterations_by_timing(run, tmp_path):
    say(tmp_path, {'_gavn': {}, 'gavn': {'seconds': {'temporal': .01, 'warmup': .02, 'finetune': .04}},
                   '_edvr': {}, 'edvr': {'seconds': .02}})  # in earnest they take no time
    code, said = run('--jobs', '2', budget='0.05min')
    assert code == 0, said
    plan = read_plan(tmp_path / 'out')
    gavn, edvr = plan.shares['gavn'], plan.shares['edvr']
    assert gavn.seconds == pytest.approx([.01, .02, .04], rel=0.5)
    assert edvr.seconds == pytest.approx([.02], rel=0.5)
    assert [share.minutes for share in (gavn, edvr)] == pytest.approx([0.05, 0.05], rel=0.02)
    assert gavn.beside == 2 and plan.machine['cores'] == str(os.cpu_count())
    assert not (tmp_path / 'out/calibration').exists()
    page = (tmp_path / 'out/README.md').read_text()
    assert f'| {gavn.iterations:,} | {gavn.clips:,} | {gavn.clips:,} | 0.0' in page
    assert '0.05min of training here' in page and '2 side by side' in page
    before = (tmp_path / 'out/plan.json').read_text()
    assert run('--jobs', '2', budget='0.05min')[0] == 0
    assert (tmp_path / 'out/plan.json').read_text() == before


def test_a_method_that_cannot_be_timed(run, tmp_path):
    say(tmp_path, {'gavn': {'fail': True}, 'edvr': {'seconds': .005}})
    code, said = run(budget='0.01min')
    assert code == 1 and 'train_gavn failed: could not be timed: training diverged' in said
    assert [path.name for path in (tmp_path / 'out/results').iterdir()] == ['edvr_val.csv']
    assert '## Not done' in (tmp_path / 'out/README.md').read_text()


@pytest.mark.parametrize('first', [['gavn'], ['gavn', 'gavn_quiet']])
def test_audio_variants_get_equal_iterations(run, tmp_path, first):
    say(tmp_path, {'_gavn': {}, '_gavn_quiet': {}, 'gavn_quiet': {'fail': True}, 'gavn': {'seconds': .01}})
    assert run(budget='0.01min', methods=first)[0] == 0
    assert run(budget='0.01min', methods=['gavn_quiet', 'gavn'])[0] == 0
    shares = read_plan(tmp_path / 'out').shares
    assert shares['gavn'] == shares['gavn_quiet'] and (tmp_path / 'out/results/gavn_quiet_val.csv').exists()


# ---- detectors, audio, sizes

@pytest.mark.parametrize('budget', ['6it', '0.01min'])
def test_a_detector_is_trained_first(run, tmp_path, budget):
    say(tmp_path, {'gavn': {'seconds': .002}, 'edvr': {'seconds': .002}})
    code, said = run('--detectors', budget=budget)
    out = tmp_path / 'out'
    assert code == 0, said
    assert said.index('train_pfld') < said.index('gavn: ') if budget == '0.01min' else 'train_pfld' in said
    made = yaml.safe_load((out / 'options/train_gavn_deblur.yml').read_text())
    assert made['path']['pretrain_network_l'] == str(out / 'experiments/out_pfld/models/net_l_latest.pth')
    assert len(starts(out, 'pfld')) == 1
    page = (out / 'README.md').read_text()
    assert 'Landmark detector of GAVN: PFLDAV, weights' in page and 'trained by this comparison' in page


def test_audio_controls_are_tested(run, tmp_path):
    code, said = run('--audio-controls', methods=['gavn', 'edvr'])
    out = tmp_path / 'out'
    assert code == 0, said
    assert {path.stem for path in (out / 'results').iterdir()} == {
        'gavn_val', 'gavn_zeros_val', 'gavn_shuffled_val', 'edvr_val'}
    assert all(f'| {name} ' in said for name in (
        'GAVN', 'GAVN zero audio (test only)', 'GAVN shuffled audio (test only)', 'EDVR'))
    made = yaml.safe_load((out / 'options/zeros/test_gavn_deblur.yml').read_text())
    assert made['datasets']['val']['audio'] == 'zeros' and made['method'] == 'GAVN zero audio (test only)'
    assert len(starts(out, 'gavn')) == 1


def test_different_sizes_print_a_warning(run):
    assert 'sizes differ by more than 20%: EDVR has' in run(methods=['edvr', 'gavn'])[1]
    assert 'sizes differ' not in run('--fresh', methods=['gavn'])[1]


# ---- bad input

def test_errors_are_found_before_training(place, run, tmp_path):
    def told(*arguments, **changes):
        code, said = run(*arguments, **changes)
        assert code == 2 and 'error: ' in said and 'Traceback' not in said, said
        assert not (tmp_path / 'out/experiments').exists()
        return said

    said = told(methods=['gavn', 'vrt'])
    assert 'train_vrt_deblur.yml does not exist' in said and 'edvr, gavn, gavn_quiet, pfld' in said
    assert 'neither minutes' in told(budget='5')
    assert "'tpu'" in told('--device', 'tpu') and 'device cuda:9 does not exist' in told('--device', 'cuda:9')
    said = told('--data', str(tmp_path / 'none'))
    assert 'train_gavn_deblur.yml' in said and 'is not a prepared data set' in said
    options = tmp_path / 'options'
    options.mkdir()
    for file in (place / 'options').iterdir():
        (options / file.name).write_text(file.read_text())

    def with_change(old: str, new: str, *files: str) -> str:
        texts = {path: path.read_text() for path in (options / f'{file}_deblur.yml' for file in files)}
        for file, text in texts.items():
            assert old in text
            file.write_text(text.replace(old, new))
        said = told(options=options)
        for file, text in texts.items():
            file.write_text(text)
        return said

    said = with_change(str(place / 'detector.pth'), 'none/net_l.pth', 'train_gavn')
    assert 'landmark detector none/net_l.pth does not exist' in said
    assert 'train_pfld_deblur.yml' in said and '--detectors' in said
    said = with_change('degradation: blur', 'degradation: blurr', 'train_edvr')
    assert 'train_edvr_deblur.yml' in said and 'layers of this data set: ' in said
    assert 'the nearest valid name is ema_decay' in with_change('ema_decay', 'ema_decai', 'train_edvr')
    assert 'both called GAVN' in with_change('network_g:', 'method: GAVN\nnetwork_g:', 'test_edvr')
    assert 'less than the 3 phases' in told(budget='2it')


def test_methods_are_tasks_of_an_executor(run, tmp_path):
    """One method fails; tables are made from the other, and later from both, without training it again."""
    pytest.importorskip('datatrove')
    out = tmp_path / 'out'
    say(tmp_path, {'_edvr': {'fail': True}})
    code, said = run('--executor', 'local', '--jobs', '2', budget='6it')
    assert code == 1 and 'train_edvr waiting: not finished; see ' in said
    assert (out / 'results/gavn_val.csv').is_file()
    assert len(starts(out, 'gavn')) == 1 and not (out / 'results/edvr_val.csv').exists()
    say(tmp_path, {})
    assert run('--executor', 'local', budget='6it')[0] == 0 and (out / 'results/edvr_val.csv').is_file()
    before = (out / 'tables/table1.md').read_text()
    assert run('--report', budget='6it')[0] == 0 and (out / 'tables/table1.md').read_text() == before
    assert len(starts(out, 'gavn')) == 1
    code, said = run('--executor', 'slurm', '--fresh', budget='1min')
    assert code == 2 and 'give iterations' in said
