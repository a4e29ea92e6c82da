"""Argument parsing: suggestions for unknown names, and types with clear error messages."""
from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

_Value = TypeVar('_Value', int, float)
_MINUTES = re.compile(r'(?P<minutes>\d+(\.\d+)?) ?m(in)?')
_CLOCK = re.compile(r'(?P<minutes>\d+):(?P<seconds>[0-5]?\d(\.\d+)?)')


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'NAME'?` for the most similar known name, or ''."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{found[0]}'?" if found else ''


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that suggests the nearest name for unknown verbs, choices and options.

    The namespace from `parse_known_args` has an attribute `parser`: the innermost subparser.
    """

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None
                         ) -> tuple[Any, list[str]]:
        """Parses arguments; adds the attribute `parser`."""
        found, rest = super().parse_known_args(args, namespace)
        if not hasattr(found, 'parser'):
            found.parser = self
        return found, rest

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parses arguments; exits with a suggestion if one is unknown."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            found.parser.refuse(rest)
        return found

    def refuse(self, rest: Sequence[str]) -> None:
        """Exits with code 2 because of unknown arguments."""
        flags = [word for word in rest if word.startswith('-')]
        name = flags[0].partition('=')[0] if flags else rest[0]
        self.error(f'unknown argument {name}{nearest(name, self._option_string_actions) if flags else ""}')

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        hint = nearest(str(value), names) or f' (choose from {", ".join(names)})'
        raise argparse.ArgumentError(action, f'unknown value {value!r}{hint}')


class OldName(argparse.Action):
    """A former name of an argument: sets the new one (`dest`) and prints a notice."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        """Called by argparse for each use of the argument."""
        print(f'notice: {option_string} is now --{self.dest.replace("_", "-")}', file=sys.stderr)
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Returns an argument type: a whole number from `low` to `high`, inclusive."""
    words = f'a whole number of at least {low}' if high is None else f'a whole number from {low} to {high}'
    return _number(int, words, lambda value: low <= value and (high is None or value <= high))


def fraction() -> Callable[[str], float]:
    """Returns an argument type: a number from 0 to 1."""
    return _number(float, 'a number from 0 to 1', lambda value: 0 <= value <= 1)


def positive() -> Callable[[str], float]:
    """Returns an argument type: a number above 0."""
    return _number(float, 'a number above 0', lambda value: 0 < value < float('inf'))


def _number(convert: Callable[[str], _Value], words: str, good: Callable[[_Value], bool]
            ) -> Callable[[str], _Value]:
    def value_of(text: str) -> _Value:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not good(value):
            raise argparse.ArgumentTypeError(f'{text!r} is not {words}')
        return value
    return value_of


def name_part(text: str) -> str:
    """Argument type: a part of a file name."""
    if not text or {'/', '\\'} & set(text):
        raise argparse.ArgumentTypeError(f'{text!r} cannot be a part of a file name')
    return text


def seconds(text: str) -> float:
    """Argument type: a duration above 0, such as `5`, `1.5s`, `2min` or `1:30`; returns seconds."""
    if found := _MINUTES.fullmatch(text):
        value = 60 * float(found['minutes'])
    elif found := _CLOCK.fullmatch(text):
        value = 60 * int(found['minutes']) + float(found['seconds'])
    else:
        value = _plain_seconds(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is not a time above 0, such as 5s, 1.5, 2min or 1:30')
    return value


def _plain_seconds(text: str) -> float:
    """Parses plain seconds; 0 if the text is not a number."""
    try:
        return float(text.removesuffix('s'))
    except ValueError:
        return 0.
