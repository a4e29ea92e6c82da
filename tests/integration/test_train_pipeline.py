"""From the command line to the folders of a run: options, processes, what a failed start leaves."""
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_run
import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger, misc
from linear_training import StandInNet, forget_logger, run, run_here, stock, weights, write_options
from torch.nn.parallel import DistributedDataParallel

from gavn import basicsr_patches, data, metrics, models  # noqa: F401  (fill the registries)
from gavn.basicsr_patches import models_base_model, utils_logger, utils_options
from gavn.basicsr_patches.utils_dist_util import init_dist
from gavn.basicsr_patches.utils_misc import RunFolders
from gavn.config.option_file import OptionError, Source, force, option_errors, read_options
from gavn.errors import RunError
from gavn.models import phased_model
from gavn.models.training import TrainingDivergedError


def parse(monkeypatch: pytest.MonkeyPatch, file: Path, *arguments: str,
          module: object = utils_options) -> dict:
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), *arguments])
    return module.parse_options(str(file.parent), is_train=True)[0]


def test_s_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / 'x.yml'
    file.write_text('a: 4e-4\nb: 1e5\nc: -2E+3\nd: 1.5\ne: 12\nf: !!float 1e-3\ng: e5\nh: .5e1\n')
    values, _ = read_options(file)
    assert isinstance(values['b'], int)
    assert values == {'a': 4e-4, 'b': 1e5, 'c': -2e3, 'd': 1.5, 'e': 12, 'f': 1e-3, 'g': 'e5', 'h': 5.0}
    module = stock('utils.options')
    theirs = module.yaml.load(file.read_text(), Loader=module.ordered_yaml()[0])
    assert theirs['a'] == '4e-4'


@pytest.mark.parametrize(('entry', 'place', 'value'), [
    ('train:lr=1e-4', ('train', 'lr'), 1e-4),
    ('train:warmup_iter=-1', ('train', 'warmup_iter'), -1),
    ('name=a=b', ('name',), 'a=b'),
    ('a:new:key=5e3', ('a', 'new', 'key'), 5e3),
    ('a:null_section:key=true', ('a', 'null_section', 'key'), True),
    ('train:betas=[0.9, 0.99]', ('train', 'betas'), [0.9, 0.99]),
    ('train:phases:1:iters=7', ('train', 'phases', 1, 'iters'), 7),
    ('path:x=~', ('path', 'x'), None),
    ('path:x=null', ('path', 'x'), None),
    ('train:compile=none', ('train', 'compile'), 'none'),
    ('network_g:share_align=None', ('network_g', 'share_align'), 'None'),
    ("x=__import__('os').getcwd()", ('x',), "__import__('os').getcwd()"),
    ('x=[1', ('x',), '[1'),
])
def test_s_forced_values(entry: str, place: tuple, value: object, tmp_path: Path) -> None:
    file = tmp_path / 'x.yml'
    file.write_text('name: n\ntrain: {phases: [{iters: 1}, {iters: 2}]}\na: {null_section: ~}\n')
    values, source = read_options(file)
    force(values, source, [entry])
    found = values
    for part in place:
        found = found[part]
    assert found == value
    assert source.place(place).startswith('--force_yml')


