"""Checks of YAML values against type annotations."""
from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union


@dataclass(frozen=True)
class Field:
    """A valid key: the annotation of its value, and whether it is required."""

    annotation: Any
    required: bool


def fields_of(cls: type) -> dict[str, Field]:
    """The fields of a dataclass by name."""
    hints = typing.get_type_hints(cls, include_extras=True)
    missing = dataclasses.MISSING
    return {f.name: Field(hints[f.name], f.default is missing and f.default_factory is missing)
            for f in dataclasses.fields(cls)}


def arguments_of(target: Callable[..., Any]) -> dict[str | None, Field]:
    """Returns the keyword arguments of a class or function by name; a key None means `**anything`.

    An argument without annotation and with a number as default accepts all types but text.
    """
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function)
    arguments: dict[str | None, Field] = {}
    for name, parameter in inspect.signature(target).parameters.items():
        number = isinstance(parameter.default, int | float)
        annotation = hints.get(name, _NotText if number else Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments[None] = Field(Any, False)
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            arguments[name] = Field(annotation, parameter.default is parameter.empty)
    return arguments


class _NotText:
    """Annotation of an argument of unknown type whose default is a number."""


def fits(value: Any, annotation: Any) -> bool:
    """Whether a YAML value fits an annotation. Integers fit float, lists fit tuple."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation in (int, float):
        return isinstance(value, (int, float) if annotation is float else int) and not isinstance(value, bool)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    if annotation is _NotText:
        return not isinstance(value, str)
    container = origin or annotation
    if inspect.isclass(container) and container not in (object, Any):
        if issubclass(container, Mapping):
            return isinstance(value, Mapping)
        if container is tuple and inner and Ellipsis not in inner:
            return (isinstance(value, list | tuple) and len(value) == len(inner)
                    and all(map(fits, value, inner)))
        if issubclass(container, Collection):
            return _holds(value, inner)
        return container.__module__ != 'torch' or container.__name__ != 'Tensor'
    return True


def _holds(value: Any, inner: tuple[Any, ...]) -> bool:
    if not isinstance(value, list | tuple):
        return False
    item = [one for one in inner if one is not Ellipsis]
    return all(any(fits(v, one) for one in item) for v in value) if item else True


def describe(annotation: Any) -> str:
    """Describes an annotation in the terms of option files."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    words = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text', dict: 'a section',
             _NotText: 'a number', type(None): 'null', None: 'null'}
    if origin in (Union, types.UnionType):
        return ' or '.join(describe(one) for one in inner)
    if origin is Literal:
        return ' or '.join(str(one).lower() if isinstance(one, bool) else str(one) for one in inner)
    if inspect.isclass(origin) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        return f'a list ({", ".join(describe(one) for one in inner if one is not Ellipsis)})'
    if typing.get_origin(annotation) is Annotated:
        return 'a section with a type'
    return words.get(annotation, str(getattr(annotation, '__name__', annotation)))


def choices_of(annotation: Any) -> list[str]:
    """Returns the text values of a Literal annotation."""
    if typing.get_origin(annotation) is Literal:
        return [one for one in typing.get_args(annotation) if isinstance(one, str)]
    return [word for one in typing.get_args(annotation) for word in choices_of(one)]


def without_none(annotation: Any) -> Any:
    """Returns `X` of `X | None`, and other annotations unchanged."""
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType) and type(None) in inner and len(inner) == 2:
        return next(one for one in inner if one is not type(None))
    return annotation
