"""Reading of option files: safe YAML with the line of every key, and changes from the command line.

An option file may build on other files, which its key `base` names (see `read_options`).
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gavn.config.bounded_yaml import Key, YamlError, YamlSyntaxError, dotted, parse, write_options
from gavn.config.removed_files import replacement
from gavn.errors import ExitCode, GavnError

__all__ = ['BASE', 'Key', 'OptionError', 'OptionFile', 'OptionSource', 'dotted', 'force',
           'lay_over', 'merge', 'read_layers', 'read_options', 'write_options']

BASE = 'base'
MAX_BYTES = 1 << 20
"""Largest size of an option file; those of experiments have a few KiB."""
MAX_FILES = 64
"""Largest number of files for one option file: itself and all bases."""


class OptionError(GavnError, ValueError):
    """An option is wrong. The message names the key, the file and the line."""

    exit_code = ExitCode.USAGE


@contextmanager
def option_errors(what: str) -> Iterator[None]:
    """Converts ValueError and FileNotFoundError inside to OptionError with the prefix `what`.

    Use it only around calls with options, where these errors are about the options.
    """
    try:
        yield
    except OptionError:
        raise  # its message is complete
    except (ValueError, FileNotFoundError) as error:
        raise OptionError(f'{what}: {error}') from error


@dataclass
class OptionSource:
    """Origin of options."""

    file: str  # the option file
    bases: list[str] = field(default_factory=list)  # its bases, each before the files that build on it
    overlays: list[str] = field(default_factory=list)  # overlays of the command line, and their bases
    lines: dict[Key, tuple[str, int]] = field(default_factory=dict)  # file and line of every key
    # keys set by other arguments of the command line -> argument
    given: dict[Key, str] = field(default_factory=dict)
    forced: set[Key] = field(default_factory=set)  # keys set by --force_yml

    def place(self, key: Key) -> str:
        """Returns 'FILE, line N' of a key, or of the nearest section around it."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.forced:
                return f'--force_yml (over {self.file})'
            if key[:end] in self.given:
                return f'{self.given[key[:end]]} (over {self.file})'
            if key[:end] in self.lines:
                return '{}, line {}'.format(*self.lines[key[:end]])
        return self.file


def read_options(file: str | os.PathLike[str]) -> tuple[dict[str, Any], OptionSource]:
    """Reads a YAML file merged over the files that it builds on, and the origin of each key.

    `base: FILE`, or a list of files, names the bases, relative to the file with the key. Bases may have
    bases. Later ones override earlier ones, and the file itself overrides all. A file that is named several
    times counts at its first position. `merge` has the rules.

    Raises:
        OptionError: a file is missing, not a regular file, not YAML, not a mapping, beyond the limits of
            `gavn.config.bounded_yaml`, repeats a key or builds on itself.
    """
    source, options = OptionSource(str(file)), dict[str, Any]()
    files = read_layers(file)
    source.bases = [layer.name for layer in files[:-1]]
    for layer in files:
        options = lay_over(options, source, layer)
    return options, source


def read_layers(file: str | os.PathLike[str]) -> list[OptionFile]:
    """Returns a file after all that it builds on, each once. Raises OptionError (see `read_options`)."""
    return list(_with_bases(OptionFile.read(file)))


def lay_over(options: Mapping[str, Any], source: OptionSource, layer: OptionFile) -> dict[str, Any]:
    """Merges a file into options (see `merge`), and its lines into `source`."""
    replaced: set[Key] = set()
    result = merge(options, layer.options, replaced)
    source.lines = {key: place for key, place in source.lines.items()
                    if not any(key[:end] in replaced for end in range(1, len(key) + 1))}
    source.lines |= {key: (layer.name, line) for key, line in layer.lines.items()}
    return result


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any], replaced: set[Key] | None = None,
          key: Key = ()) -> dict[str, Any]:
    """Merges options over others.

    Sections are merged key by key; values and lists of `upper` replace those of `lower`. A section with
    another `type` replaces the lower one completely, because arguments of one network, data set or loss are
    meaningless for another. Null removes a section (`network_l: ~`); for a value it is a value (`crop_size:
    ~`).

    Args:
        lower, upper: not changed.
        replaced: receives keys of `lower` that are completely replaced.
    """
    result = dict(lower)
    for name, value in upper.items():
        below, here = result.get(name), (*key, name)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and not _differ_in_type(below, value):
            result[name] = merge(below, value, replaced, here)
            continue
        if replaced is not None and name in lower:
            replaced.add(here)
        result[name] = value
        if value is None and isinstance(below, Mapping):
            del result[name]
    return result


