"""Changes of an option file on the command line: overlays (`--with`), degradations and single keys.

An overlay is an option file with changes only. Two of its sections are not options:

- `overlay`: `suffix` is added to the name of the run. `trained` lists the networks (`g`, `l`) whose weights
  the changed training produces. Where `path` names weights in `experiments/RUN`, the suffix is added to RUN.
- `by_network`: further changes by the type of the trained or tested network.
"""
from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gavn.config.option_file import (
    Key,
    OptionError,
    OptionFile,
    OptionSource,
    force,
    lay_over,
    read_layers,
    read_options,
)
from gavn.config.sections import check_component
from gavn.runtime.arguments import whole
from gavn.runtime.project import locate

META, BY_NETWORK = 'overlay', 'by_network'
WITH, DEGRADATION = '--with', '--degradation'
_RUN = re.compile(r'(?P<parent>(.*/)?experiments/)(?P<run>[^/]+)(?P<file>/.*)')


def add_run_arguments(parser: argparse.ArgumentParser, trains: bool = True) -> None:
    """Adds the arguments of a training or a test.

    `--auto_resume` belongs to BasicSR's scripts, so a test takes it too and ignores it. `--local-rank` is
    what torch's launchers add.
    """
    debug = 'name the run debug_NAME' + ', log each iteration, validate and save every 8' * trains
    parser.add_argument('-opt', required=True, metavar='FILE.yml', help='option file')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='what starts the processes of several GPUs (default none: one process)')
    parser.add_argument('--auto_resume', action='store_true',
                        help='resume from the newest checkpoint' if trains else argparse.SUPPRESS)
    parser.add_argument('--debug', action='store_true', help=debug)
    parser.add_argument('--local_rank', '--local-rank', type=whole(0), default=0, help=argparse.SUPPRESS)
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that change an option file."""
    parser.add_argument(WITH, dest='overlays', nargs='+', default=[], metavar='FILE.yml',
                        help='lay option files over it, such as options/presets/small.yml')
    parser.add_argument(DEGRADATION, nargs='+', default=[], metavar='LAYER',
                        help='degradations in place of those of the file; a test has a data set for each')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='set single options, e.g. val:save_img=true')


def resolve_arguments(args: argparse.Namespace, root: Path) -> tuple[dict[str, Any], OptionSource]:
    """Returns the options of `args.opt` with the other arguments' changes, and their origin.

    Files are relative to the working directory, to `root` or to the package. Their places replace the names
    in `args`.

    Raises:
        OptionError: see `resolve_options`.
    """
    args.opt, *args.overlays = (str(locate(name, root) or name) for name in (args.opt, *args.overlays))
    return resolve_options(args.opt, args.overlays, args.degradation, args.force_yml)


def resolve_options(file: str | os.PathLike[str], overlays: Sequence[str | os.PathLike[str]] = (),
                    degradations: Sequence[str] = (), forced: Sequence[str] = ()
                    ) -> tuple[dict[str, Any], OptionSource]:
    """Returns the options of a file with the changes of the command line, and their origin.

    Raises:
        OptionError: a file cannot be read, or a change is impossible.
    """
    options, source = read_options(file)
    for overlay in overlays:
        options = _with_overlay(options, source, overlay)
    if degradations:
        _set_degradations(options, source, degradations)
    force(options, source, forced)
    return options, source


def _with_overlay(options: dict[str, Any], source: OptionSource, file: str | os.PathLike[str]
                  ) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for layer in read_layers(file):
        source.overlays.append(layer.name)
        cases = layer.options.pop(BY_NETWORK, None) or {}
        meta |= _meta(layer)
        options = lay_over(options, source, _fitting(layer, options))
        if (changes := cases.get(network_type(options))) is not None:
            case = _case(layer, changes, network_type(options))
            options = lay_over(options, source, _fitting(case, options))
    if meta.get('suffix'):
        place = source.lines.pop((META,), (str(file), 1))
        _rename(options, source, meta['suffix'], meta.get('trained') or (), place)
    return options


def _fitting(layer: OptionFile, options: Mapping[str, Any]) -> OptionFile:
    """Removes sections of a layer that a test (training) or a training (test sets) does not read."""
    trains = options.get('train') is not None
    unread = set() if trains else {'train', 'logger'}
    result = {key: value for key, value in layer.options.items() if key not in unread}
    for section, keep in (('datasets', lambda name: (name.split('_')[0] == 'test') != trains),
                          ('val', lambda name: trains or name != 'val_freq')):
        if isinstance(result.get(section), Mapping):
            result[section] = {name: value for name, value in result[section].items() if keep(name)}
    return dataclasses.replace(layer, options=result)


def network_type(options: Mapping[str, Any]) -> str:
    """Returns the type of the trained or tested network; '' if there is none."""
    section = options.get('network_g') or options.get('network_l') or {}
    return str(section.get('type', ''))


def _meta(layer: OptionFile) -> dict[str, Any]:
    """Removes the section `overlay` of a layer and returns it."""
    meta = layer.options.pop(META, None) or {}
    unknown = set(meta) - {'suffix', 'trained'} if isinstance(meta, Mapping) else {META}
    if unknown:
        raise OptionError(f'{layer.name}: unknown key {META}.{sorted(unknown)[0]}; valid are suffix, trained')
    if meta.get('suffix'):
        try:
            check_component(meta['suffix'])
        except ValueError as error:
            raise OptionError(f'{layer.name}: {META}.suffix: {error}') from error
    return dict(meta)


def _case(layer: OptionFile, changes: Any, network: str) -> OptionFile:
    """Returns the part of a layer for one type of network as a layer."""
    prefix = (BY_NETWORK, network)
    if not isinstance(changes, Mapping):
        raise OptionError(f'{layer.name}, line {layer.lines[prefix]}: {BY_NETWORK}.{network} must be a '
                          'section')
    lines = {key[2:]: line for key, line in layer.lines.items() if key[:2] == prefix and len(key) > 2}
    return dataclasses.replace(layer, options=dict(changes), lines=lines)


def _rename(options: dict[str, Any], source: OptionSource, suffix: str, trained: Sequence[str],
            place: tuple[str, int]) -> None:
    """Adds a suffix to the name of the run, and to the runs that its weights come from."""
    options['name'] = f'{options.get("name", "")}_{suffix}'
    source.lines['name',] = place
    path = options.get('path') or {}
    for letter in trained:
        key = f'pretrain_network_{letter}'
        if isinstance(path.get(key), str) and (found := _RUN.fullmatch(path[key])):
            path[key] = f'{found["parent"]}{found["run"]}_{suffix}{found["file"]}'
            source.lines['path', key] = place


def _set_degradations(options: dict[str, Any], source: OptionSource, layers: Sequence[str]) -> None:
    """Trains on all layers and validates on the first, or tests on each as a separate data set."""
    datasets = options.get('datasets') or {}
    changed: list[Key] = [('name',)]
    if 'train' in datasets:
        datasets['train']['degradation'] = layers[0] if len(layers) == 1 else list(layers)
        for name, section in datasets.items():
            if name != 'train' and section.get('degradation') != 'gt':
                section['degradation'] = layers[0]
                changed.append(('datasets', name, 'degradation'))
        changed.append(('datasets', 'train', 'degradation'))
    else:
        datasets = options['datasets'] = _tests(datasets, layers)
        changed += [('datasets', name, key) for name in datasets for key in ('name', 'degradation')]
    source.given |= dict.fromkeys(changed, f'{DEGRADATION} {" ".join(layers)}')
    options['name'] = '_'.join([str(options.get('name', '')), *layers])


def _tests(datasets: Mapping[str, Any], layers: Sequence[str]) -> dict[str, Any]:
    """Repeats each tested data set for each layer: test, test_2, test_3 ..."""
    kind = next(iter(datasets), 'test').split('_')[0]
    sections = []
    for layer in layers:
        for section in datasets.values():
            old = section.get('degradation')
            name = str(section.get('name', '')).removesuffix(f'_{old}')
            sections.append({**section, 'name': f'{name}_{layer}', 'degradation': layer})
    return {kind if i == 1 else f'{kind}_{i}': section for i, section in enumerate(sections, 1)}
