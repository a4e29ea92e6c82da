"""Options of a comparison: the same data, folders and devices for every method."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.archs import build_network
from torch import nn

from gavn.basicsr_patches.build import build_dataset
from gavn.basicsr_patches.data_data_sampler import plan_epochs
from gavn.basicsr_patches.utils_options import import_parts, registries
from gavn.config.check import check_options
from gavn.config.option_file import OptionError, OptionSource, option_errors
from gavn.config.overlays import resolve_options
from gavn.experiments.compare.settings import CompareError, CompareSettings
from gavn.models.cost import parameters
from gavn.runtime.project import locate

_TOLERANCE = 0.2  # between the sizes of networks
DETECTOR = 'pfld'  # name of the landmark detector in option files
CONTROLS = {'zeros': 'zero audio (test only)', 'shuffled': 'shuffled audio (test only)'}
"""Value of `audio:` of the test data -> suffix of the method's name."""


@dataclass(frozen=True)
class CompareTest:
    """A test of a method: name of its run, option file and options."""

    token: str
    file: Path
    options: dict[str, Any]

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.options.get('method') or self.options['network_g']['type']

    def results(self, settings: CompareSettings) -> list[Path]:
        """Files that it writes, one per data set."""
        folder = settings.out / 'tested' / settings.name(self.token)
        return [folder / f'{section["name"]}.csv' for section in self.options['datasets'].values()]


@dataclass(frozen=True)
class Method:
    """A method of the comparison."""

    token: str  # in names of option files
    title: str  # in tables
    train: dict[str, Any]  # options of its training without the budget; phases have `iters`
    test: dict[str, Any]  # options of its test
    origin: tuple[Path, Path]  # files of these options
    parameters: int  # of the restoration network with its landmark detector
    uses_audio: bool  # whether a test can replace its audio
    outputs: int | None  # restored frames of a training clip; None if its data set does not say

    @property
    def batch(self) -> int:
        """Clips per iteration."""
        return self.train['datasets']['train']['batch_size_per_gpu']

    @property
    def needs_detector(self) -> bool:
        """Whether its options name a landmark detector, whose weights must exist."""
        return 'network_l' in self.train

    @property
    def detects(self) -> bool:
        """Whether the landmark detector runs for every frame."""
        return _detects(self.train)

    @property
    def work(self) -> dict[str, Any]:
        """Training options that determine the time of an iteration, whatever the audio."""
        data = {key: value for key, value in self.train['datasets']['train'].items() if key != 'audio'}
        other = {key: value for key, value in self.train.items()
                 if key not in ('name', 'method', 'path', 'datasets', 'val')}
        return {**other, 'data': data}

    def tests(self, settings: CompareSettings) -> Iterator[CompareTest]:
        """Its tests: the plain one, and those with other audio."""
        yield CompareTest(self.token, settings.file('test', self.token), self.test)
        for control, words in CONTROLS.items() if self.uses_audio and settings.audio_controls else ():
            token, options = f'{self.token}_{control}', copy.deepcopy(self.test)
            options |= {'name': settings.name(token), 'method': f'{self.title} {words}'}
            for section in options['datasets'].values():
                section['audio'] = control
            yield CompareTest(token, settings.file('test', self.token, control), options)


def option_files(settings: CompareSettings, kind: str, token: str) -> tuple[Path, list[Path]]:
    """Returns the option file of a method and its overlays: train_gavn_deblur.yml with ablations/wo_if.yml.

    A variant may also have its own file, train_gavn_deblur_wo_if.yml.

    Raises:
        CompareError: there is none. The message lists the methods.
    """
    overlays = list(settings.detector_overlays if token == DETECTOR else settings.overlays)
    parts = token.split('_')
    splits = [('_'.join(parts[:i]), '_'.join(parts[i:])) for i in range(1, len(parts))]
    first = f'{kind}_{token}_{settings.task}.yml'
    for name in (first, *(f'{kind}_{method}_{settings.task}_{variant}.yml' for method, variant in splits)):
        if (settings.options / name).is_file():
            return settings.options / name, overlays
    for method, variant in splits:
        file = settings.options / f'{kind}_{method}_{settings.task}.yml'
        ablation = settings.options / 'ablations' / f'{variant}.yml'
        if file.is_file() and ablation.is_file():
            return file, [*overlays, ablation]
    there = sorted(path.name.split('_', 1)[1].removesuffix(f'_{settings.task}.yml')
                   for path in settings.options.glob(f'train_*_{settings.task}.yml'))
    raise CompareError(f'{settings.options / first} does not exist; methods for the task {settings.task} '
                       f'in {settings.options}: {", ".join(there) or "none"}')


def load_method(settings: CompareSettings, token: str) -> Method:
    """Reads and checks a method's option files and builds its network.

    Raises:
        CompareError, OptionError: its training would fail later.
    """
    files = [option_files(settings, kind, token) for kind in ('train', 'test')]
    origin = files[0][0], files[1][0]
    (train, train_source), (test, test_source) = (resolve_options(*pair) for pair in files)
    for options, file in ((train, origin[0]), (test, origin[1])):
        _aim(settings, options, token)
        _place_detector(settings, options, file)
    if settings.amp:
        train['train']['amp'] = settings.amp
    if settings.images:
        test.setdefault('val', {})['save_img'] = True
    for section in test['datasets'].values() if settings.frames else ():
        section['max_frames'] = settings.frames
    test.setdefault('path', {})['pretrain_network_g'] = settings.relative_path(settings.weights(token))
    _check(train, train_source, settings, is_train=True)
    _check(test, test_source, settings, is_train=False)
    data_set = _phases_in_iterations(train)
    names = ['network_g', 'network_l'] if _detects(train) else ['network_g']
    size = parameters(*(_built(train[name], name, settings, origin[0]) for name in names))
    uses_audio = 'audio' in (test.get('network_inputs') or ()) and all(
        section.get('audio', True) is True for section in test['datasets'].values())
    outputs = getattr(data_set, 'outputs', None)  # which gavn's data sets have
    frames = None if outputs is None else len(range(data_set.options.num_frame)[outputs])
    return Method(token, test.get('method') or test['network_g']['type'], train, test, origin, size,
                  uses_audio, frames)


