"""Changes on the command line: overlays, degradations, and what `gavn config` prints of them."""
import sys
from pathlib import Path

import pytest
import yaml
from option_files import OPTIONS, load

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches import utils_options
from gavn.cli.main import main
from gavn.config.option_file import OptionError
from gavn.config.overlays import resolve_options
from gavn.config.printing import annotated

CAR = OPTIONS / 'train_gavn_car.yml'


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding='utf-8')
    return folder / name


def test_an_overlay_renames_the_run_and_the_weights_it_makes(tmp_path: Path) -> None:
    both = put(tmp_path, 'a.yml', 'overlay: {suffix: tiny, trained: [g, l]}\n')
    own = put(tmp_path, 'b.yml', 'overlay: {suffix: deep, trained: [g]}\n')
    train, _ = resolve_options(CAR, [both, own])
    test, source = resolve_options(OPTIONS / 'test_gavn_car.yml', [both, own])
    assert train['name'] == 'train_gavn_car_tiny_deep' and test['name'] == 'test_gavn_car_tiny_deep'
    assert test['path'] == {
        'pretrain_network_g': 'experiments/train_gavn_car_tiny_deep/models/net_g_latest.pth',
        'pretrain_network_l': 'experiments/train_pfld_car_tiny/models/net_l_latest.pth'}
    assert source.place(('name',)) == f'{own}, line 1'
    detector, _ = resolve_options(OPTIONS / 'train_pfld_car.yml', [both])
    assert detector['name'] == 'train_pfld_car_tiny'


def test_an_overlay_has_parts_for_types_of_network(tmp_path: Path) -> None:
    base = put(tmp_path, 'base.yml',
               'train: {grad_clip: 1}\nby_network:\n  EDVR:\n    train: {grad_clip: 2, ema_decay: 0.1}\n')
    over = put(tmp_path, 'over.yml', 'base: base.yml\ntrain: {ema_decay: 0.2}\n'
                                     'by_network:\n  GAVN:\n    network_g: {num_feat: 8}\n')
    gavn, source = resolve_options(CAR, [over])
    assert gavn['train']['grad_clip'] == 1 and gavn['network_g']['num_feat'] == 8
    assert source.place(('network_g', 'num_feat')) == f'{over}, line 5'
    edvr, source = resolve_options(OPTIONS / 'train_edvr_car.yml', [over])
    assert edvr['train']['grad_clip'] == 2 and edvr['network_g']['num_feat'] == 64
    assert edvr['train']['ema_decay'] == 0.2  # over all of the base
    assert source.place(('train', 'grad_clip')) == f'{base}, line 4' and 'by_network' not in edvr


def test_a_test_takes_nothing_of_training_and_training_no_test_sets(tmp_path: Path) -> None:
    over = put(tmp_path, 'x.yml', 'train: {ema_decay: 0.5}\nlogger: {print_freq: 1}\nval: {val_freq: 5}\n'
                                  'datasets: {train: {root: a}, val: {root: a}, test: {root: b}}\n')
    test, _ = resolve_options(OPTIONS / 'test_gavn_car.yml', [over])
    assert not {'train', 'logger'} & test.keys() and 'val_freq' not in test['val']
    assert {name: section['root'] for name, section in test['datasets'].items()} == {'test': 'b'}
    train, _ = resolve_options(CAR, [over])
    roots = {name: section['root'] for name, section in train['datasets'].items()}
    assert roots == {'train': 'a', 'val': 'a'}


@pytest.mark.parametrize(('text', 'words'), [
    ('overlay: {sufix: a}', 'unknown key overlay.sufix; valid are suffix, trained'),
    ('overlay: {suffix: a/b}', 'cannot name a folder'),
    ('overlay: 5', 'unknown key overlay'),
    ('by_network: {GAVN: 5}', 'by_network.GAVN must be a section'),
    ('train: {ema_decay: 1', 'not valid YAML'),
])
def test_an_overlay_that_is_none_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        resolve_options(CAR, [put(tmp_path, 'x.yml', text)])


def test_degradations_of_training_and_of_tests() -> None:
    one = load('train_gavn_car', degradations=['blur'])
    several = load('train_gavn_mixed', degradations=['a', 'b'])
    assert [section['degradation'] for section in one['datasets'].values()] == ['blur', 'blur']
    assert one['name'] == 'train_gavn_car_blur'
    assert [section['degradation'] for section in several['datasets'].values()] == [['a', 'b'], 'a', 'gt']
    test = load('test_pfld_car', degradations=['sr_x2', 'sr_x4'])['datasets']
    assert list(test) == ['test', 'test_2', 'test_3', 'test_4', 'test_5', 'test_6']
    assert [(section['degradation'], section['audio']) for section in test.values()] == [
        (layer, audio) for layer in ('sr_x2', 'sr_x4') for audio in (True, 'zeros', 'shuffled')]
    assert len({section['name'] for section in test.values()}) == 6


def test_results_name_the_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = put(tmp_path, 'w.pth', '')
    monkeypatch.setattr(sys, 'argv', [
        'test.py', '-opt', 'options/test_edvr_car.yml', '--with', 'options/presets/small.yml',
        '--degradation', 'car_crf35', '--force_yml', f'path:pretrain_network_g={weights}',
        f'datasets:test:root={tmp_path}', 'num_gpu=0'])
    options, args = utils_options.parse_options(str(OPTIONS.parent), is_train=False)
    assert options['option_file'] == (
        'options/test_edvr_car.yml --with options/presets/small.yml --degradation car_crf35')
    head = args.resolved_config().splitlines()
    assert '# overlaid by options/presets/small.yml' in [
        line.replace(f'{OPTIONS.parent}/', '') for line in head]
    assert '# changed by  --degradation car_crf35' in head


def test_what_is_printed_reads_as_the_options_and_names_every_place() -> None:
    small = OPTIONS / 'presets/small.yml'
    options, source = resolve_options(CAR, [small], ['car_crf35'], ['train:ema_decay=0.5'])
    text = annotated(options, source)
    assert yaml.safe_load(text) == options
    lines = {line.split(':')[0].strip(): line.partition('  # ')[2] for line in text.splitlines()}
    assert lines['ema_decay'] == f'--force_yml (over {CAR})'
    assert lines['degradation'] == f'--degradation car_crf35 (over {CAR})'
    assert lines['total_iter'].startswith(f'{small}, line ')
    assert lines['offset_limit'].startswith(f'{CAR}, line ')


def test_gavn_config_prints_and_checks(capsys: pytest.CaptureFixture) -> None:
    assert main(['config', str(CAR), '--force_yml', 'train:total_iter=5']) == 0
    assert 'total_iter: 5 ' in capsys.readouterr().out
    assert main(['config', str(CAR), '--force_yml', 'train:ema_deca=0.5']) == 2
    out, err = capsys.readouterr()
    assert 'ema_deca: 0.5' in out and 'unknown key train.ema_deca; the nearest valid name is ema_decay' in err
