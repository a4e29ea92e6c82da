"""Data sets and models of a run: what is wrong with their options, or between them, is told in words."""
from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import basicsr.data
import basicsr.models
import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from torch import Tensor, nn
from torch.utils.data import Dataset

from gavn.config.option_file import OptionError, building
from gavn.metrics.registered_calls import IMAGE_ENDINGS, check_options, supplied_to


def build_dataset(dataset_opt: dict[str, Any]) -> Dataset:
    """The data set of a section. Raises OptionError with its name for wrong options and absent data."""
    with building(f'data set {dataset_opt["name"]}'), _missing_keys_named(dataset_opt):
        return basicsr.data.build_dataset(dataset_opt)


def first_sample(data: Dataset, dataset_opt: Mapping[str, Any]) -> dict[str, Any]:
    """The first sample of training data. Raises OptionError for a key that a stock data set finds missing."""
    with _missing_keys_named(dataset_opt):
        return data[0]


@contextmanager
def _missing_keys_named(dataset_opt: Mapping[str, Any]) -> Iterator[None]:
    """Stock data sets read their options without looking whether they are there."""
    try:
        yield
    except KeyError as error:
        kind = _class_of(DATASET_REGISTRY, dataset_opt.get('type'))
        if not _is_stock(kind) or not isinstance(error.args[0], str):
            raise
        raise OptionError(f'data set {dataset_opt["name"]}: {kind.__name__} needs the key {error.args[0]}'
                          ) from error


def build_model(opt: dict[str, Any]) -> BaseModel:
    """The model with its networks. Raises OptionError for options that do not fit together."""
    model = _class_of(MODEL_REGISTRY, opt['model_type'])
    if _is_stock(model) or hasattr(model, 'validates_clips'):
        _check_validation(model, opt)
    with building(opt['model_type']):
        built = basicsr.models.build_model(opt)
    if _is_stock(model) and isinstance(built, SRModel):
        _check_pictures_alone(built)
    return built


def _is_stock(kind: Any) -> bool:
    """Whether a class comes with BasicSR: what users derive from it may feed and validate in other ways."""
    return getattr(kind, '__module__', '').startswith('basicsr.')


def _class_of(registry: Any, name: Any) -> type | None:
    registered = dict(iter(registry))
    return registered.get(name, registered.get(f'{name}_basicsr'))


def _check_validation(model: type, opt: Mapping[str, Any]) -> None:
    """Raises OptionError for a data set, or a metric, that a model cannot validate on."""
    in_clips = getattr(model, 'validates_clips', False)
    for phase, section in opt['datasets'].items():
        kind = _class_of(DATASET_REGISTRY, section['type'])
        if phase != 'train' and kind is not None and hasattr(kind, 'clip') != in_clips:
            wanted = ('whole clips: AVVideoDataset, which takes plain folders as dataroot_lq and dataroot_gt'
                      if in_clips else 'pictures: PairedImageDataset, VideoTestDataset ...')
            raise OptionError(f'datasets.{phase}: {section["type"]} does not go with {model.__name__}, which '
                              f'validates on {wanted}')
    metrics = (opt.get('val') or {}).get('metrics') or {}
    for key, metric in {} if in_clips else metrics.items():
        _check_metric(key, metric, model)


def _check_metric(key: str, metric: Mapping[str, Any], model: type) -> None:
    function = METRIC_REGISTRY.get(metric['type'])
    if more := [name for name in supplied_to(function, must=True) if name not in IMAGE_ENDINGS]:
        raise OptionError(f'val.metrics.{key}: {metric["type"]} asks for {", ".join(more)}, which '
                          f'{model.__name__} does not supply; AVVideoModel and GAVNModel do')
    with building(f'val.metrics.{key}'):
        check_options(function, {name: metric[name] for name in metric if name not in ('type', 'better')})


def _check_pictures_alone(model: SRModel) -> None:
    network = model.get_bare_model(model.net_g)
    takes = list(inspect.signature(network.forward).parameters)
    if 'audio' in takes:
        raise OptionError(f'{type(model).__name__} gives its network pictures alone, but '
                          f'{type(network).__name__} also takes {", ".join(takes[1:])}: choose model_type: '
                          'GAVNModel or AVVideoModel')


def try_sample(model: BaseModel, sample: Mapping[str, Any], name: str) -> None:
    """Holds a training sample to what a model makes of it, before training.

    A model may have a method `check_sample` for that. The network of a stock one, where that feeds it plain
    `lq`, is called once. Raises OptionError, with the data set's `name`, where they do not go together.
    """
    if hasattr(model, 'check_sample'):
        with building(f'data set {name}'):
            model.check_sample(sample)
    elif _is_stock(type(model)) and getattr(type(model), 'feeds_plainly', False):
        _try(model, {key: value[None] for key, value in sample.items() if isinstance(value, Tensor)}, name)


def _try(model: SRModel, batch: Mapping[str, Tensor], name: str) -> None:
    if missing := [key for key in ('lq', 'gt') if key not in batch]:
        raise OptionError(f'data set {name}: its samples have no {" and no ".join(missing)}')
    model.feed_data(batch)
    network = model.get_bare_model(model.net_g)
    words = f'{type(network).__name__} does not go with data set {name}, whose lq are ' \
            f'{tuple(model.lq.shape[1:])} and gt {tuple(model.gt.shape[1:])}'
    output = _called(network, model.lq, words)
    if output.shape != model.gt.shape:
        raise OptionError(f'{words}: it returns {tuple(output.shape[1:])}')


def _called(network: nn.Module, lq: Tensor, words: str) -> Tensor:
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return network(lq)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise OptionError(f'{words}: {str(error).splitlines()[0] if str(error) else type(error).__name__}'
                          ) from error
    finally:
        network.train(training)
