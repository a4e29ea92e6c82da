"""Patch of basicsr.metrics."""
from typing import Any

import basicsr.metrics
from basicsr.utils.registry import METRIC_REGISTRY

from gavn.basicsr_patches.replace import importers_of, replaces
from gavn.config.metric_calls import call_metric


@replaces(*importers_of(basicsr.metrics.calculate_metric))
def calculate_metric(data: dict[str, Any], opt: dict[str, Any]) -> float:
    """Defect: metrics whose names end in `_pt` receive images (arrays) instead of tensors.

    The patch converts them. It also ignores the options `type` and `better`.
    """
    options = {key: value for key, value in opt.items() if key not in ('type', 'better')}
    return call_metric(METRIC_REGISTRY.get(opt['type']), data, options)
