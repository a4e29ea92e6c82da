"""From the command line to the folders of a run: options, processes, what a failed start leaves."""
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_run
from basicsr.utils import get_root_logger, misc
from linear_training import forget_logger, parse, run, run_here, write_options

from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import utils_logger
from gavn.basicsr_patches.utils_misc import RunFolders
from gavn.config.option_file import OptionError, option_errors
from gavn.errors import GavnError, RunError
from gavn.models import phased_model
from gavn.models.training_checks import TrainingDivergedError


def test_wrong_options_make_no_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, network_g__type='StandInNett', train__optm_g={})
    with pytest.raises(GavnError, match=r'options.yml, line \d+: network_g.type: there is no network called '
                                         r'StandInNett; the nearest valid name is StandInNet\n.*optm_g'):
        run_here('train', '-opt', str(file))
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_absent_data_and_weights_make_no_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__dataroot_gt='nowhere',
                         path__pretrain_network_g='none.pth')
    with pytest.raises(GavnError) as ended:
        run_here('train', '-opt', str(file))
    assert 'datasets.train.dataroot_gt: nowhere does not exist' in str(ended.value)
    assert 'path.pretrain_network_g: none.pth does not exist' in str(ended.value)
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_failed_starts_leave_one_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__length=1)  # too few for a batch, found after the folders
    for _ in range(3):
        with pytest.raises(GavnError, match='noise: 1 training samples do not fill a batch'):
            run_here('train', '-opt', str(file))
    assert [path.name for path in (tmp_path / 'experiments').iterdir()] == ['stand_in']


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp('data')
    return tiny_run.make_data(folder / 'set'), tiny_run.make_detector(folder / 'detector.pth')


@pytest.mark.parametrize(('section', 'values', 'message'), [
    ('datasets:train', {'num_frame': 99}, 'data set train: .* none of 2 clips has num_frame: 99'),
    ('datasets:train', {'crop_size': 64}, r'data set train: crop_size: 64 does not fit .*\(32x32\)'),
    ('datasets:train', {'degradation': 'car'}, 'data set train: .*car does not exist; layers of this'),
    ('datasets:val', {'split': 'test'}, 'data set val: .*meta_info_test.txt does not exist'),
    ('datasets:val', {'max_frames': 0}, 'data set val: max_frames: 0'),
    ('datasets:train', {'num_frame': 7}, r'datasets\.train: num_frame is 7, but GAVN .* takes 5'),
    ('datasets:train', {'gt_frames': 'all'}, 'of 5 frames are 5, but GAVN returns 1: set gt_frames: valid'),
    ('network_g', {'radius': -1}, 'network_g: need radius >= 0'),
    ('network_g', {'radius': 3}, 'network_g: radius 3 without inject'),
    ('train:pixel_opt', {'reduction': 'maen'}, r'train\.pixel_opt: Unsupported reduction mode: maen'),
    ('train:optim_g', {'betas': [0.9, 2]}, r'train\.optim_g: Invalid beta parameter'),
    ('val:metrics', {'psnr': {'type': 'calculate_psnr', 'input_order': 'HWC'}},
     r"val\.metrics: calculate_psnr has no option 'input_order'"),
    ('val:metrics', {'nme': {'type': 'landmark_nme', 'mouth': True}},
     r'unknown key val\.metrics\.nme\.mouth'),
])
def test_options_that_do_not_fit_are_reported_clearly(section: str, values: dict, message: str,
                                                     place: tuple[Path, Path], tmp_path: Path) -> None:
    opt = tiny_run.options(*place, tmp_path)
    part = opt
    for name in section.split(':'):
        part = part[name]
    part.update(values)
    with pytest.raises(GavnError, match=message):
        run_here('train', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))


def test_tests_report_errors_too(place: tuple[Path, Path], tmp_path: Path) -> None:
    opt = tiny_run.options(*place, tmp_path)
    del opt['train'], opt['logger']
    opt['path'] = {'pretrain_network_l': str(place[1]), 'results_root': str(tmp_path / 'results')}
    opt['datasets'] = {'test': opt['datasets']['val'] | {'split': 'test'}}
    with pytest.raises(GavnError, match=r'data set val: .*meta_info_test.txt does not exist'):
        run_here('test', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))
    opt['datasets']['test']['split'] = 'val'
    with pytest.raises(GavnError, match=r'path\.pretrain_network_g is not set'):
        run_here('test', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))


