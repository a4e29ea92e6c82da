"""Option files that build on others: what lies over what, where each key stands, what a run keeps of it."""
import re
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs import build_network
from linear_training import run_here, write_options
from option_files import FILES

from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
from gavn.basicsr_patches.utils_options import registries, resolved_config
from gavn.cli.demo import SMALLEST
from gavn.config.check import check_options
from gavn.config.option_file import OptionError, OptionSource, force, merge, read_options
from gavn.restoration.restorer import Restorer


def put(folder: Path, **files: str) -> Path:
    """Writes FILE.yml of each text; returns the last."""
    for name, text in files.items():
        (folder / f'{name}.yml').write_text(text, encoding='utf-8')
    return folder / f'{name}.yml'


@pytest.mark.parametrize(('lower', 'upper', 'expected'), [
    ({'a': {'b': 1, 'c': 2}}, {'a': {'c': 3, 'd': 4}}, {'a': {'b': 1, 'c': 3, 'd': 4}}),
    ({'a': [1, 2, 3]}, {'a': [4]}, {'a': [4]}),
    ({'a': [{'b': 1}]}, {'a': [{'c': 1}]}, {'a': [{'c': 1}]}),
    ({'a': 1}, {'a': {'b': 2}}, {'a': {'b': 2}}),
    ({'a': {'b': 2}}, {'a': 1}, {'a': 1}),
    ({'a': 1}, {'a': None}, {'a': None}),
    ({'a': None}, {'a': {'b': 1}}, {'a': {'b': 1}}),
    ({}, {'a': None}, {'a': None}),
    ({'a': {'b': {'c': 1}, 'd': 2}}, {'a': {'b': None}}, {'a': {'d': 2}}),
    ({'n': {'type': 'GAVN', 'radius': 1}}, {'n': {'type': 'EDVR', 'hr_in': True}},
     {'n': {'type': 'EDVR', 'hr_in': True}}),
    ({'n': {'type': 'GAVN', 'radius': 1}}, {'n': {'type': 'GAVN', 'inject': True}},
     {'n': {'type': 'GAVN', 'radius': 1, 'inject': True}}),
    ({'n': {'type': 'GAVN', 'radius': 1}}, {'n': {'inject': True}},
     {'n': {'type': 'GAVN', 'radius': 1, 'inject': True}}),
    ({'n': {'width': 1}}, {'n': {'type': 'X'}}, {'n': {'width': 1, 'type': 'X'}}),
])
def test_order_of_overriding(lower: dict, upper: dict, expected: dict) -> None:
    before = repr((lower, upper))
    assert merge(lower, upper) == expected
    assert repr((lower, upper)) == before


def test_bases_in_order_and_the_file_over_all(tmp_path: Path) -> None:
    file = put(tmp_path, a='x: {p: 1, q: 1, r: 1}\n', b='x: {q: 2, r: 2}\n',
               top='base: [a.yml, b.yml]\nx: {r: 3}\n')
    options, source = read_options(file)
    assert options == {'x': {'p': 1, 'q': 2, 'r': 3}}
    assert source.bases == [str(tmp_path / 'a.yml'), str(tmp_path / 'b.yml')]


def test_a_base_is_relative_to_who_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'options/deep').mkdir(parents=True)
    put(tmp_path / 'options', root='a: 1\n', middle='base: root.yml\nb: 2\n')
    put(tmp_path / 'options/deep', top='base: ../middle.yml\nc: 3\n')
    monkeypatch.chdir(tmp_path)
    options, source = read_options('options/deep/top.yml')
    assert options == {'a': 1, 'b': 2, 'c': 3}
    assert source.bases == ['options/root.yml', 'options/middle.yml']
    outside = put(tmp_path, outside=f'base: {tmp_path}/options/root.yml\n')
    assert read_options(outside)[0] == {'a': 1}


def test_a_base_of_two_bases_does_not_come_back_over_the_first(tmp_path: Path) -> None:
    file = put(tmp_path, root='x: 1\n', a='base: root.yml\nx: 2\n', b='base: root.yml\ny: 3\n',
               top='base: [a.yml, b.yml]\n')
    assert read_options(file)[0] == {'x': 2, 'y': 3}


def test_a_section_is_not_shared_with_its_anchor(tmp_path: Path) -> None:
    file = put(tmp_path, a='one: &it {p: 1}\ntwo: *it\n', b='base: a.yml\none: {p: 2}\n')
    assert read_options(file)[0] == {'one': {'p': 2}, 'two': {'p': 1}}


