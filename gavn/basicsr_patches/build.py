"""Replacements of basicsr.data.build_dataset and basicsr.models.build_model that check options first."""
from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import basicsr.data
import basicsr.models
import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.hifacegan_model import HiFaceGANModel
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from torch import Tensor, nn
from torch.utils.data import Dataset

from gavn.config.metric_calls import IMAGE_ARGUMENTS, check_options, supplied_to
from gavn.config.option_file import OptionError, option_errors
from gavn.config.sections import is_basicsr_class

_OWN_DEGRADATION = (RealESRNetModel, RealESRGANModel, HiFaceGANModel)
"""Models of basicsr that do not feed `lq` of their samples unchanged."""


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
        OptionError: model, data sets, metrics and network do not fit together.
    """
    model_class = _find_class(MODEL_REGISTRY, opt['model_type'])
    if model_class is not None and (
            is_basicsr_class(model_class) or hasattr(model_class, 'validates_clips')):
        _check_validation(model_class, opt)
    with option_errors(opt['model_type']):
        model = basicsr.models.build_model(opt)
    if is_basicsr_class(model_class) and isinstance(model, SRModel):
        _check_image_network(model)
    return model


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
        check_options(function, {name: metric[name] for name in metric if name not in ('type', 'better')})


def _check_image_network(model: SRModel) -> None:
    network = model.get_bare_model(model.net_g)
    inputs = list(inspect.signature(network.forward).parameters)
    if 'audio' in inputs:
        raise OptionError(f'{type(model).__name__} feeds its network images only, but '
                          f'{type(network).__name__} also takes {", ".join(inputs[1:])}: choose model_type: '
                          'GAVNModel or AVVideoModel')


def check_first_sample(model: BaseModel, sample: Mapping[str, Any], name: str) -> None:
    """Checks before training that a model can use a training sample.

    A model may have a method `check_sample` for that. The network of a model of basicsr is called once if the
    model feeds `lq` unchanged.

    Args:
        model: to be trained.
        sample: of its training data, without the batch dimension.
        name: of the data set, for the message.

    Raises:
        OptionError: model and sample do not fit together.
    """
    if hasattr(model, 'check_sample'):
        with option_errors(f'data set {name}'):
            model.check_sample(sample)
    elif (is_basicsr_class(type(model)) and isinstance(model, SRModel)
          and not isinstance(model, _OWN_DEGRADATION)):
        batch = {key: value[None] for key, value in sample.items() if isinstance(value, Tensor)}
        _check_forward(model, batch, name)


def _check_forward(model: SRModel, batch: Mapping[str, Tensor], name: str) -> None:
    if missing := [key for key in ('lq', 'gt') if key not in batch]:
        raise OptionError(f'data set {name}: its samples have no {" and no ".join(missing)}')
    model.feed_data(batch)
    network = model.get_bare_model(model.net_g)
    problem = f'{type(network).__name__} does not fit data set {name}, whose lq are ' \
              f'{tuple(model.lq.shape[1:])} and gt {tuple(model.gt.shape[1:])}'
    output = _forward(network, model.lq, problem)
    if output.shape != model.gt.shape:
        raise OptionError(f'{problem}: it returns {tuple(output.shape[1:])}')


def _forward(network: nn.Module, lq: Tensor, problem: str) -> Tensor:
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return network(lq)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionError(f'{problem}: {reason}') from error
    finally:
        network.train(training)
