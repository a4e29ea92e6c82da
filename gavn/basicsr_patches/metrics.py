"""Patch of basicsr.metrics."""
from collections.abc import Callable
from functools import wraps
from typing import Any

import basicsr.metrics
from basicsr.utils.registry import METRIC_REGISTRY

from gavn.basicsr_patches.replace import wrap_everywhere
from gavn.metrics.registered_calls import call_metric


def calculate_metric(original: Callable[..., float]) -> Callable[..., float]:
    """Defect: metrics whose names end in `_pt` receive images (arrays) instead of tensors.

    The patch converts them. It also ignores the options `type` and `better`.
    """
    @wraps(original)
    def calculate_metric(data: dict[str, Any], opt: dict[str, Any]) -> float:
        options = {key: value for key, value in opt.items() if key not in ('type', 'better')}
        return call_metric(METRIC_REGISTRY.get(opt['type']), data, options)
    return calculate_metric


def apply() -> None:
    """Patches `calculate_metric` wherever basicsr imported it."""
    wrap_everywhere(basicsr.metrics.calculate_metric, calculate_metric)