def test_places_name_the_file_and_line_of_the_key(tmp_path: Path) -> None:
    file = put(tmp_path, low='name: x\ntrain:\n  lr: 1\n  phases:\n    - {a: 1}\n    - {b: 2}\n'
                             'net: {type: A, p: 1}\n',
               top='base: low.yml\ntrain:\n  phases:\n    - {c: 1}\nnet:\n  type: B\n')
    options, source = read_options(file)
    low, top = str(tmp_path / 'low.yml'), str(tmp_path / 'top.yml')
    assert source.place(('name',)) == f'{low}, line 1'
    assert source.place(('train', 'lr')) == f'{low}, line 3'
    assert source.place(('train', 'phases', 0, 'c')) == f'{top}, line 4'
    assert source.place(('train', 'phases', 1, 'b')) == f'{top}, line 3'  # that list is gone
    assert source.place(('net', 'p')) == f'{top}, line 5'
    assert source.place(('none',)) == top
    force(options, source, ['train:lr=2'])
    assert source.place(('train', 'lr')) == f'--force_yml (over {top})'


def test_a_wrong_option_is_reported_with_its_place(tmp_path: Path) -> None:
    base = write_options(tmp_path, network_g__widht=3)
    file = put(tmp_path, top=f'base: {base.name}\nlogger: {{print_frequency: 5}}\n')
    with pytest.raises(OptionError) as error:
        check_options(*read_options(file), registries())
    line = base.read_text().splitlines().index('  widht: 3') + 1
    assert f'{base}, line {line}: unknown key network_g.widht; the nearest' in str(error.value)
    assert f'{file}, line 2: unknown key logger.print_frequency' in str(error.value)


@pytest.mark.parametrize(('files', 'message'), [
    ({'a': 'x: 1\nbase: none.yml\n'},
     r'a\.yml, line 2: base: cannot read the option file .*none\.yml: No such file or directory'),
    ({'a': 'base: a.yml\n'}, r'a\.yml, line 1: base: the file builds on itself \(.*a\.yml <- .*a\.yml\)'),
    ({'a': 'base: b.yml\n', 'b': 'base: ../{here}/a.yml\n'},
     r'b\.yml, line 1: base: the file builds on itself \(.*a\.yml <- .*b\.yml <- .*a\.yml\)'),
    ({'a': 'base: 5\n'}, 'a.yml, line 1: base is 5; it must be an option file or a list of option files'),
    ({'a': 'base: [b.yml, ~]\n', 'b': 'x: 1\n'}, 'it must be an option file or a list'),
    ({'a': 'base: []\n'}, 'it must be an option file or a list'),
    ({'a': 'base: b.yml\n', 'b': '- 1\n'}, r'b\.yml holds no options'),
    ({'a': 'base: b.yml\n', 'b': 'x: [1\n'}, r'b\.yml, line 2: not valid YAML'),
    ({'a': 'base: b.yml\n', 'b': 'x: !!python/object/apply:os.getcwd []\n'}, 'b.yml, line 1: not valid'),
    ({'a': 'base: b.yml\n', 'b': 'x: {y: 1, y: 2}\n'}, r'b\.yml, line 1: x\.y is given twice'),
    ({'a': 'base: .\n'}, r'cannot read the option file .*: Is a directory'),
])
def test_what_is_no_base(files: dict[str, str], message: str, tmp_path: Path) -> None:
    put(tmp_path, **{name: text.format(here=tmp_path.name) if 'here' in text else text
                     for name, text in files.items()})
    with pytest.raises(OptionError, match=message):
        read_options(tmp_path / 'a.yml')


@pytest.mark.parametrize(('base', 'words'), [
    ('../base/edvr_l.yml', 'replaces this file: use options/train_edvr_l_car.yml, or'),
    ('../base/test.yml', 'use options/test_gavn_car.yml'),
    ('../base/shipped.yml', 'use options/train_gavn_car.yml'),
    ('../shipped/train_gavn_sr.yml', 'use options/pretrained/train_gavn_sr.yml'),
    ('../base/small_vrt.yml', 'add --with options/presets/small.yml'),
    ('../base/small_deblur.yml', 'small.yml and --with options/presets/small_deblur.yml'),
    ('../base/small_levels_car.yml', 'with --degradation'),
    ('../small/train_gavn_car.yml', 'use a file of options/ as base'),
    ('../levels/test_gavn_car.yml', 'with --degradation'),
    ('../ablations/train_gavn_car_wo_if.yml', 'add --with options/ablations/wo_if.yml'),
])
def test_a_base_that_was_removed_names_what_replaces_it(base: str, words: str, tmp_path: Path) -> None:
    (tmp_path / 'mine').mkdir()
    file = put(tmp_path / 'mine', a=f'base: {base}\n')
    with pytest.raises(OptionError, match=r'a\.yml, line 1: base: cannot read .*No such file') as error:
        read_options(file)
    assert words in str(error.value)
    for named in re.findall(r'options/[\w/]+\.yml', str(error.value)):
        assert (Path(__file__).resolve().parents[2] / named).is_file()