@pytest.mark.parametrize(('entry', 'message'), [
    ('train', 'expected key=value'), ('train=', 'null is ~'), ('name:x=1', 'is a value, not a section'),
    ('phases:5:x=1', 'no position in a list of 2'), ('name:x:y=1', 'under a value'),
])
def test_s_what_cannot_be_forced(entry: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / 'x.yml'
    file.write_text('name: n\nphases: [{}, {}]\n')
    values, source = read_options(file)
    with pytest.raises(OptionError, match=message):
        force(values, source, [entry])


def test_s_a_forced_seed_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_options(tmp_path)
    draws = []
    for module in (utils_options, stock('utils.options')):
        for seed in (1, 2):
            parse(monkeypatch, file, '--force_yml', f'manual_seed={seed}', module=module)
            draws.append(torch.rand(()).item())
    assert draws[0] != draws[1]
    assert draws[2] == draws[3]  # stock has seeded before


def test_s_a_seed_of_null_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_options(tmp_path, manual_seed=None)
    seeds = {parse(monkeypatch, file)['manual_seed'] for _ in range(4)}
    assert len(seeds) == 4
    opt = parse(monkeypatch, file)
    assert opt['datasets']['train']['manual_seed'] == opt['manual_seed']


def test_s_a_file_without_a_seed_has_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_options(tmp_path)
    file.write_text(file.read_text().replace('manual_seed: 3\n', ''))
    opt = parse(monkeypatch, file)
    assert opt['manual_seed'] == opt['datasets']['train']['manual_seed'] == 0


def test_s_a_drawn_seed_is_told_kept_and_resumed_with(tmp_path: Path) -> None:
    file = write_options(tmp_path, manual_seed=None)
    run_here('train', '-opt', str(file), '--force_yml', 'train:total_iter=5')
    folder = tmp_path / 'experiments/stand_in'
    kept = read_options(folder / 'options.yml')[0]['manual_seed']
    log = next(folder.glob('train_*.log')).read_text()
    assert f'manual_seed: {kept} was drawn' in log
    run_here('train', '-opt', str(file), '--auto_resume')
    assert read_options(folder / 'options.yml')[0]['manual_seed'] == kept
    resumed = weights(tmp_path)
    run_here('train', '-opt', str(write_options(tmp_path, manual_seed=kept)))
    assert all(torch.equal(value, resumed[key]) for key, value in weights(tmp_path).items())


@pytest.mark.parametrize(('name', 'arguments', 'frequency'), [
    ('undebugged', (), 4), ('debug_x', (), 8), ('x', ('--debug',), 8),
    ('x', ('--force_yml', 'debug=true'), 8)])
def test_s_debug_mode_is_asked_for(name: str, arguments: tuple, frequency: int, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    opt = parse(monkeypatch, write_options(tmp_path, name=name), *arguments)
    assert opt['logger']['save_checkpoint_freq'] == frequency
    assert opt['name'].startswith('debug_') == (frequency == 8)


def test_s_tensorboard_of_a_name_with_debug_in_it(tmp_path: Path) -> None:
    opt = {'name': 'undebugged', 'root_path': str(tmp_path), 'train': {'total_iter': 3},
           'logger': {'use_tb_logger': True, 'print_freq': 1}}
    assert stock('train').init_tb_loggers(opt) is None
    scalars = {}
    writer = utils_logger.init_tb_loggers(opt)
    writer.add_scalar = lambda name, value, iteration: scalars.update({name: value})
    log = utils_logger.MessageLogger(opt, 0, writer, utils_logger.ProgressBar(0, 3, get_root_logger()),
                                 utils_logger.DataWaitTimer())
    log({'epoch': 0, 'iter': 1, 'lrs': [0.1], 'l_pix': 2.0})
    assert scalars == {'lr': 0.1, 'losses/l_pix': 2.0, 'wait': 0.0}
    assert utils_logger.init_tb_loggers({**opt, 'name': 'debug_x'}) is None


def test_wandb_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = {}
    module = type(sys)('wandb')
    module.init = lambda **settings: started.update(settings)  # and nothing else, as in its newest release
    monkeypatch.setitem(sys.modules, 'wandb', module)
    monkeypatch.setattr(utils_logger.basicsr_logger, 'init_tb_logger', lambda log_dir: log_dir)
    opt = {'name': 'x', 'root_path': '/r', 'logger': {'use_tb_logger': True, 'wandb': {'project': 'p'}}}
    assert utils_logger.init_tb_loggers(opt) == '/r/tb_logger/x'
    assert started['project'] == 'p'
    with pytest.raises(AttributeError):
        stock('utils.logger').init_wandb_logger(opt)


def test_u_both_spellings_of_local_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(monkeypatch, write_options(tmp_path), '--local-rank=1')['name'] == 'stand_in'
    assert parse(monkeypatch, write_options(tmp_path), '--local_rank=1')['name'] == 'stand_in'


def test_t_the_gpu_is_the_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {}
    for key, value in {'RANK': '5', 'LOCAL_RANK': '2'}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: chosen.update(device=device))
    monkeypatch.setattr(dist, 'init_process_group', lambda **settings: chosen.update(settings))
    stock('utils.dist_util')._init_dist_pytorch('nccl')
    assert chosen['device'] == 1  # of rank 5 where the first machine holds 3 processes
    init_dist('pytorch')
    assert chosen == {'device': 2, 'backend': 'nccl'}


def test_t_processes_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    with pytest.raises((ZeroDivisionError, AssertionError, RuntimeError)):
        stock('utils.dist_util')._init_dist_pytorch('gloo')
    init_dist('pytorch', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        basicsr_patches.apply()
        model = BaseModel({'num_gpu': 0, 'is_train': True, 'dist': True})
        wrapped = model.model_to_device(StandInNet())
        assert isinstance(wrapped, DistributedDataParallel)
        wrapped(torch.ones(2, 3, 4, 4)).sum().backward()
    finally:
        dist.destroy_process_group()


def test_t_slurm_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho node3\necho node4\n')
    (tmp_path / 'scontrol').chmod(0o755)
    slurm = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'node[3-4]',
             'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'RANK': '', 'WORLD_SIZE': '', 'LOCAL_RANK': '',
             'MASTER_ADDR': '', 'MASTER_PORT': ''}
    for key, value in slurm.items():
        monkeypatch.setenv(key, value)
    joined = {}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(dist, 'init_process_group', lambda **settings: joined.update(settings))
    init_dist('slurm', port=1234)
    assert joined == {'backend': 'gloo'}
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    assert [os.environ[name] for name in names] == ['3', '4', '1', 'node3', '1234']


def test_v_wrong_options_make_no_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, network_g__type='StandInNett', train__optm_g={})
    with pytest.raises(SystemExit, match=r'options.yml, line \d+: network_g.type: there is no network called '
                                         r'StandInNett; the nearest valid name is StandInNet\n.*optm_g'):
        run_here('train', '-opt', str(file))
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_v_absent_data_and_weights_make_no_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__dataroot_gt='nowhere',
                         path__pretrain_network_g='none.pth')
    with pytest.raises(SystemExit) as ended:
        run_here('train', '-opt', str(file))
    assert 'datasets.train.dataroot_gt: nowhere does not exist' in str(ended.value)
    assert 'path.pretrain_network_g: none.pth does not exist' in str(ended.value)
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_v_failed_starts_leave_one_folder(tmp_path: Path) -> None:
    file = write_options(tmp_path, datasets__train__length=1)  # too few for a batch, found after the folders
    for _ in range(3):
        with pytest.raises(SystemExit, match='error: noise: 1 training samples do not fill a batch'):
            run_here('train', '-opt', str(file))
    assert [path.name for path in (tmp_path / 'experiments').iterdir()] == ['stand_in']


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp('data')
    return tiny_run.make_data(folder / 'set'), tiny_run.make_detector(folder / 'detector.pth')


