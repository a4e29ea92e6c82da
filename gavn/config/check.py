"""Checks of option files against the schema of their program (`gavn.config.sections`).

Networks, losses, metrics and optimisers are checked against the signature of their class; data sets, and
models with options of their own, against the dataclass `Options` of their class.
"""
from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gavn.config.annotations import (
    Field,
    arguments_of,
    choices_of,
    describe,
    fields_of,
    fits,
    without_none,
)
from gavn.config.option_file import Key, OptionError, OptionSource, dotted
from gavn.config.schedulers import SCHEDULERS
from gavn.config.sections import (
    NETWORK_PATHS,
    AnyTrainOptions,
    AnyValOptions,
    Better,
    FileOptions,
    Kind,
    LoaderOptions,
    ModelSchema,
    PathOptions,
    PhasedTrainOptions,
    check_component,
    check_method,
    is_basicsr_class,
    network_sections,
)
from gavn.runtime.messages import shortened

LARGEST_SEED = 1 << 31  # numpy allows twice as many; processes and data sets add to it
_LIKENESS = 0.6  # similarity of a misspelled key and its suggestion
_SHOWN = 200  # characters of a wrong value in messages
_LISTED = 14  # largest number of valid names in messages without a suggestion


@dataclass(frozen=True)
class Registries:
    """The registered classes and functions by the names of `type:`."""

    network: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    dataset: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    model: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    loss: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    metric: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    optimizer: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=lambda: {
        name: cls for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)})
    scheduler: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=lambda: dict(SCHEDULERS))


@dataclass(frozen=True)
class _Problem:
    key: Key
    text: str


_Problems = Iterator[_Problem]


def check_options(options: Mapping[str, Any], source: OptionSource, registries: Registries,
                  is_train: bool = True) -> None:
    """Checks options. Raises OptionError with the file, line and nearest valid name of every wrong key.

    Unknown, missing and ill-typed keys are errors, and so are keys that the model does not read. Models of
    BasicSR read further keys in `train`, `val` and at the top level; there, only misspelled keys are errors.
    """
    problems = list(_Check(registries, is_train).file(options))
    if problems:
        raise OptionError('\n'.join(f'{source.place(p.key)}: {_printable(p.text)}' for p in problems))


def section_problems(section: Any, cls: type, name: str) -> list[str]:
    """Returns the problems of a section as the dataclass `cls`; other keys are allowed."""
    if not isinstance(section, Mapping):
        return [f'{name} must be a section, not {_shown(section)}']
    return [problem.text for problem in _Check(Registries(), False).section(section, cls, (), any_key=True)]


