"""What option files may hold, as dataclasses, and the check that holds a file to it.

A network, loss, metric or optimiser is checked against the signature of its class; a data set, or a model
with options of its own, against the dataclass `Options` that its class declares.
"""
from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch

from gavn.utils.annotations import Field, arguments_of, describe, fields_of, fits, without_none
from gavn.utils.option_file import Key, OptionError, Source, dotted

_LIKENESS = 0.6  # of a misspelled key to the one that was meant
_LISTED = 14  # so many valid names are listed where none is near


@dataclass(frozen=True)
class Catalogue:
    """The registered classes and functions by name, as `type:` names them."""

    network: Mapping[str, Callable[..., Any]]
    dataset: Mapping[str, Callable[..., Any]]
    model: Mapping[str, Callable[..., Any]]
    loss: Mapping[str, Callable[..., Any]]
    metric: Mapping[str, Callable[..., Any]]
    optimizer: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=lambda: {
        name: cls for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)})


@dataclass(frozen=True)
class _Kind:
    """Marks a section {type: NAME, ...} and says where NAME is looked up."""

    name: str


_Network = Annotated[dict, _Kind('network')]
_Loss = Annotated[dict, _Kind('loss')]
_Metric = Annotated[dict, _Kind('metric')]
_Optimizer = Annotated[dict, _Kind('optimizer')]


@dataclass
class PhaseOptions:
    """One entry of `train.phases`; its length is `epochs` or `iters`."""

    name: str
    lr: float
    epochs: float | None = None
    iters: int | None = None
    train: list[str] | None = None
    temporal_only: bool = False


@dataclass
class TrainOptions:
    """`train`. The second half belongs to models that come with BasicSR."""

    phases: list[PhaseOptions] | None = None
    total_iter: int | None = None
    warmup_iter: int = -1
    ema_decay: float = 0
    grad_clip: float | None = None
    dcn_lr_mul: float = 1
    offset_limit: float | None = None
    amp: Literal['none', 'bf16'] = 'none'
    optim_g: _Optimizer | None = None
    pixel_opt: _Loss | None = None

    scheduler: dict | None = None
    optim_d: _Optimizer | None = None
    perceptual_opt: _Loss | None = None
    gan_opt: _Loss | None = None
    ldl_opt: _Loss | None = None
    feature_matching_opt: _Loss | None = None
    tsa_iter: int | None = None
    fix_flow: int | None = None
    flow_lr_mul: float = 1
    lr_flow: float | None = None
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    net_g_reg_every: int | None = None
    net_d_reg_every: int | None = None
    mixing_prob: float | None = None
    path_batch_shrink: float | None = None
    path_reg_weight: float | None = None
    r1_reg_weight: float | None = None


@dataclass
class ValOptions:
    """`val`, of training and of testing."""

    val_freq: int | None = None
    save_img: bool = False
    save_video: bool = False
    metrics: dict[str, _Metric] | None = None
    suffix: str | int | None = None
    pbar: bool = False
    flip_seq: bool = False
    center_frame_only: bool = False
    num_val_samples: int | None = None


@dataclass
class LoggerOptions:
    """`logger`. `keep_checkpoints`: so many of the newest stay on the disk (null: all), and the best."""

    print_freq: int
    save_checkpoint_freq: int
    keep_checkpoints: int | None = None
    use_tb_logger: bool = False
    wandb: dict | None = None


@dataclass
class PathOptions:
    """`path`. Roots are parents of the folder named like the run; those of networks end in their letter."""

    resume_state: str | None = None
    ignore_resume_networks: list[str] | None = None
    experiments_root: str | None = None
    results_root: str | None = None


@dataclass
class LoaderOptions:
    """What every data set section may hold beside the options of its own data set."""

    name: str
    type: str
    num_worker_per_gpu: int | None = None
    batch_size_per_gpu: int | None = None
    use_shuffle: bool = True
    dataset_enlarge_ratio: int = 1
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = False
    persistent_workers: bool | None = None


@dataclass
class FileOptions:
    """The top level of an option file; keys `network_g`, `network_l` ... stand beside these."""

    name: str
    model_type: str
    datasets: dict
    train: TrainOptions | None = None
    val: ValOptions | None = None
    logger: LoggerOptions | None = None
    path: PathOptions | None = None
    scale: int = 1
    num_gpu: int | Literal['auto'] = 'auto'
    manual_seed: int = 0
    network_inputs: list[str] | None = None
    window: Literal['sequence', 'centre', 'frame'] | None = None
    find_unused_parameters: bool = False
    dist_params: dict | None = None
    debug: bool = False


@dataclass(frozen=True)
class _Problem:
    key: Key
    text: str


