"""Replacements of basicsr.data.build_dataset and basicsr.models.build_model that check options first."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import basicsr.data
import basicsr.models
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from torch.utils.data import Dataset

from gavn.config.metric_calls import IMAGE_ARGUMENTS, check_options, supplied_to
from gavn.config.option_file import OptionError, option_errors
from gavn.config.sections import is_basicsr_class


def build_dataset(dataset_opt: dict[str, Any]) -> Any:
    """Builds the data set of a section.

    Defect: a missing key or file raises an error without the name of the section.

    Raises:
        OptionError: options are wrong or data are absent.
    """
    with option_errors(f'data set {dataset_opt["name"]}'), _missing_keys(dataset_opt):
        return basicsr.data.build_dataset(dataset_opt)


def first_sample(data: Dataset, dataset_opt: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the first training sample.

    Raises:
        OptionError: a data set of basicsr misses a key of its options.
    """
    with _missing_keys(dataset_opt):
        return data[0]


@contextmanager
def _missing_keys(dataset_opt: Mapping[str, Any]) -> Iterator[None]:
    """Names the key that a data set of basicsr reads but the section does not have."""
    try:
        yield
    except KeyError as error:
        dataset = _find_class(DATASET_REGISTRY, dataset_opt.get('type'))
        if dataset is None or not is_basicsr_class(dataset) or not isinstance(error.args[0], str):
            raise
        raise OptionError(f'data set {dataset_opt["name"]}: {dataset.__name__} needs the key {error.args[0]}'
                          ) from error


def build_model(opt: dict[str, Any]) -> BaseModel:
    """Builds the model with its networks.

    Defect: basicsr finds a data set or metric that the model cannot use only at the first validation.

    Raises:
        OptionError: model, data sets and metrics do not fit together.
    """
    model_class = _find_class(MODEL_REGISTRY, opt['model_type'])
    if model_class is not None and (
            is_basicsr_class(model_class) or hasattr(model_class, 'validates_clips')):
        _check_validation(model_class, opt)
    with option_errors(opt['model_type']):
        return basicsr.models.build_model(opt)


def _find_class(registry: Any, name: Any) -> type | None:
    registered = dict(iter(registry))
    return registered.get(name, registered.get(f'{name}_basicsr'))


def _check_validation(model_class: type, opt: Mapping[str, Any]) -> None:
    """Raises OptionError for a data set or a metric that a model cannot validate with."""
    needs_clips = getattr(model_class, 'validates_clips', False)
    for phase, section in opt['datasets'].items():
        dataset = _find_class(DATASET_REGISTRY, section['type'])
        validated = phase != 'train' or not opt['is_train']  # a test runs every section
        if validated and dataset is not None and hasattr(dataset, 'clip') != needs_clips:
            needed = ('whole clips: AVVideoDataset, which takes plain folders as dataroot_lq and dataroot_gt'
                      if needs_clips else 'images: PairedImageDataset, VideoTestDataset ...')
            raise OptionError(f'datasets.{phase}: {section["type"]} does not fit '
                              f'{model_class.__name__}, which validates on {needed}')
    metrics = (opt.get('val') or {}).get('metrics') or {}
    for key, metric in {} if needs_clips else metrics.items():
        _check_metric(key, metric, model_class)


def _check_metric(key: str, metric: Mapping[str, Any], model_class: type) -> None:
    function = METRIC_REGISTRY.get(metric['type'])
    if missing := [name for name in supplied_to(function, must=True) if name not in IMAGE_ARGUMENTS]:
        raise OptionError(f'val.metrics.{key}: {metric["type"]} needs {", ".join(missing)}, which '
                          f'{model_class.__name__} does not supply; AVVideoModel and GAVNModel do')
    with option_errors(f'val.metrics.{key}'):
        check_options(metric['type'], function,
                      {name: metric[name] for name in metric if name not in ('type', 'better')})
