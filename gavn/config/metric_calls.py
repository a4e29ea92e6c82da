"""Calls of registered metrics by their signatures, with the options of `val.metrics`."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gavn.config.sections import SUPPLIED
from gavn.runtime.tensors import to_tensor

IMAGE_ARGUMENTS = ('img', 'img2')  # of basicsr's metrics: the restored and the true image
Metric = Callable[..., Any]


def supplied_to(metric: Metric, must: bool = False) -> tuple[str, ...]:
    """Arguments of `SUPPLIED` that a metric takes; with `must` only those without a default."""
    parameters = inspect.signature(metric).parameters
    return tuple(name for name in SUPPLIED if name in parameters
                 and not (must and parameters[name].default is not inspect.Parameter.empty))


def check_options(name: str, metric: Metric, options: Mapping[str, Any]) -> None:
    """Raises ValueError for unknown and for missing options of a metric, by its name in option files.

    Metrics of basicsr ignore their `**kwargs`, so only named options are valid there.
    """
    parameters = inspect.signature(metric).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds and not metric.__module__.startswith('basicsr.')
    for key in options:
        if key in SUPPLIED or (key not in parameters and not takes_any):
            raise ValueError(f'{name} has no option {key!r}')
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD \
                and key not in SUPPLIED and key not in options:
            raise ValueError(f'{name} needs the option {key}')


def call_metric(metric: Metric, data: Mapping[str, Any], options: Mapping[str, Any]) -> float:
    """Calls a metric and returns its value.

    Args:
        metric: registered in METRIC_REGISTRY. If its name ends in `_pt`, it takes RGB tensors (1, 3, h, w) in
            [0, 1], as in BasicSR; else uint8 BGR (h, w, 3).
        data: values of `SUPPLIED`. The metric receives those that it has as arguments.
        options: further keyword arguments.
    """
    arguments = {name: data[name] for name in supplied_to(metric) if name in data}
    if metric.__name__.endswith('_pt'):
        arguments |= {name: _tensor(arguments[name]) for name in IMAGE_ARGUMENTS if name in arguments}
    return float(metric(**arguments, **options))


def _tensor(image: np.ndarray) -> Tensor:
    if image.ndim == 3 and image.shape[2] == 3:
        return to_tensor(image)[None]
    return torch.from_numpy(image.reshape(1, 1, *image.shape[:2])).float().div_(255)  # grey, as in basicsr