_Problems = Iterator[_Problem]
_PATH_PREFIXES = ('pretrain_network_', 'strict_load_', 'param_key_')


def check_options(options: Mapping[str, Any], source: Source, catalogue: Catalogue,
                  is_train: bool = True) -> None:
    """Raises OptionError, naming every wrong key with its file, line and nearest valid name.

    Unknown, missing and ill-typed keys are errors. Models that come with BasicSR read keys of their own in
    `train`, `val` and at the top, so there only misspelled ones are.
    """
    problems = list(_Check(catalogue, is_train).file(options))
    if problems:
        raise OptionError('\n'.join(f'{source.place(p.key)}: {p.text}' for p in problems))


class _Check:
    """One walk through an option file."""

    def __init__(self, catalogue: Catalogue, is_train: bool) -> None:
        self.catalogue = catalogue
        self.is_train = is_train
        self.lenient = False  # whether the model may read keys that are not listed here

    def file(self, options: Mapping[str, Any]) -> _Problems:
        model = self.catalogue.model.get(options.get('model_type', ''))
        self.lenient = getattr(model, '__module__', '').startswith('basicsr.')
        networks = {name: section for name, section in options.items() if name.startswith('network_')
                    and name != 'network_inputs'}
        rest = {name: value for name, value in options.items() if name not in networks}
        special = {'datasets', 'path', 'train'}
        yield from self.section(rest, FileOptions, (), apart=special, lenient=self.lenient)
        if model is None and 'model_type' in options:
            yield self.unknown(('model_type',), options['model_type'], self.catalogue.model, 'model')
        if not networks:
            yield _Problem((), 'no network is given (network_g: {type: ...})')
        for name, section in networks.items():
            yield from self.registered(section, 'network', (name,))
        yield from self.datasets(options.get('datasets'))
        yield from self.path(options.get('path') or {})
        if self.is_train:
            yield from self.training(options, model)

    def training(self, options: Mapping[str, Any], model: Callable[..., Any] | None) -> _Problems:
        for name in ('train', 'logger'):
            if not options.get(name):
                yield _Problem((name,), f'the section {name} is missing')
        train = options.get('train') or {}
        own = fields_of(model.Options) if hasattr(model, 'Options') else {}
        yield from self.section(train, TrainOptions, ('train',), extra=own, lenient=self.lenient)
        val = options.get('val')
        if isinstance(val, Mapping) and not _positive(val.get('val_freq')):
            yield _Problem(('val', 'val_freq'), 'val.val_freq is missing: validate every so many iterations')
        for name in ('print_freq', 'save_checkpoint_freq', 'keep_checkpoints'):
            value = (options.get('logger') or {}).get(name)
            if value is not None and not _positive(value):
                yield _Problem(('logger', name), f'logger.{name} is {value!r}; it must be a number above 0')
        if isinstance(train, Mapping):
            yield from self.phases(train)

    def phases(self, train: Mapping[str, Any]) -> _Problems:
        key: Key = ('train', 'phases')
        phases = train.get('phases')
        if (phases is None) == (train.get('total_iter') is None):
            yield _Problem(key, 'give either train.phases, whose sum is the length of training, or '
                                'train.total_iter')
        elif phases == []:
            yield _Problem(key, 'train.phases is empty')
        for i, phase in enumerate(phases if isinstance(phases, list) else []):
            lengths = [phase.get(name) for name in ('epochs', 'iters')] if isinstance(phase, Mapping) else [1]
            given = [length for length in lengths if length is not None]
            if len(given) != 1 or (isinstance(given[0], int | float) and given[0] <= 0):
                yield _Problem((*key, i), f'{dotted((*key, i))} needs one length above 0: epochs or iters')

    def datasets(self, datasets: Any) -> _Problems:
        if not isinstance(datasets, Mapping):
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
                for needed in ('batch_size_per_gpu', 'num_worker_per_gpu'):
                    if section.get(needed) is None:
                        yield _Problem(key, f'{dotted((*key, needed))} is missing')

    def dataset(self, section: Mapping[str, Any], key: Key) -> _Problems:
        cls = self.catalogue.dataset.get(section.get('type', ''))
        if cls is None and 'type' in section:
            yield self.unknown((*key, 'type'), section['type'], self.catalogue.dataset, 'data set')
        declared = hasattr(cls, 'Options')
        own = fields_of(cls.Options) if declared else {}
        yield from self.section(section, LoaderOptions, key, extra=own, any_key=not declared)

    def path(self, path: Any) -> _Problems:
        rest = {name: value for name, value in path.items() if not name.startswith(_PATH_PREFIXES)}
        yield from self.section(rest, PathOptions, ('path',), more=_PATH_PREFIXES)
        for name, value in path.items():
            wanted = bool if name.startswith('strict_load_') else str
            if name.startswith(_PATH_PREFIXES) and value is not None and not fits(value, wanted):
                yield self.ill_typed(('path', name), value, wanted)

    def section(self, section: Any, cls: type, key: Key, *, extra: Mapping[str, Field] | None = None,
                apart: Collection[str] = (), more: Collection[str] = (), lenient: bool = False,
                any_key: bool = False) -> _Problems:
        """Holds a section to a dataclass and to `extra` fields.

        apart: keys whose values are checked elsewhere. more: names to suggest as well. lenient: of unknown
        keys, only those near a known one are problems. any_key: none is.
        """
        if not isinstance(section, Mapping):
            yield _Problem(key, f'{dotted(key)} must be a section, not {section!r}')
            return
        known = {**fields_of(cls), **(extra or {})}
        names = [*known, *more]
        for name, value in section.items():
            if name in known:
                if name not in apart and not (value is None and not known[name].required):
                    yield from self.value(value, known[name].annotation, (*key, name))
            elif not any_key and not (lenient and not difflib.get_close_matches(str(name), names, 1, 0.8)):
                yield self.unknown((*key, name), name, names, 'key')
        for name, known_field in known.items():
            if known_field.required and section.get(name) is None:
                yield _Problem((*key, name), f'{dotted((*key, name))} is missing')

    def value(self, value: Any, annotation: Any, key: Key) -> _Problems:
        annotation = without_none(annotation)
        kind = next((m for m in getattr(annotation, '__metadata__', ()) if isinstance(m, _Kind)), None)
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if kind is not None:
            yield from self.registered(value, kind.name, key)
        elif dataclasses.is_dataclass(annotation):
            yield from self.section(value, annotation, key, lenient=self.lenient and annotation is ValOptions)
        elif origin is list and isinstance(value, list):
            for i, item in enumerate(value):
                yield from self.value(item, inner[0], (*key, i))
        elif origin is dict and isinstance(value, Mapping):
            for name, item in value.items():
                yield from self.value(item, inner[1], (*key, name))
        elif not fits(value, annotation):
            yield self.ill_typed(key, value, annotation)

    def registered(self, section: Any, kind: str, key: Key) -> _Problems:
        """Holds {type: NAME, ...} to the signature of what is registered under NAME."""
        if not isinstance(section, Mapping):
            yield _Problem(key, f'{dotted(key)} must be a section with a type, not {section!r}')
            return
        names = getattr(self.catalogue, kind)
        target = names.get(section.get('type'))
        if 'type' not in section:
            yield _Problem(key, f'{dotted((*key, "type"))} is missing')
        elif target is None:
            yield self.unknown((*key, 'type'), section['type'], names, kind)
        else:
            given = {name: value for name, value in section.items() if name != 'type'}
            yield from self.call(given, target, kind, key)

    def call(self, given: Mapping[str, Any], target: Callable[..., Any], kind: str, key: Key) -> _Problems:
        parameters = arguments_of(target)
        supplied = {'metric': {'img', 'img2', 'better'}, 'optimizer': {'params'}}.get(kind, set())
        for name, value in given.items():
            if name in parameters:
                wanted = parameters[name].annotation
                if not fits(value, wanted) and not (value is None and not parameters[name].required):
                    yield self.ill_typed((*key, name), value, wanted)
            elif None not in parameters and name not in supplied:
                yield self.unknown((*key, name), name, [n for n in parameters if n not in supplied], 'key')
        for name, parameter in parameters.items():
            if parameter.required and name not in given and name not in supplied and kind != 'metric':
                yield _Problem(key, f'{dotted((*key, name))} is missing')

    def unknown(self, key: Key, name: Any, names: Collection[str], what: str) -> _Problem:
        near = difflib.get_close_matches(str(name), [str(n) for n in names], 1, _LIKENESS)
        if near:
            hint = f'; the nearest valid name is {near[0]}'
        elif len(names) <= _LISTED:
            hint = f'; valid are {", ".join(sorted(str(n) for n in names))}'
        else:
            hint = ''
        if what == 'key':
            return _Problem(key, f'unknown key {dotted(key)}{hint}')
        return _Problem(key, f'{dotted(key)}: there is no {what} called {name}{hint}')

    def ill_typed(self, key: Key, value: Any, annotation: Any) -> _Problem:
        return _Problem(key, f'{dotted(key)} is {value!r}; it must be {describe(annotation)}')


def _positive(value: Any) -> bool:
    return fits(value, int) and value > 0
