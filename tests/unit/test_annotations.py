"""Annotations of arguments and options: which values fit them, and how messages describe them."""
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
from basicsr.archs.edvr_arch import EDVR
from linear_training import StandInNet  # noqa: F401  (makes basicsr importable)

from gavn.config.annotations import arguments_of, describe, fits
from gavn.config.option_file import dotted


@pytest.mark.parametrize(('value', 'annotation', 'expected'), [
    (1, int, True), (True, int, False), (1, float, True), (1.5, int, False), ('1', float, False),
    (None, int | None, True), ('a', Literal['a', 'b'], True), ('c', Literal['a', 'b'], False),
    (1, Literal[True], False), ([1, 2], tuple[int, ...], True), ([1, 'a'], list[int], False),
    ([1, 'a'], tuple[int, str], True), ([1], tuple[int, int], False),
    ([], tuple[int, int], False), ([1, 2], tuple[int, int] | None, True),
    ({}, dict, True), ({}, Mapping[str, int], True), (1, Mapping, False),
    ([1], Sequence[float], True), ('abc', Sequence[str], False), (1, Any, True), (1, inspect.Signature, True),
    (1.0, float | torch.Tensor, True), ('1', float | torch.Tensor, False),
])
def test_values_and_annotations(value: Any, annotation: Any, expected: bool) -> None:
    assert fits(value, annotation) is expected


def test_annotations_as_text() -> None:
    assert describe(int | None) == 'a whole number or null'
    assert describe(Literal['a', 'b']) == 'a or b'
    assert describe(tuple[float, float]) == 'a list (a number, a number)'


def test_arguments() -> None:
    arguments = arguments_of(EDVR)
    assert arguments['num_feat'].required is False
    assert fits(32, arguments['num_feat'].annotation)
    assert None not in arguments
    assert 'self' not in arguments


def test_places() -> None:
    assert dotted(('train', 'phases', 0, 'lr')) == 'train.phases[0].lr'