def test_training_that_diverges_ends_with_a_clear_message(place: tuple[Path, Path], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(log: dict, iteration: int, limit: float | None) -> None:
        raise TrainingDivergedError(f'iteration {iteration}: l_pix is not finite')
    monkeypatch.setattr(phased_model, 'check_health', lost)
    file = tiny_run.write(tiny_run.options(*place, tmp_path), tmp_path / 'x.yml')
    with pytest.raises(GavnError, match='iteration 2: l_pix is not finite'):
        run_here('train', '-opt', str(file))


def test_bugs_are_not_hidden(tmp_path: Path) -> None:
    """What is raised while samples are made is no matter of options."""
    with pytest.raises(ValueError, match='sample 3 is bad') as error:
        run_here('train', '-opt', str(write_options(tmp_path, datasets__train__bad=3)))
    assert not isinstance(error.value, OptionError)


def test_what_is_built_from_options() -> None:
    with pytest.raises(OptionError) as error, option_errors('model'), option_errors('network_g'):
        raise ValueError('wrong')
    assert str(error.value) == 'network_g: wrong'
    with pytest.raises(KeyError), option_errors('network_g'):
        raise KeyError('a bug')


def test_what_a_run_left_is_archived(tmp_path: Path) -> None:
    paths = {'experiments_root': str(tmp_path / 'x'), 'models': str(tmp_path / 'x/models')}
    opt = {'is_train': True, 'path': paths}
    RunFolders().make_exp_dirs(opt)
    (tmp_path / 'x/models/net_g_4.pth').touch()
    RunFolders().make_exp_dirs(opt)
    assert len(list(tmp_path.glob('x_archived_*/models/net_g_4.pth'))) == 1
    assert not list((tmp_path / 'x/models').iterdir())


@pytest.mark.parametrize('is_train', [True, False])
def test_what_no_run_made_is_not_renamed(is_train: bool, tmp_path: Path) -> None:
    (tmp_path / 'papers/thesis').mkdir(parents=True)
    root = 'experiments_root' if is_train else 'results_root'
    with pytest.raises(RunError, match=r'papers exists and is not the folder of a run.*\n.*another name'):
        RunFolders().make_exp_dirs({'is_train': is_train, 'path': {root: str(tmp_path / 'papers')}})
    assert [path.name for path in tmp_path.iterdir()] == ['papers']


@pytest.mark.parametrize('kind', ['train', 'test'])
@pytest.mark.parametrize('name', ['../../x', '.', '..', '/tmp/x', 'a/b', 'a\\b', 'x' * 5000, ' ', 'a\nb'])
def test_a_name_is_one_folder(kind: str, name: str, tmp_path: Path) -> None:
    work = tmp_path / 'a/b'
    work.mkdir(parents=True)
    (tmp_path / 'x').mkdir()
    file = write_options(work, name=name)
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if text.startswith('name:'))
    with pytest.raises(GavnError, match=rf'options\.yml, line {line}: name: .*(folder|longer)'):
        run_here(kind, '-opt', str(file))
    assert {path.name for path in tmp_path.rglob('*')} == {'a', 'b', 'x', 'options.yml'}


@pytest.mark.parametrize(('key', 'changes'), [
    ('datasets.train.name', {'datasets__train__name': '../../x'}),
    ('val.suffix', {'val': {'suffix': '/../x'}})])
def test_names_of_results_stay_in_their_folder(key: str, changes: dict, tmp_path: Path) -> None:
    file = write_options(tmp_path, **changes)
    with pytest.raises(GavnError, match=rf"options\.yml, line \d+: {key}: '.*x' cannot name a folder"):
        run_here('train', '-opt', str(file))
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_paths_and_tensorboard_may_be_left_out(tmp_path: Path) -> None:
    opt = parse(write_options(tmp_path))
    assert opt['logger']['use_tb_logger'] is False
    opt['path'] |= {'pretrain_network_x': None, 'mine': None, 'experiments_root': str(tmp_path / 'a')}
    RunFolders().make_exp_dirs(opt)
    assert (tmp_path / 'a').is_dir()
    with pytest.raises(TypeError):
        misc.make_exp_dirs(opt)


@pytest.mark.parametrize(('logger', 'words'), [
    ({'use_tb_logger': True}, r"logger.wandb needs wandb: pip install .*\[wandb\]'"),
    ({'use_tb_logger': False}, r'set use_tb_logger: true'),
])
def test_wandb_is_looked_for_before_anything_is_archived(logger: dict, words: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'wandb', None)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    result = tmp_path / 'experiments/stand_in/models/net_g_4.pth'
    result.parent.mkdir(parents=True)
    result.touch()
    changes = {f'logger__{key}': value for key, value in logger.items()}
    file = write_options(tmp_path, logger__wandb={'project': 'p'}, **changes)
    with pytest.raises(GavnError, match=words):
        run_here('train', '-opt', str(file))
    assert result.is_file()


def test_the_bar_leaves_the_log_whole(monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(utils_logger, 'shows_progress_bar', lambda: True)
    forget_logger()
    logger = get_root_logger()
    logger.setLevel('INFO')
    bar = utils_logger.ProgressBar(2, 4, logger)
    bar.show_losses({'l_pix': 0.25, 'offset': 3.0})
    bar.update_to(3)
    logger.info('a line')
    bar.update_to(4)
    forget_logger()
    shown = capsys.readouterr().err
    assert '3/4' in shown
    assert 'l_pix=2.500e-01' in shown
    assert any(line.endswith('INFO: a line') for line in shown.replace('\r', '\n').splitlines())


def test_the_script_runs_from_anywhere(tmp_path: Path) -> None:
    """Without an installation, and with a folder that has the name of a package of gavn."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'options.yml').write_text('name: x\nmodel_type: SRModell\n')
    script = Path(basicsr_patches.__file__).parents[1] / 'train.py'
    done = run('-opt', 'options.yml', check=False, cwd=tmp_path, script=script)
    assert done.returncode == 2
    assert 'options.yml, line 2: model_type: there is no model called SRModell; the nearest valid name is ' \
           'SRModel' in done.stdout


def test_the_last_line_of_the_log_has_no_time_left() -> None:
    opt = {'name': 'run', 'logger': {'print_freq': 1, 'use_tb_logger': False}, 'train': {'total_iter': 3}}
    lines: list[str] = []
    log = utils_logger.MessageLogger(opt, 0, None, utils_logger.ProgressBar(0, 3, get_root_logger()),
                                     utils_logger.DataWaitTimer())
    log.logger = SimpleNamespace(info=lines.append)
    log({'epoch': 0, 'iter': 3, 'lrs': [1e-3], 'time': 0.1, 'data_time': 0.0, 'l_pix': 1.0})
    assert 'eta: 0:00:00' in lines[0]
