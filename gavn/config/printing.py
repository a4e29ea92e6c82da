"""Options as text with the origin of each value."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gavn.config.option_file import Key, OptionSource, write_options

_COLUMN = 60


def annotated(options: Mapping[str, Any], source: OptionSource) -> str:
    """Returns YAML of the options, with file and line of each value in a comment."""
    lines = []
    for text, key in _lines(options, (), 0):
        lines.append(text if key is None else f'{text:<{_COLUMN}}  # {source.place(key)}')
    return '\n'.join([*lines, ''])


def _lines(section: Mapping[str, Any], key: Key, depth: int) -> Iterator[tuple[str, Key | None]]:
    """Yields lines of a section, with the key if they have a value."""
    indent = '  ' * depth
    for name, value in section.items():
        if isinstance(value, Mapping) and value:
            yield f'{indent}{name}:', None
            yield from _lines(value, (*key, name), depth + 1)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f'{indent}{name}:', None
            for i, item in enumerate(value):
                yield f'{indent}  - {_flow(item)}', (*key, name, i)
        else:
            yield f'{indent}{name}: {_flow(value)}', (*key, name)


def _flow(value: Any) -> str:
    """Returns a value on one line."""
    text = write_options({'value': value})
    line = yaml.safe_dump(yaml.safe_load(text)['value'], default_flow_style=True, width=10 ** 6,
                          sort_keys=False, allow_unicode=True)
    return line.removesuffix('\n').removesuffix('\n...')