def _detects(options: Mapping[str, Any]) -> bool:
    return 'network_l' in options and 'landmarks' in (options.get('network_inputs') or ())


def _built(options: Mapping[str, Any], name: str, settings: CompareSettings, file: Path) -> nn.Module:
    """Builds a network as training does. Its initial weights must exist."""
    own = copy.deepcopy(dict(options))
    for key, value in own.items():
        if key.endswith('_path') and value is not None:
            if (place := locate(value, settings.root)) is None:
                raise CompareError(f'{file}: {name}.{key}: {value} does not exist')
            own[key] = str(place)
    with option_errors(f'{file}: {name}'):
        return build_network(own)


def _aim(settings: CompareSettings, options: dict[str, Any], token: str) -> None:
    """Sets the options that are the same for all methods: data, folders, device, seed."""
    options['name'] = settings.name(token)
    options['num_gpu'] = 0 if settings.gpus == () else 1
    if settings.seed is not None:
        options['manual_seed'] = settings.seed
    options['path'] = options.get('path') or {}
    options['path'] |= {f'{kind}_root': settings.relative_path(settings.out / folder)
                        for kind, folder in (('experiments', 'experiments'), ('results', 'tested'))}
    for kind, section in (options.get('datasets') or {}).items():
        section['root'] = settings.relative_path(settings.data)
        if kind == 'train' and settings.workers is not None:
            section['num_worker_per_gpu'] = settings.workers


def _place_detector(settings: CompareSettings, options: dict[str, Any], file: Path) -> None:
    """Sets the weights of the landmark detector. Raises CompareError if there are none."""
    if 'network_l' not in options or 'network_g' not in options:
        return
    if settings.detectors:
        options['path']['pretrain_network_l'] = settings.relative_path(settings.weights(DETECTOR, 'l'))
        return
    weights = options['path'].get('pretrain_network_l')
    if weights is None or locate(weights, settings.root) is None:
        trainer = settings.options / f'train_{DETECTOR}_{settings.task}.yml'
        raise CompareError(f'{file}: path.pretrain_network_l: the landmark detector {weights or ""} does not '
                           f'exist\ntrain it with gavn train -opt {trainer}, or let this command do it: '
                           '--detectors')


def load_detector(settings: CompareSettings) -> dict[str, Any]:
    """Options of the landmark detector's training. Raises CompareError or OptionError."""
    options, source = resolve_options(*option_files(settings, 'train', DETECTOR))
    _aim(settings, options, DETECTOR)
    _check(options, source, settings, is_train=True)
    _phases_in_iterations(options)
    return options


def _check(options: dict[str, Any], source: OptionSource, settings: CompareSettings, is_train: bool) -> None:
    """Checks keys and data, so that a missing layer fails now and not after hours."""
    import_parts(options, source)
    check_options(options, source, registries(), is_train)
    for section in options['datasets'].values():
        try:
            build_dataset({**copy.deepcopy(section), 'phase': 'val'})
        except OptionError as error:
            raise OptionError(f'{source.file}: {error}') from error
    for key, value in options['path'].items():
        ours = value and (settings.root / str(value)).is_relative_to(settings.out.absolute())
        if key.startswith('pretrain_network_') and value and not ours and not locate(value, settings.root):
            raise CompareError(f'{source.place(("path", key))}: path.{key}: {value} does not exist')


def _phases_in_iterations(options: dict[str, Any]) -> Any:
    """Gives training phases with `iters`, which a budget scales; returns its data section.

    Training without phases gets one of all its iterations.
    """
    data, sizes = options['datasets']['train'], {'dist': False, 'num_gpu': 1, 'world_size': 1}
    data_set = build_dataset({**data, 'phase': 'train'})
    plan_epochs(len(data_set), data, {**options, **sizes})
    total = options['train'].pop('total_iter')
    if not options['train'].get('phases'):
        options['train']['phases'] = [{'name': 'all', 'iters': total}]
    for phase in options['train']['phases']:
        phase.pop('epochs', None)
    return data_set


def size_warning(methods: Sequence[Method]) -> str:
    """Describes a difference of more than `_TOLERANCE` between the sizes of networks; else ''."""
    by_size = sorted(methods, key=lambda method: method.parameters)
    small, large = by_size[0], by_size[-1]
    if large.parameters <= small.parameters * (1 + _TOLERANCE):
        return ''
    return (f'sizes differ by more than {_TOLERANCE:.0%}: {small.title} has {small.parameters:,} parameters, '
            f'{large.title} {large.parameters:,}')


def check_titles(methods: Sequence[Method]) -> None:
    """Raises CompareError if two methods have the same row in tables."""
    titles: dict[str, str] = {}
    for method in methods:
        if method.title in titles:
            raise CompareError(f'{titles[method.title]} and {method.token} are both called {method.title} in '
                               f'tables: give one of them another `method:` in {method.origin[1]}')
        titles[method.title] = method.token
