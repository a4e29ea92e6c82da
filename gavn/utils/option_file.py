"""Reading option files: safe YAML that knows where each key stands, and changes from the command line."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

Key = tuple[str | int, ...]
"""A place in an option file: ('train', 'phases', 0, 'lr')."""


_TEXT = ('tag:yaml.org,2002:str', 'tag:yaml.org,2002:merge')


class OptionError(ValueError):
    """An option that cannot be right; the message names the key, the file and the line."""


@contextmanager
def building(what: str) -> Iterator[None]:
    """Errors of what is built inside from options become OptionError and begin with `what` that is.

    Only where classes are called with options: there ValueError and FileNotFoundError are about these.
    """
    try:
        yield
    except OptionError:
        raise  # it says already what it is about
    except (ValueError, FileNotFoundError) as error:
        raise OptionError(f'{what}: {error}') from error


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 4e-4 as a number, as YAML 1.2 does and PyYAML does not, and 5e3 as a whole one."""

    def number(self, node: yaml.ScalarNode) -> int | float:
        """A float, or an int where an exponent makes a whole number: `save_checkpoint_freq: 5e3`."""
        value = self.construct_yaml_float(node)
        return int(value) if 'e' in node.value.lower() and value.is_integer() else value


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'), list('-+.0123456789'))
_Loader.add_constructor('tag:yaml.org,2002:float', _Loader.number)


@dataclass
class Source:
    """Where options come from: the file, the line of every key in it, the keys set on the command line."""

    file: str
    lines: dict[Key, int] = field(default_factory=dict)
    forced: set[Key] = field(default_factory=set)

    def place(self, key: Key) -> str:
        """'FILE, line N' for a key, or for the nearest section around it that the file holds."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.forced:
                return f'--force_yml (over {self.file})'
            if key[:end] in self.lines:
                return f'{self.file}, line {self.lines[key[:end]]}'
        return self.file


def dotted(key: Key) -> str:
    """('train', 'phases', 0, 'lr') -> 'train.phases[0].lr'."""
    text = ''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in key)
    return text.removeprefix('.')


def read_options(file: str | os.PathLike[str]) -> tuple[dict[str, Any], Source]:
    """Options of a YAML file, and where each stands in it.

    Raises OptionError for a file that is absent, is no YAML, is no mapping, or gives a key twice.
    """
    source = Source(str(file))
    try:
        with open(file, encoding='utf-8') as stream:
            loader = _Loader(stream)
            node = loader.get_single_node()
            source.lines.update(_lines(node, (), source.file))
            options = loader.construct_document(node) if node is not None else None
    except OSError as error:
        raise OptionError(f'cannot read the option file {file}: {error.strerror}') from error
    except yaml.YAMLError as error:
        raise OptionError(f'{file} is not valid YAML: {error}') from error
    if not isinstance(options, dict):
        raise OptionError(f'{file} holds no options (a mapping of keys to values is expected)')
    return options, source


def _lines(node: yaml.Node | None, key: Key, file: str) -> Iterator[tuple[Key, int]]:
    """(key, line) of everything under a node; lines count from 1."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield (*key, i), item.start_mark.line + 1
            yield from _lines(item, (*key, i), file)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name_node, value in node.value:
            name, line = name_node.value, name_node.start_mark.line + 1
            if name_node.tag not in _TEXT:
                raise OptionError(f'{file}, line {line}: {dotted((*key, str(name)))} is no text; write it in '
                                  'quotes if it is meant as a key')
            if name in seen:
                raise OptionError(f'{file}, line {line}: {dotted((*key, name))} is given twice, '
                                  f'first in line {seen[name]}')
            seen[name] = line
            yield (*key, name), line
            yield from _lines(value, (*key, name), file)


def force(options: dict[str, Any], source: Source, entries: Sequence[str]) -> None:
    """Sets options from 'a:b:c=value' entries, in place.

    Values are read as YAML (1e-4, -1, true, [1, 2], {type: Adam}; none is null). Keys may be new; the parts
    of a list are counted from 0: 'train:phases:0:iters=100'. Raises OptionError for what cannot be set.
    """
    for entry in entries:
        name, equals, text = entry.partition('=')
        if not equals or not name.strip():
            raise OptionError(f'--force_yml {entry}: expected key=value or section:key=value')
        key = tuple(part.strip() for part in name.split(':'))
        place: Any = options
        for part in key[:-1]:
            place = _descend(place, part, entry)
        last: str | int = _index(place, key[-1], entry) if isinstance(place, list) else key[-1]
        if not isinstance(place, dict | list):
            raise OptionError(f'--force_yml {entry}: {":".join(key[:-1])} is a value, not a section')
        place[last] = _value(text.strip())
        source.forced.add(tuple(int(part) if part.isdigit() else part for part in key))


def _descend(place: Any, part: str, entry: str) -> Any:
    """The section `part` of `place`, made where it is absent or null."""
    if isinstance(place, list):
        return place[_index(place, part, entry)]
    if not isinstance(place, dict):
        raise OptionError(f'--force_yml {entry}: {part} lies under a value, not under a section')
    if place.get(part) is None:
        place[part] = {}
    return place[part]


def _index(place: list[Any], part: str, entry: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise OptionError(f'--force_yml {entry}: {part} is no position in a list of {len(place)} '
                          f'(0 is the first)')
    return int(part)


def _value(text: str) -> Any:
    """Text of the command line as YAML; what is no YAML is taken as it stands."""
    if text.lower() == 'none':
        return None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text