def _differ_in_type(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> bool:
    return 'type' in lower and 'type' in upper and lower['type'] != upper['type']


@dataclass
class OptionFile:
    """One file: its name, its options without `base`, its lines, its bases."""

    path: Path
    name: str
    options: dict[str, Any]
    lines: dict[Key, int]
    bases: list[str]

    @classmethod
    def read(cls, file: str | os.PathLike[str], wanted: str = '') -> OptionFile:
        """Reads a file. Raises OptionError (see `read_options`) with the prefix `wanted`."""
        name = os.path.normpath(file)  # only for messages, because .. after a link is elsewhere
        try:
            options, lines = parse(_text(file))
        except UnicodeDecodeError as error:
            line = error.object.count(b'\n', 0, error.start) + 1
            raise OptionError(f'{name}, line {line}: not valid YAML: the text is not UTF-8') from error
        except OSError as error:
            hint = replacement(Path(name)) if wanted and isinstance(error, FileNotFoundError) else ''
            raise OptionError(
                f'{wanted}cannot read the option file {name}: {error.strerror}{hint}') from error
        except YamlSyntaxError as error:
            raise OptionError(f'{name}, line {error.line}: not valid YAML: {error}') from error
        except YamlError as error:
            raise OptionError(f'{name}, line {error.line}: {error}') from error
        if not isinstance(options, dict):
            raise OptionError(f'{name} holds no options (a mapping of keys to values is expected)')
        bases = _names(options.pop(BASE), f'{name}, line {lines[(BASE,)]}') if BASE in options else []
        return cls(Path(file), name, options, lines, bases)

    def base(self, name: str) -> OptionFile:
        """Reads a base of this file."""
        path = self.path.parent / os.path.expanduser(name)  # ~NOBODY stays unchanged
        return self.read(path, f'{self.name}, line {self.lines[(BASE,)]}: base: ')


def _names(value: Any, place: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise OptionError(f'{place}: base is {value!r}; it must be an option file or a list of option files')
    return names


def _text(file: str | os.PathLike[str]) -> str:
    """Reads the text of a regular file; pipes and devices could block or be endless.

    Raises:
        OSError: the file cannot be read, is not regular or is too large.
        UnicodeDecodeError: the file is not UTF-8.
    """
    with open(file, 'rb', opener=_open_at_once) as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, 'not a regular file; copy it to one')
        if state.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f'larger than {MAX_BYTES >> 20} MiB')
        return stream.read(MAX_BYTES).decode()


def _open_at_once(file: str, flags: int) -> int:
    """Opens a named pipe without waiting for its writer."""
    return os.open(file, flags | getattr(os, 'O_NONBLOCK', 0))


def _with_bases(file: OptionFile) -> Iterator[OptionFile]:
    """Yields a file after all that it builds on, each once."""
    seen: set[Path] = set()
    read = 1

    def walk(file: OptionFile, above: tuple[OptionFile, ...]) -> Iterator[OptionFile]:
        nonlocal read
        above, place = (*above, file), f'{file.name}, line {file.lines.get((BASE,))}: base: '
        for name in file.bases:
            base = file.base(name)
            read += 1
            if read > MAX_FILES:
                raise OptionError(f'{place}more than {MAX_FILES} files are built on')
            if any(base.path.samefile(other.path) for other in above):
                cycle = ' <- '.join(other.name for other in (*above, base))
                raise OptionError(f'{place}the file builds on itself ({cycle})')
            if base.path.resolve() not in seen:
                yield from walk(base, above)
        seen.add(file.path.resolve())
        yield file

    return walk(file, ())


def force(options: dict[str, Any], source: OptionSource, entries: Sequence[str]) -> None:
    """Sets options from 'a:b:c=value' entries, in place.

    Values are YAML (1e-4, -1, true, [1, 2], {type: Adam}): `~` and `null` are null, `none` is a word. Keys
    may be new; list items are counted from 0: 'train:phases:0:iters=100'.

    Raises:
        OptionError: an entry cannot be set.
    """
    for entry in entries:
        name, equals, text = entry.partition('=')
        if not equals or not name.strip() or not text.strip():
            raise OptionError(f'--force_yml {entry}: expected key=value or section:key=value (null is ~)')
        key = tuple(part.strip() for part in name.split(':'))
        if key[0] == BASE:
            raise OptionError(f'--force_yml {entry}: only an option file names its {BASE}')
        place: Any = options
        for part in key[:-1]:
            place = _descend(place, part, entry)
        if isinstance(place, list):
            place[_index(place, key[-1], entry)] = _value(text.strip(), entry)
        elif isinstance(place, dict):
            place[key[-1]] = _value(text.strip(), entry)
        else:
            raise OptionError(f'--force_yml {entry}: {":".join(key[:-1])} is a value, not a section')
        source.forced.add(tuple(int(part) if _is_position(part) else part for part in key))


def _descend(place: Any, part: str, entry: str) -> Any:
    """Returns the section `part` of `place`; creates it if it is missing or null."""
    if isinstance(place, list):
        return place[_index(place, part, entry)]
    if not isinstance(place, dict):
        raise OptionError(f'--force_yml {entry}: {part} lies under a value, not under a section')
    if place.get(part) is None:
        place[part] = {}
    return place[part]


def _index(place: list[Any], part: str, entry: str) -> int:
    if not _is_position(part) or int(part) >= len(place):
        raise OptionError(f'--force_yml {entry}: {part} is no position in a list of {len(place)} '
                          f'(0 is the first)')
    return int(part)


def _is_position(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10


def _value(text: str, entry: str) -> Any:
    """Parses text of the command line as YAML (`~` and `null` are null); other text stays text."""
    try:
        return parse(text)[0]
    except YamlSyntaxError:
        return text
    except YamlError as error:
        raise OptionError(f'--force_yml {entry}: {error}') from error