@pytest.mark.parametrize(('section', 'values', 'message'), [
    ('datasets:train', {'num_frame': 99}, 'error: data set train: .* none of 2 clips has num_frame: 99'),
    ('datasets:train', {'crop_size': 64}, r'error: data set train: crop_size: 64 does not fit .*\(32x32\)'),
    ('datasets:train', {'degradation': 'car'}, 'error: data set train: .*car does not exist; layers of this'),
    ('datasets:val', {'split': 'test'}, 'error: data set val: .*meta_info_test.txt does not exist'),
    ('datasets:val', {'max_frames': 0}, 'error: data set val: max_frames: 0'),
    ('datasets:train', {'num_frame': 7}, r'error: datasets\.train: num_frame is 7, but GAVN .* takes 5'),
    ('datasets:train', {'gt_frames': 'all'}, 'of 5 frames are 5, but GAVN returns 1: set gt_frames: valid'),
    ('network_g', {'radius': -1}, 'error: network_g: need radius >= 0'),
    ('network_g', {'radius': 3}, 'error: network_g: radius 3 without inject'),
    ('train:pixel_opt', {'reduction': 'maen'}, r'error: train\.pixel_opt: Unsupported reduction mode: maen'),
    ('train:optim_g', {'betas': [0.9, 2]}, r'error: train\.optim_g: Invalid beta parameter'),
    ('val:metrics', {'psnr': {'type': 'calculate_psnr', 'input_order': 'HWC'}},
     r"error: val\.metrics: calculate_psnr has no option 'input_order'"),
    ('val:metrics', {'nme': {'type': 'landmark_nme', 'mouth': True}}, r'val\.metrics: landmark_nme has'),
])
def test_v_options_that_do_not_fit_are_told_in_words(section: str, values: dict, message: str,
                                                     place: tuple[Path, Path], tmp_path: Path) -> None:
    opt = tiny_run.options(*place, tmp_path)
    part = opt
    for name in section.split(':'):
        part = part[name]
    part.update(values)
    with pytest.raises(SystemExit, match=message):
        run_here('train', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))


def test_v_tests_tell_in_words_too(place: tuple[Path, Path], tmp_path: Path) -> None:
    opt = tiny_run.options(*place, tmp_path)
    del opt['train'], opt['logger']
    opt['path'] = {'pretrain_network_l': str(place[1]), 'results_root': str(tmp_path / 'results')}
    opt['datasets'] = {'test': opt['datasets']['val'] | {'split': 'test'}}
    with pytest.raises(SystemExit, match=r'error: data set val: .*meta_info_test.txt does not exist'):
        run_here('test', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))
    opt['datasets']['test']['split'] = 'val'
    with pytest.raises(SystemExit, match=r'error: path\.pretrain_network_g is not set'):
        run_here('test', '-opt', str(tiny_run.write(opt, tmp_path / 'x.yml')))


