"""Safe and bounded YAML of option files, with the line of every key.

A file must neither run code nor exhaust the machine. PyYAML's safe loader ensures the first, the limits here
the second; they are far above what experiments need.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gavn.errors import GavnError
from gavn.runtime.messages import shortened

Key = tuple[str | int, ...]
"""A key in an option file: ('train', 'phases', 0, 'lr')."""

MAX_DEPTH = 64
"""Limit of nesting, with aliases followed."""
MAX_VALUES = 20_000
"""Limit of keys, values and list items, counted as often as aliases repeat them."""
_TEXT = ('tag:yaml.org,2002:str', 'tag:yaml.org,2002:merge')
_UNREADABLE = (ValueError, LookupError, AttributeError, OverflowError)  # from PyYAML's scalar constructors


class YamlError(GavnError, ValueError):
    """YAML that is not allowed in option files; `line` counts from 1."""

    def __init__(self, words: str, line: int = 1) -> None:
        super().__init__(words)
        self.line = line


class YamlSyntaxError(YamlError):
    """Text that is not YAML."""


class _Loader(yaml.SafeLoader):
    """Safe loader that reads 4e-4 as a number, like YAML 1.2 and unlike PyYAML, and 5e3 as an integer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As in PyYAML, whose unlimited recursion raises RecursionError."""
        self.depth += 1
        self.count += 1
        _check_limits(self.depth, self.count, self.peek_event())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in PyYAML, but errors of scalars have a line."""
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE as error:
            kind = node.tag.rpartition(':')[2]
            raise YamlError(f'{shortened(ascii(node.value), 40)} is not a valid {kind}; write it in '
                            'quotes if it is meant as text', _line(node)) from error

    def number(self, node: yaml.ScalarNode) -> int | float:
        """Returns a float, or an int if an exponent makes a whole number: `save_checkpoint_freq: 5e3`."""
        value = self.construct_yaml_float(node)
        return int(value) if 'e' in node.value.lower() and value.is_integer() else value


class _Dumper(yaml.SafeDumper):
    """Writer for `_Loader`: quotes text like 4e-4."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver('tag:yaml.org,2002:float', re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'),
                                list('-+.0123456789'))
_Loader.add_constructor('tag:yaml.org,2002:float', _Loader.number)


def parse(text: str) -> tuple[Any, dict[Key, int]]:
    """Parses a YAML document; returns its value (None if empty) and the line of every key and list item.

    Raises:
        YamlSyntaxError: the text is not YAML.
        YamlError: a limit is exceeded, an anchor contains itself, a key is repeated or not text, or a scalar
            does not fit its type.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _Sizes().of(node)
        lines = dict(_lines(node, ()))
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlSyntaxError(error.problem or str(error), mark.line + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count('\n', 0, error.position) + 1
        raise YamlSyntaxError(f'the character {error.character!r} is not allowed', line) from error
    finally:
        if loader is not None:
            loader.dispose()


def write_options(options: Mapping[str, Any]) -> str:
    """Returns the text of a file that reads as `options`."""
    return yaml.dump(dict(options), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110,
                     allow_unicode=True)


def dotted(key: Key) -> str:
    """('train', 'phases', 0, 'lr') -> 'train.phases[0].lr'."""
    text = ''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in key)
    return text.removeprefix('.')


class _Sizes:
    """Measures a document with its aliases followed, and visits every node once."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def of(self, node: yaml.Node) -> tuple[int, int]:
        """Returns (values, depth) of a node. Raises YamlError beyond the limits."""
        if id(node) in self.open:
            raise YamlError('an anchor contains itself', _line(node))
        if id(node) not in self.known:
            self.open.add(id(node))
            self.known[id(node)] = self._measure(node)
            self.open.remove(id(node))
        return self.known[id(node)]

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            _check_text(node)
            return 1, 1
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        sizes = [self.of(child) for child in children]
        count, depth = 1 + sum(count for count, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)
        _check_limits(depth, count, node)
        return count, depth


def _check_limits(depth: int, count: int, place: yaml.Node | yaml.Event) -> None:
    if depth > MAX_DEPTH:
        raise YamlError(f'sections are nested deeper than {MAX_DEPTH} levels', _line(place))
    if count > MAX_VALUES:
        raise YamlError(f'there are more than {MAX_VALUES:,} values, aliases followed', _line(place))


def _check_text(node: yaml.ScalarNode) -> None:
    """Refuses characters from escapes that file names and terminals do not accept."""
    if any(letter == '\0' or '\ud800' <= letter <= '\udfff' for letter in node.value):
        raise YamlError(f'{shortened(ascii(node.value), 40)} holds a character that is not text', _line(node))


def _line(place: yaml.Node | yaml.Event) -> int:
    assert place.start_mark is not None, 'nodes and events of a text have a place'
    return place.start_mark.line + 1


def _lines(node: yaml.Node, key: Key) -> Iterator[tuple[Key, int]]:
    """Yields (key, line) of everything under a node."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield (*key, i), _line(item)
            yield from _lines(item, (*key, i))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name_node, value in node.value:
            name, line = name_node.value, _line(name_node)
            if name_node.tag not in _TEXT:
                shown = name if isinstance(name, str) else 'a section or list'
                raise YamlError(f'{dotted((*key, shown))} is no text; write it in quotes if it is meant as a '
                                'key', line)
            if name in seen:
                raise YamlError(f'{dotted((*key, name))} is given twice, first in line {seen[name]}', line)
            seen[name] = line
            yield (*key, name), line
            yield from _lines(value, (*key, name))
