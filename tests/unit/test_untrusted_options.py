"""Option files from strangers: bounded, in words, with the line; their names stay within their folders."""
import os
from pathlib import Path

import pytest

from gavn.config import bounded_yaml, option_file
from gavn.config.option_file import OptionError, force, read_options


def read(folder: Path, text: str) -> dict:
    (folder / 'x.yml').write_text(text, encoding='utf-8')
    return read_options(folder / 'x.yml')[0]


def doubling(levels: int) -> str:
    """Each line repeats the one before it ten times."""
    lines = ['l0: &l0 [x]', *(f'l{i}: &l{i} [{", ".join([f"*l{i - 1}"] * 10)}]' for i in range(1, levels))]
    return '\n'.join(lines) + '\n'


@pytest.mark.parametrize(('text', 'message'), [
    (doubling(9), r'x\.yml, line 5: there are more than 20,000 values, aliases followed'),
    ('a: &a {<<: [{b: 1}, {c: 1}]}\n' + ''.join(
        f'a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n'.replace('a0', 'a') for i in range(1, 40)),
     r'x\.yml, line \d+: there are more than 20,000 values'),
    ('name: x\na: &a [*a]\n', r'x\.yml, line 2: an anchor contains itself'),
    ('a: &a\n  <<: *a\n', r'x\.yml, line 1: an anchor contains itself'),
    ('name: x\na: ' + '[' * 3000 + ']' * 3000, r'x\.yml, line 2: sections are nested deeper than 64 levels'),
    ('a: ' + '{b: ' * 3000 + '1' + '}' * 3000, r'x\.yml, line 1: sections are nested deeper than 64'),
    ('a0: &a0 [x]\n' + ''.join(f'a{i}: &a{i} [*a{i - 1}]\n' for i in range(1, 100)),
     r'x\.yml, line 64: sections are nested deeper than 64 levels'),
    ('a: [' + 'x, ' * 30000 + ']', r'x\.yml, line 1: there are more than 20,000 values'),
    ('a: 1\nb: 2024-13-45\n', r"x\.yml, line 2: '2024-13-45' is not a valid timestamp; write it in quotes"),
    ('a: !!int x\n', r'line 1: .* is not a valid int'), ('a: !!int ""\n', r'line 1: .* is not a valid int'),
    ('a: !!bool x\n', r'line 1: .* is not a valid bool'), ('a: !!timestamp x\n', 'is not a valid timestamp'),
    ('a: ' + '9' * 5000, r"line 1: '9+\.\.\. is not a valid int"),
    ('a: !!float x\n', 'is not a valid float'), ('a: "\\0"\n', r"line 1: '\\x00' holds a character that is"),
    ('a: "\\ud800"\n', r'line 1: .* holds a character that is not text'),
    ('b: 1\na: \x07\n', r'line 2: not valid YAML: the character'),
    ('? [a]\n: 1\n', r'line 1: a section or list is no text'), ('a: b: c\n', r'line 1: not valid YAML: map'),
    ('a: *b\n', r'x\.yml, line 1: not valid YAML: found undefined alias'),
])
def test_yaml_that_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        read(tmp_path, text)


def test_aliases_within_limits_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, 'a: &a {p: 1}\nb: *a\nc: {<<: *a, q: 2}\n')['c'] == {'p': 1, 'q': 2}
    assert len(read(tmp_path, doubling(4))['l3']) == 10
    deep = '[' * (bounded_yaml.MAX_DEPTH - 2) + '1' + ']' * (bounded_yaml.MAX_DEPTH - 2)
    assert read(tmp_path, f'a: {deep}')['a']


@pytest.mark.parametrize('entry', ['a=&a [*a]', 'a=2024-13-45', 'a={1: 2}', 'a=' + '[' * 100 + ']' * 100])
def test_values_of_the_command_line_have_the_same_limits(entry: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match='--force_yml a='):
        force(read(tmp_path, 'a: 1\n'), option_file.OptionSource('x.yml'), [entry])


@pytest.mark.parametrize('position', ['²', '٣', '9' * 5000])
def test_odd_digits_are_no_position(position: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match='is no position in a list of 2'):
        force(read(tmp_path, 'a: [1, 2]\n'), option_file.OptionSource('x.yml'), [f'a:{position}=3'])


@pytest.mark.parametrize('base', [True, False], ids=['base', 'file'])
def test_a_pipe_is_refused_at_once(base: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.yml')
    (tmp_path / 'x.yml').write_text('base: pipe.yml\n')
    with pytest.raises(OptionError, match=r'cannot read the option file .*pipe\.yml: not a regular file'):
        read_options(tmp_path / ('x.yml' if base else 'pipe.yml'))


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / 'x.yml', 'wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(OptionError, match='larger than 1 MiB'):
        read_options(tmp_path / 'x.yml')


@pytest.mark.parametrize('name', ['a' * 5000, '~nobody-of-that-name/x.yml', '/dev/zero', '/proc/self/mem'])
def test_what_cannot_be_a_base(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r'line 1: base: cannot read the option file'):
        read(tmp_path, f'base: {name}\n')


def test_bases_are_limited_in_number(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f'{i}.yml').write_text(f'base: {i + 1}.yml\n')
    with pytest.raises(OptionError, match=r'63\.yml, line 1: base: more than 64 files are built on'):
        read_options(tmp_path / '0.yml')
    (tmp_path / 'a.yml').write_text('a: 1\n')
    with pytest.raises(OptionError, match=r'x\.yml, line 1: base: more than 64 files'):
        read(tmp_path, f'base: [{", ".join(["a.yml"] * 1000)}]\n')