def test_v_training_that_diverges_ends_in_words(place: tuple[Path, Path], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(log: dict, iteration: int, limit: float | None) -> None:
        raise TrainingDivergedError(f'iteration {iteration}: l_pix is not finite')
    monkeypatch.setattr(phased_model, 'check_health', lost)
    file = tiny_run.write(tiny_run.options(*place, tmp_path), tmp_path / 'x.yml')
    with pytest.raises(SystemExit, match='error: iteration 2: l_pix is not finite'):
        run_here('train', '-opt', str(file))


def test_v_bugs_are_not_hidden(tmp_path: Path) -> None:
    """What is raised while samples are made is no matter of options."""
    with pytest.raises(ValueError, match='sample 3 is bad') as error:
        run_here('train', '-opt', str(write_options(tmp_path, datasets__train__bad=3)))
    assert not isinstance(error.value, OptionError)


def test_v_what_is_built_from_options() -> None:
    with pytest.raises(OptionError) as error, option_errors('model'), option_errors('network_g'):
        raise ValueError('wrong')
    assert str(error.value) == 'network_g: wrong'
    with pytest.raises(KeyError), option_errors('network_g'):
        raise KeyError('a bug')


def test_v_what_a_run_left_is_archived(tmp_path: Path) -> None:
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
    with pytest.raises(SystemExit, match=rf'options\.yml, line {line}: name: .*(folder|longer)'):
        run_here(kind, '-opt', str(file))
    assert {path.name for path in tmp_path.rglob('*')} == {'a', 'b', 'x', 'options.yml'}


@pytest.mark.parametrize(('key', 'changes'), [
    ('datasets.train.name', {'datasets__train__name': '../../x'}),
    ('val.suffix', {'val': {'suffix': '/../x'}})])
def test_names_of_results_stay_in_their_folder(key: str, changes: dict, tmp_path: Path) -> None:
    file = write_options(tmp_path, **changes)
    with pytest.raises(SystemExit, match=rf"options\.yml, line \d+: {key}: '.*x' cannot name a folder"):
        run_here('train', '-opt', str(file))
    assert [path.name for path in tmp_path.iterdir()] == ['options.yml']


def test_w_paths_and_tensorboard_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opt = parse(monkeypatch, write_options(tmp_path))
    assert opt['logger']['use_tb_logger'] is False
    opt['path'] |= {'pretrain_network_x': None, 'mine': None, 'experiments_root': str(tmp_path / 'a')}
    RunFolders().make_exp_dirs(opt)
    assert (tmp_path / 'a').is_dir()
    with pytest.raises(TypeError):
        misc.make_exp_dirs(opt)


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert parse(monkeypatch, write_options(tmp_path))['num_gpu'] == 0
    for wrong in (2, -1):
        with pytest.raises(OptionError, match=rf'num_gpu is {wrong}, this machine has 0'):
            parse(monkeypatch, write_options(tmp_path, num_gpu=wrong))


def test_gpus_of_several_machines_may_be_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert utils_options._gpus(8, Source('x.yml'), launched=True) == 8
    with pytest.raises(OptionError, match='num_gpu is 8, this machine has 4'):
        utils_options._gpus(8, Source('x.yml'), launched=False)


def test_data_parallel_takes_as_many_gpus_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock spreads over all, with batches for `num_gpu`."""
    asked = {}
    monkeypatch.setattr(models_base_model, 'DataParallel',
                        lambda net, device_ids: asked.update(ids=device_ids))
    model = SimpleNamespace(opt={'dist': False, 'num_gpu': 2}, device=torch.device('cpu'))
    models_base_model.model_to_device(model, StandInNet())
    assert asked == {'ids': [0, 1]}


@pytest.mark.parametrize(('logger', 'words'), [
    ({'use_tb_logger': True}, r'logger.wandb needs the package wandb: pip install "gavn\[wandb\]"'),
    ({'use_tb_logger': False}, r'set use_tb_logger: true'),
])
def test_wandb_is_looked_for_before_anything_is_archived(logger: dict, words: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'wandb', None)
    monkeypatch.setattr(utils_options.importlib.util, 'find_spec', lambda name: None)
    result = tmp_path / 'experiments/stand_in/models/net_g_4.pth'
    result.parent.mkdir(parents=True)
    result.touch()
    changes = {f'logger__{key}': value for key, value in logger.items()}
    file = write_options(tmp_path, logger__wandb={'project': 'p'}, **changes)
    with pytest.raises(SystemExit, match=words):
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
    """Without an installation, and with a folder called like a room of ours in the way."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'options.yml').write_text('name: x\nmodel_type: SRModell\n')
    script = Path(basicsr_patches.__file__).parents[1] / 'train.py'
    done = run('-opt', 'options.yml', check=False, cwd=tmp_path, script=script)
    assert done.returncode == 1
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
