"""A run that was stopped anywhere and resumed ends with the weights of one that was not, to the last bit."""
import shutil
from pathlib import Path

import linear_training
import pytest
import tiny_run
import torch

from gavn.checkpoints.checkpoint import training_budget
from gavn.metrics.results_file import read_results
from gavn.models.gavn_model import GAVNModel

STOPS = {'at the first switch': 2, 'within a phase and an epoch': 3, 'at the second switch': 4, 'late': 6}
TRAIN = linear_training.ROOT / 'gavn' / 'train.py'
KILLED = linear_training.ROOT / 'tests/helpers/killed_train.py'


def options_in(folder: Path, place: tuple[Path, Path]) -> Path:
    """The same run in another folder, with a checkpoint at every iteration."""
    opt = tiny_run.options(*place, folder)
    opt['logger'].update(save_checkpoint_freq=1, print_freq=1)
    del opt['val'], opt['datasets']['val']
    return tiny_run.write(opt, folder / 'options.yml')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    return tiny_run.make_data(folder / 'data'), tiny_run.make_detector(folder / 'detector.pth')


@pytest.fixture(scope='module')
def unbroken(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp('unbroken')
    linear_training.run_here('train', '-opt', str(options_in(folder, place)))
    return folder / 'experiments' / 'tiny'


def weights_of(run: Path, name: str = 'net_g_latest') -> dict[str, torch.Tensor]:
    file = torch.load(run / 'models' / f'{name}.pth', weights_only=True)
    groups = ('params', 'params_ema')
    return {f'{group}.{key}': value for group in groups for key, value in file[group].items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_training_moves_the_weights_at_every_iteration(unbroken):
    for before, after in ((1, 2), (4, 5)):
        one, other = (weights_of(unbroken, f'net_g_{i}')['params.reconstruction.last.weight']
                      for i in (before, after))
        assert not torch.equal(one, other)


@pytest.mark.parametrize('done', STOPS.values(), ids=STOPS.keys())
def test_a_resumed_run_ends_with_the_same_weights(done, unbroken, place, tmp_path):
    run = tmp_path / 'experiments' / 'tiny'
    for part, name in (('models', f'net_g_{done}.pth'), ('training_states', f'{done}.state')):
        (run / part).mkdir(parents=True)
        shutil.copy(unbroken / part / name, run / part / name)
    linear_training.run_here('train', '-opt', str(options_in(tmp_path, place)), '--auto_resume')
    assert_same(weights_of(run), weights_of(unbroken))
    before, after = (training_budget(run / 'models' / f'net_g_{i}.pth') for i in (done, 'latest'))
    assert (after['iterations'], after['clips_seen']) == (7, 14) and after['minutes'] > before['minutes'] > 0


def test_a_validation_that_was_cut_short_is_done_on_resuming(place, tmp_path, monkeypatch):
    def run(name: str, *arguments: str) -> Path:
        opt = tiny_run.options(*place, tmp_path / name)
        opt['logger']['save_checkpoint_freq'] = opt['val']['val_freq'] = 2
        (tmp_path / name).mkdir(exist_ok=True)
        file = tiny_run.write(opt, tmp_path / 'options.yml')
        linear_training.run_here('train', '-opt', str(file), *arguments)
        return tmp_path / name / 'experiments' / 'tiny'

    def dies(self: GAVNModel, *arguments: object) -> None:
        if self.iteration == 4:
            raise KeyboardInterrupt
        rows(self, *arguments)

    rows = GAVNModel._report
    whole = run('whole')
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GAVNModel, '_report', dies)
        run('cut')
    resumed = run('cut', '--auto_resume')
    assert {path.name for path in (resumed / 'metrics').iterdir()} == {f'val_{i}.csv' for i in (2, 4, 6, 7)}
    assert (resumed / 'best.json').read_text() == (whole / 'best.json').read_text()
    ours, theirs = (read_results(run / 'metrics' / 'val_4.csv') for run in (resumed, whole))
    assert [(row.clip, row.values) for row in ours] == [(row.clip, row.values) for row in theirs]


def test_a_kill_in_the_middle_of_writing_a_checkpoint_loses_nothing(unbroken, place, tmp_path):
    """The whole command, killed while it writes the first weights of the second stage, and started again."""
    options = str(options_in(tmp_path, place))
    killed = linear_training.run('net_g_3', '-opt', options, script=KILLED, check=False)
    assert killed.returncode == -9, killed.stdout
    run = tmp_path / 'experiments' / 'tiny'
    assert not (run / 'models' / 'net_g_3.pth').exists()
    resumed = linear_training.run('-opt', options, '--auto_resume', script=TRAIN)
    assert 'Resuming training from epoch: 1, iter: 2' in resumed.stdout
    assert_same(weights_of(run), weights_of(unbroken))