def test_a_base_cannot_be_forced(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match='only an option file names its base'):
        force(*read_options(put(tmp_path, a='x: 1\n')), ['base=a.yml'])


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / 'x.yml').write_bytes(b'name: \xff\xfe\n')
    with pytest.raises(OptionError, match=r'x\.yml, line 1: not valid YAML: the text is not UTF-8'):
        read_options(tmp_path / 'x.yml')


def test_a_run_keeps_all_its_options(tmp_path: Path) -> None:
    base = write_options(tmp_path, train__total_iter=2)
    file = put(tmp_path, short=f'base: {base.name}\nname: built\ntrain: {{ema_decay: 0.5}}\n')
    run_here('train', '-opt', str(file), '--force_yml', 'train:optim_g:lr=1e-3', 'network_g:width=3')
    kept = tmp_path / 'experiments/built/short.yml'
    changes = {'train': {'ema_decay': 0.5, 'optim_g': {'lr': 1e-3}}, 'network_g': {'width': 3}}
    expected = merge(read_options(base)[0], {'name': 'built', **changes})
    options, source = read_options(kept)
    assert options == expected and source.bases == []
    header = [line for line in kept.read_text().splitlines() if line.startswith('#')]
    assert f'# Options of  {file}' in header and f'# built on    {base}' in header
    assert '# changed by  network_g:width=3' in header


def test_a_run_resumes_from_its_stored_options(tmp_path: Path) -> None:
    base = write_options(tmp_path, train__total_iter=4)
    run_here('train', '-opt', str(put(tmp_path, short=f'base: {base.name}\nname: built\n')))
    kept = tmp_path / 'experiments/built/short.yml'
    before = kept.read_text()
    run_here('train', '-opt', str(kept), '--auto_resume')
    assert kept.read_text() == before
    run_here('train', '-opt', str(kept))  # afresh: the folder is archived, and the file with it
    assert read_options(kept)[0] == read_options(tmp_path / 'short.yml')[0]
    assert len(list(tmp_path.glob('experiments/built_archived_*/short.yml'))) == 1


def test_what_is_kept_reads_as_it_was(tmp_path: Path) -> None:
    values = {'name': 'x', 'a': 1e-6, 'b': 4e-4, 'c': None, 'd': True, 'e': 'yes', 'f': 'é', 'l': '1e-3',
              'g': [0.9, 0.999], 'h': {'i': [{'j': 5000, 'k': 'no'}]}, 'm': -1, 'n': '~',
              'o': [], 'p': 'two\nlines'}
    file = tmp_path / 'x.yml'
    file.write_text(resolved_config(values, OptionSource('y.yml'), ['p=two\nlines']), encoding='utf-8')
    assert read_options(file)[0] == values


def test_restoring_reads_bases(tmp_path: Path) -> None:
    network = {'type': 'GAVN', 'num_feat': 8, 'radius': 0, 'num_extract_block': 1, 'use_identity': False,
               'num_reconstruct_block': [1, 1], 'deformable_groups': 2}
    weights = tmp_path / 'net_g.pth'
    torch.save({'params': build_network(dict(network)).state_dict()}, weights)
    put(tmp_path, network=yaml.safe_dump({'network_g': network, 'network_inputs': ['lq']}))
    file = put(tmp_path, run='base: network.yml\nname: run\nmodel_type: GAVNModel\ndatasets: {}\n')
    restorer = Restorer.from_options(file, weights, device='cpu')
    assert restorer.layout.inputs == 5
    assert restorer.spec.networks['network_g'] == network


def test_the_demo_finds_the_phases_it_shortens() -> None:
    root = Path(__file__).resolve().parents[2]
    for which, kind in (('pfld', 'train_pfld'), ('gavn', 'train_gavn'), ('test', 'test_gavn')):
        options, source = read_options(root / f'options/demo/{kind}.yml')
        force(options, source, SMALLEST.settings(which, 'car'))
        check_options(options, source, registries(), is_train=which != 'test')
        lengths = [phase['iters'] for phase in (options.get('train') or {}).get('phases', ())]
        assert lengths == list(SMALLEST.iters.get(which, ()))  # not one phase is left at its full length


def test_option_files_that_ship_are_complete_without_bases():
    assert FILES and [file.name for file in FILES if read_options(file)[1].bases] == []
