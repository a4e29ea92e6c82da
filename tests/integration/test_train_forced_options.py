"""Options of a training from its command line: forced values, seeds, debug mode, loggers."""
import sys
from pathlib import Path

import pytest
import torch
from basicsr.utils import get_root_logger
from linear_training import parse, run_here, stock, weights, write_options

from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import utils_logger, utils_options
from gavn.config.option_file import OptionError, force, read_options


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
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
def test_forced_values(entry: str, place: tuple, value: object, tmp_path: Path) -> None:
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
def test_what_cannot_be_forced(entry: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / 'x.yml'
    file.write_text('name: n\nphases: [{}, {}]\n')
    values, source = read_options(file)
    with pytest.raises(OptionError, match=message):
        force(values, source, [entry])


def test_a_forced_seed_seeds(tmp_path: Path) -> None:
    file = write_options(tmp_path)
    draws = []
    for module in (utils_options, stock('utils.options')):
        for seed in (1, 2):
            parse(file, '--force_yml', f'manual_seed={seed}', module=module)
            draws.append(torch.rand(()).item())
    assert draws[0] != draws[1]
    assert draws[2] == draws[3]  # stock has seeded before


def test_a_seed_of_null_is_drawn(tmp_path: Path) -> None:
    file = write_options(tmp_path, manual_seed=None)
    seeds = {parse(file)['manual_seed'] for _ in range(4)}
    assert len(seeds) == 4
    opt = parse(file)
    assert opt['datasets']['train']['manual_seed'] == opt['manual_seed']


def test_a_file_without_a_seed_has_the_default(tmp_path: Path) -> None:
    file = write_options(tmp_path)
    file.write_text(file.read_text().replace('manual_seed: 3\n', ''))
    opt = parse(file)
    assert opt['manual_seed'] == opt['datasets']['train']['manual_seed'] == 0


def test_a_drawn_seed_is_reported_kept_and_resumed_with(tmp_path: Path) -> None:
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
def test_debug_mode_is_asked_for(name: str, arguments: tuple, frequency: int, tmp_path: Path) -> None:
    opt = parse(write_options(tmp_path, name=name), *arguments)
    assert opt['logger']['save_checkpoint_freq'] == frequency
    assert opt['name'].startswith('debug_') == (frequency == 8)


def test_tensorboard_of_a_name_with_debug_in_it(tmp_path: Path) -> None:
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