def network_problems(section: Mapping[str, Any], networks: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Returns the problems of {type: NAME, ...} for the signature of NAME in `networks`."""
    found = _Check(Registries(network=networks), False).registered(section, Kind('network'), ())
    return [problem.text.removeprefix(': ') for problem in found]


class _Check:
    """One pass over an option file."""

    def __init__(self, registries: Registries, is_train: bool) -> None:
        self.registries = registries
        self.is_train = is_train
        self.model_type = ''
        self.schema = ModelSchema()

    def file(self, options: Mapping[str, Any]) -> _Problems:
        self.model_type = str(options.get('model_type', ''))
        model = self.registries.model.get(self.model_type)
        self.schema = ModelSchema.from_model(model)
        networks = network_sections(options)
        rest = {name: value for name, value in options.items() if name not in networks}
        special = {'datasets', 'path', 'train', 'val'}
        yield from self.section(rest, FileOptions, (), apart=special, lenient=self.schema.open)
        if model is None and 'model_type' in options:
            yield self.unknown(('model_type',), options['model_type'], self.registries.model, 'model')
        yield from self.checked_by(check_component, ('name',), options.get('name'))
        seed = options.get('manual_seed')
        if isinstance(seed, int) and fits(seed, int) and not 0 <= seed < LARGEST_SEED:
            yield _Problem(('manual_seed',), f'manual_seed is {_shown(seed)}; it must be from 0 to 2^31')
        yield from self.checked_by(check_method, ('method',), options.get('method'))
        yield from self.networks(networks, options.get('network_inputs'), model)
        yield from self.datasets(options.get('datasets'))
        yield from self.path(options.get('path') or {}, networks)
        if options.get('val') is not None:
            yield from self.validation(options['val'])
        if self.is_train:
            yield from self.training(options, model)

    def checked_by(self, check: Callable[[str], str], key: Key, name: Any) -> _Problems:
        """Checks text by a function that raises ValueError. Other types are checked elsewhere."""
        try:
            if isinstance(name, str):
                check(name)
        except ValueError as error:
            yield _Problem(key, f'{dotted(key)}: {error}')

    def networks(self, networks: Mapping[str, Any], inputs: Any, model: Any) -> _Problems:
        needed = getattr(model, 'evaluated', 'network_g' if is_basicsr_class(model) else None)
        if not networks:
            yield _Problem((), 'no network is given (network_g: {type: ...})')
        elif needed is not None and needed not in networks:
            yield _Problem((), f'the section {needed} is missing ({needed}: {{type: ...}})')
        for name, section in networks.items():
            yield from self.registered(section, Kind('network'), (name,))
        if isinstance(inputs, list) and 'landmarks' in inputs and 'network_l' not in networks:
            yield _Problem(('network_inputs',), 'network_inputs names landmarks, but the section network_l, '
                                                'their detector, is missing')

    def validation(self, val: Any) -> _Problems:
        yield from self.section(val, self.schema.val, ('val',), wider=AnyValOptions,
                                lenient=self.schema.open)
        if isinstance(val, Mapping) and val.get('suffix') is not None:
            yield from self.checked_by(check_component, ('val', 'suffix'), val['suffix'])
        if self.is_train and isinstance(val, Mapping) and not _positive(val.get('val_freq')):
            yield _Problem(('val', 'val_freq'), 'val.val_freq is missing: validate every so many iterations')

    def training(self, options: Mapping[str, Any], model: Callable[..., Any] | None) -> _Problems:
        for name in ('train', 'logger'):
            if not options.get(name):
                yield _Problem((name,), f'the section {name} is missing')
        train = options.get('train')
        if train:
            declared = getattr(model, 'Options', None)
            own = {} if declared is None else fields_of(declared)
            yield from self.section(train, self.schema.train, ('train',), extra=own, wider=AnyTrainOptions,
                                    lenient=self.schema.open)
        logger = options.get('logger')
        for name in ('print_freq', 'save_checkpoint_freq', 'keep_checkpoints'):
            value = logger.get(name) if isinstance(logger, Mapping) else None
            if value is not None and not _positive(value):
                yield _Problem(('logger', name), f'logger.{name} is {_shown(value)}; it must be a number '
                                                 'above 0')
        if isinstance(train, Mapping):
            yield from self.phases(train)

    def phases(self, train: Mapping[str, Any]) -> _Problems:
        key: Key = ('train', 'phases')
        phases = train.get('phases')
        total = train.get('total_iter')
        if phases is None and total is None:
            yield _Problem(('train',), 'train.total_iter, the length of training, is missing')
        elif total is not None and not _positive(total) and fits(total, int):
            yield _Problem(('train', 'total_iter'), f'train.total_iter is {total}; it must be above 0')
        elif phases == []:
            yield _Problem(key, 'train.phases is empty')
        optimizer = train.get('optim_g')
        rate = optimizer.get('lr') if isinstance(optimizer, Mapping) else None
        phased = issubclass(self.schema.train, PhasedTrainOptions) and self.schema.train != AnyTrainOptions
        if phased and rate is None and phases is None and total is not None:
            yield _Problem(('train', 'optim_g'), 'train.optim_g.lr, the learning rate, is missing')
        for i, phase in enumerate(phases if isinstance(phases, list) else []):
            if isinstance(phase, Mapping):
                yield from self.phase(phase, (*key, i), rate)

    def phase(self, phase: Mapping[str, Any], key: Key, rate: Any) -> _Problems:
        given = [phase[name] for name in ('epochs', 'iters') if phase.get(name) is not None]
        if len(given) != 1 or (isinstance(given[0], int | float) and given[0] <= 0):
            yield _Problem(key, f'{dotted(key)} needs one length above 0: iters')
        if rate is None and phase.get('lr') is None:
            yield _Problem(key, f'{dotted(key)} has no learning rate: give train.optim_g.lr')

    def datasets(self, datasets: Any) -> _Problems:
        if not isinstance(datasets, Mapping):
            if datasets is not None:
                yield _Problem(('datasets',), f'datasets must be a section, not {_shown(datasets)}')
            return
        if self.is_train and 'train' not in datasets:
            yield _Problem(('datasets',), 'datasets.train is missing')
        for name, section in datasets.items():
            key: Key = ('datasets', name)
            if self.is_train and name.split('_')[0] not in ('train', 'val'):
                yield _Problem(key, f'{dotted(key)}: data sets of training are called train, val, val_2 ...')
            if not isinstance(section, Mapping):
                yield _Problem(key, f'{dotted(key)} is no section')
                continue
            yield from self.dataset(section, key)
            if self.is_train and name == 'train':
                yield from self.batches(section, key)

    def batches(self, section: Mapping[str, Any], key: Key) -> _Problems:
        for needed in ('batch_size_per_gpu', 'num_worker_per_gpu'):
            if section.get(needed) is None:
                yield _Problem(key, f'{dotted((*key, needed))} is missing')
        batch = section.get('batch_size_per_gpu')
        if isinstance(batch, int) and batch < 1:
            yield _Problem((*key, 'batch_size_per_gpu'), f'{dotted(key)}.batch_size_per_gpu is {batch}; it '
                                                         'must be above 0')
        if section.get('prefetch_mode') == 'cuda' and section.get('pin_memory') is not True:
            yield _Problem((*key, 'prefetch_mode'), f'{dotted(key)}: prefetch_mode: cuda needs '
                                                    'pin_memory: true')

    def dataset(self, section: Mapping[str, Any], key: Key) -> _Problems:
        cls = self.registries.dataset.get(str(section.get('type')))
        if cls is None and 'type' in section:
            yield self.unknown((*key, 'type'), section['type'], self.registries.dataset, 'data set')
        declared = getattr(cls, 'Options', None)
        own = {} if declared is None else fields_of(declared)
        yield from self.checked_by(check_component, (*key, 'name'), section.get('name'))
        yield from self.section(section, LoaderOptions, key, extra=own, any_key=declared is None)

    def path(self, path: Any, networks: Mapping[str, Any]) -> _Problems:
        if not isinstance(path, Mapping):
            yield _Problem(('path',), f'path must be a section, not {_shown(path)}')
            return
        valid = {f'{prefix}{name.removeprefix("network_")}': Field(kind, False)
                 for name in networks for prefix, kind in NETWORK_PATHS.items()}
        strays = [name for name, value in path.items() if name.startswith(tuple(NETWORK_PATHS))
                  and name not in valid and value is not None]
        for name in strays:
            prefix = next(prefix for prefix in NETWORK_PATHS if name.startswith(prefix))
            network = f'network_{name.removeprefix(prefix)}'
            yield _Problem(('path', name), f'path.{name}: there is no section {network}'
                                           f'{self.hint(name, valid)}')
        rest = {name: value for name, value in path.items()
                if name in valid or not name.startswith(tuple(NETWORK_PATHS))}
        yield from self.section(rest, PathOptions, ('path',), extra=valid)

    def section(self, section: Any, cls: type, key: Key, *, extra: Mapping[str, Field] | None = None,
                apart: Collection[str] = (), wider: type | None = None, lenient: bool = False,
                any_key: bool = False) -> _Problems:
        """Checks a section against a dataclass and `extra` fields.

        Args:
            apart: keys whose values are checked elsewhere.
            wider: a dataclass of the keys that other models read.
            lenient: report unknown keys only if they are similar to a known one.
            any_key: report no unknown keys.
        """
        if not isinstance(section, Mapping):
            yield _Problem(key, f'{dotted(key)} must be a section, not {_shown(section)}')
            return
        known = {**fields_of(cls), **(extra or {})}
        others = fields_of(wider) if wider else {}
        for name, value in section.items():
            if name in known:
                if name not in apart:
                    yield from self.nullable(value, known[name], (*key, name))
            elif name in others:
                yield _Problem((*key, name), f'{dotted((*key, name))}: {self.model_type} does not read it')
            elif not any_key and not (lenient and not difflib.get_close_matches(str(name), known, 1, 0.8)):
                yield self.unknown((*key, name), name, known, 'key')
        for name, known_field in known.items():
            if known_field.required and section.get(name) is None:
                yield _Problem((*key, name), f'{dotted((*key, name))} is missing')

    def nullable(self, value: Any, known: Field, key: Key) -> _Problems:
        """Checks a value of a field. Null is wrong if the field has another default."""
        if value is not None:
            yield from self.value(value, known.annotation, key)
        elif not known.required and not fits(None, known.annotation):
            yield _Problem(key, f'{dotted(key)} is null; it must be {describe(known.annotation)}, or left '
                                'out for its default')

    def value(self, value: Any, annotation: Any, key: Key) -> _Problems:
        annotation = without_none(annotation)
        kind = next((m for m in getattr(annotation, '__metadata__', ()) if isinstance(m, Kind)), None)
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if kind is not None:
            yield from self.registered(value, kind, key)
        elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            yield from self.section(value, annotation, key)
        elif origin is list and isinstance(value, list):
            for i, item in enumerate(value):
                yield from self.value(item, inner[0], (*key, i))
        elif origin is dict and isinstance(value, Mapping):
            for name, item in value.items():
                yield from self.value(item, inner[1], (*key, name))
        elif not fits(value, annotation):
            yield self.ill_typed(key, value, annotation)

    def registered(self, section: Any, kind: Kind, key: Key) -> _Problems:
        """Checks {type: NAME, ...} against the signature of NAME."""
        if not isinstance(section, Mapping):
            yield _Problem(key, f'{dotted(key)} must be a section with a type, not {_shown(section)}')
            return
        names = getattr(self.registries, kind.name)
        target = names.get(str(section.get('type')))
        if 'type' not in section:
            yield _Problem(key, f'{dotted((*key, "type"))} is missing')
        elif target is None:
            yield self.unknown((*key, 'type'), section['type'], names, kind.name)
        else:
            given = {name: value for name, value in section.items() if name != 'type'}
            yield from self.call(given, target, kind, key)

    def call(self, given: Mapping[str, Any], target: Callable[..., Any], kind: Kind, key: Key) -> _Problems:
        arguments = arguments_of(target)
        parameters = {name: field for name, field in arguments.items()
                      if name is not None and name not in kind.supplied}
        if kind.name == 'metric':
            parameters['better'] = Field(Better, False)  # read by the record of best values
        for name, value in given.items():
            if name in kind.supplied:
                yield _Problem((*key, name), f'{dotted((*key, name))} is set by the program')
            elif name in parameters:
                if value is None:
                    yield from self.nullable(value, parameters[name], (*key, name))
                elif not fits(value, parameters[name].annotation):
                    yield self.ill_typed((*key, name), value, parameters[name].annotation)
            elif None not in arguments or not _forwards_arguments(target):
                yield self.unknown((*key, name), name, parameters, 'key')
        for name, parameter in parameters.items():
            if parameter.required and name not in given and kind.name != 'metric':
                yield _Problem(key, f'{dotted((*key, name))} is missing')

    def unknown(self, key: Key, name: Any, names: Collection[str], what: str) -> _Problem:
        hint = self.hint(name, names)
        if what == 'key':
            return _Problem(key, f'unknown key {dotted(key)}{hint}')
        return _Problem(key, f'{dotted(key)}: there is no {what} called {_shown(name, str)}{hint}')

    def hint(self, name: Any, names: Collection[str]) -> str:
        near = difflib.get_close_matches(str(name), [str(n) for n in names], 1, _LIKENESS)
        if near:
            return f'; the nearest valid name is {near[0]}'
        return f'; valid are {", ".join(sorted(str(n) for n in names))}' if len(names) <= _LISTED else ''

    def ill_typed(self, key: Key, value: Any, annotation: Any) -> _Problem:
        near = difflib.get_close_matches(str(value), choices_of(annotation), 1, _LIKENESS)
        hint = f'; the nearest is {near[0]}' if near else ''
        return _Problem(key, f'{dotted(key)} is {_shown(value)}; it must be {describe(annotation)}{hint}')


def _printable(text: str) -> str:
    """Escapes control characters, which would change the terminal."""
    return ''.join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _forwards_arguments(target: Callable[..., Any]) -> bool:
    """Whether a class may pass `**anything` on to its base class, as classes of plugins do.

    Metrics and BasicSR's SwinIR accept `**kwargs` and ignore them.
    """
    return inspect.isclass(target) and not is_basicsr_class(target)


def _shown(value: Any, write: Callable[[Any], str] = repr) -> str:
    """A value for a message, cut if it is long."""
    return shortened(write(value), _SHOWN)


def _positive(value: Any) -> bool:
    return fits(value, int) and value > 0
