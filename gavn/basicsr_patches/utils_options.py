"""Replacement of basicsr.utils.options: parses option files safely and checks them before making folders."""
from __future__ import annotations

import argparse
import copy
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from basicsr import archs, data, losses, metrics, models  # noqa: F401  (fill the registries)
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from gavn.basicsr_patches.utils_dist_util import init_dist
from gavn.config.check import Registries, check_options
from gavn.config.option_file import Key, OptionError, OptionSource, dotted, write_options
from gavn.config.overlays import DEGRADATION, WITH, add_run_arguments, resolve_arguments
from gavn.config.sections import FileOptions, network_sections
from gavn.runtime.arguments import Parser
from gavn.runtime.optional_packages import require_packages
from gavn.runtime.plugins import PluginError, check_modules, import_plugins
from gavn.runtime.project import PACKAGE, locate, searched

DEBUG = 'debug_'
_SEEDS = 2**31
_ROOTS = ('root', 'dataroot', 'dataroot_gt', 'dataroot_lq', 'dataroot_flow', 'meta_info', 'meta_info_file')


def parse_options(root_path: str, is_train: bool = True, args: argparse.Namespace | None = None
                  ) -> tuple[dict[str, Any], argparse.Namespace]:
    """Reads and checks the option file of `args` (`add_run_arguments`), by default those of the command line.

    Defects: basicsr leaves numbers such as 4e-4 text, runs `exec` for --force_yml after seeding and refuses
    new keys, shortens every run with 'debug' in its name, and checks no key.

    Returns:
        The options, whose paths may be relative to `root_path`, and the arguments. These have three more
        attributes: `given`, the options as given; `resolved_config`, a function that returns them as text;
        `drawn`, whether the seed was drawn at random.

    Raises:
        OptionError: options are wrong, or files that they name do not exist.
    """
    args = args or _arguments()
    root = Path(root_path)
    opt, source = resolve_arguments(args, root)
    args.given = copy.deepcopy(opt)
    args.resolved_config = partial(resolved_config, args.given, source, args.force_yml)
    import_parts(opt, source)
    check_options(opt, source, registries(), is_train)
    _check_wandb(opt, source)
    _fill(opt, is_train, args.debug)
    _locate_inputs(opt, source, root)
    opt['dist'] = args.launcher != 'none'
    opt['num_gpu'] = _gpus(opt['num_gpu'], source, opt['dist'])
    if opt['dist']:
        init_dist(args.launcher, **opt.get('dist_params') or {})
    opt['rank'], opt['world_size'] = get_dist_info()
    args.drawn = opt['manual_seed'] is None
    if args.drawn:
        set_seed(opt, _draw_seed(opt['dist']), args.given)
    else:
        set_seed(opt, opt['manual_seed'])
    opt.update(auto_resume=args.auto_resume, is_train=is_train, option_file=_shown(args, root))
    _name_folders(opt, root)
    return opt, args


def _arguments() -> argparse.Namespace:
    """Parses the command line. Defect: torch 2 passes `--local-rank`, which basicsr refuses."""
    parser = Parser()
    add_run_arguments(parser)
    return parser.parse_args()


def resolved_config(opt: Mapping[str, Any], source: OptionSource, forced: Sequence[str]) -> str:
    """Text of an option file with all given options. Its head names their files and arguments."""
    origins = [f'Written {time.asctime()} by', f'  {shlex.join(sys.argv)}', f'Options of  {source.file}',
               *(f'built on    {base}' for base in source.bases),
               *(f'overlaid by {overlay}' for overlay in source.overlays),
               *(f'changed by  {words}' for words in dict.fromkeys((*source.given.values(), *forced)))]
    head = [f'# {line}' for lines in origins for line in lines.splitlines()]
    return '\n'.join([*head, '', write_options(opt)])


def keep_options(config: str, opt_file: str, folder: str) -> None:
    """Writes the options of a run into its folder, under the name of the option file.

    Defect: basicsr copies the option file, which lacks overlays and changes of the command line.
    """
    kept = Path(folder, Path(opt_file).name)
    if get_dist_info()[0] == 0 and not (kept.exists() and kept.samefile(opt_file)):
        kept.write_text(config, encoding='utf-8')


def registries() -> Registries:
    """Everything registered so far, by its name and by the name without BasicSR's suffix `_basicsr`."""
    def names(registry: Registry) -> dict[str, Any]:
        items = list(registry)
        return {name.removesuffix('_basicsr'): item for name, item in items} | dict(items)

    return Registries(network=names(ARCH_REGISTRY), dataset=names(DATASET_REGISTRY),
                     model=names(MODEL_REGISTRY), loss=names(LOSS_REGISTRY), metric=names(METRIC_REGISTRY))


def _fill(opt: dict[str, Any], is_train: bool, debug: bool) -> None:
    """Sets defaults of the options that the pipelines require."""
    opt.setdefault('num_gpu', 'auto')
    opt.setdefault('manual_seed', 0)
    opt['path'] = opt.get('path') or {}
    if opt.get('val') is not None or not is_train:
        opt['val'] = {'save_img': False, 'metrics': None, 'suffix': None, **(opt.get('val') or {})}
    if is_train:
        opt['logger'].setdefault('use_tb_logger', False)
    for phase, dataset in opt['datasets'].items():
        dataset['phase'] = phase.split('_')[0]
        dataset['scale'] = opt.get('scale', FileOptions.scale)
    if (debug or opt.get('debug')) and not opt['name'].startswith(DEBUG):
        opt['name'] = DEBUG + opt['name']
    if is_train and opt['name'].startswith(DEBUG):
        opt['logger'].update(print_freq=1, save_checkpoint_freq=8)
        if opt.get('val'):
            opt['val']['val_freq'] = 8


def _draw_seed(several: bool) -> int:
    """Draws a random seed, the same in every process."""
    seeds = [secrets.randbelow(_SEEDS)]
    if several:
        torch.distributed.broadcast_object_list(seeds)
    return seeds[0]


def set_seed(opt: dict[str, Any], seed: int, given: dict[str, Any] | None = None) -> None:
    """Seeds this process and the data sets without a seed of their own. Also sets the seed in `given`."""
    for dataset in opt['datasets'].values():
        if dataset.get('manual_seed') in (None, opt['manual_seed']):
            dataset['manual_seed'] = seed
    opt['manual_seed'] = seed
    if given is not None:
        given['manual_seed'] = seed
    set_random_seed(seed + opt['rank'])


def import_parts(opt: Mapping[str, Any], source: OptionSource) -> None:
    """Imports the modules that register the user's own networks, losses and so on."""
    try:
        import_plugins(check_modules(opt.get('custom_imports')))
    except PluginError as error:
        raise OptionError(f'{source.place(("custom_imports",))}: {error}') from error


def _check_wandb(opt: Mapping[str, Any], source: OptionSource) -> None:
    """Raises MissingPackageError if wandb is used but not installed, OptionError if tensorboard is off."""
    logger = opt.get('logger') or {}
    if not (logger.get('wandb') or {}).get('project'):
        return
    place = source.place(('logger', 'wandb'))
    if not logger.get('use_tb_logger'):
        raise OptionError(f'{place}: logger.wandb copies what tensorboard receives: set use_tb_logger: true')
    require_packages(['wandb'], 'wandb', f'{place}: logger.wandb')


def _shown(args: argparse.Namespace, root: Path) -> str:
    """Returns the option file and its overlays as results name them, with paths relative to `root`."""
    def relative(file: str) -> str:
        path = Path(file).absolute()
        place = next((place for place in (root, PACKAGE) if path.is_relative_to(place)), None)
        return path.relative_to(place).as_posix() if place else file

    words = [relative(args.opt)]
    for flag, values in ((WITH, [relative(file) for file in args.overlays]), (DEGRADATION, args.degradation)):
        words += [flag, *values] if values else []
    return words[0] if len(words) == 1 else shlex.join(words)


def _locate_inputs(opt: dict[str, Any], source: OptionSource, root: Path) -> None:
    """Makes paths of data, weights and states absolute. Raises OptionError if one does not exist."""
    problems = []
    for section, key in _inputs(opt):
        name = str(key[-1])
        place = locate(section[name], root)
        if place is None:
            problems.append(f'{source.place(key)}: {dotted(key)}: {section[name]} does not exist '
                            f'(looked in {searched(root)})')
        else:
            section[name] = str(place.absolute())
    if problems:
        raise OptionError('\n'.join(problems))


def _inputs(opt: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Key]]:
    """Yields (section, key) of every option that is the path of an input."""
    for name, dataset in opt['datasets'].items():
        for key in _ROOTS:
            if isinstance(dataset.get(key), str):
                yield dataset, ('datasets', name, key)
    for key, value in opt['path'].items():
        if value is not None and (key == 'resume_state' or key.startswith('pretrain_network_')):
            yield opt['path'], ('path', key)
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        if isinstance(metric.get('weights'), str):
            yield metric, ('val', 'metrics', name, 'weights')
    for name, section in network_sections(opt).items():
        for key, value in section.items():
            if key.endswith('_path') and value is not None:
                yield section, (name, key)


def _gpus(num_gpu: int | str, source: OptionSource, launched: bool) -> int:
    """Number of GPUs to use. Under a launcher each process has one, on any number of machines."""
    available = torch.cuda.device_count()
    if isinstance(num_gpu, str):  # auto, as the options were checked
        return available
    if num_gpu < 0 or (num_gpu > available and not (launched and available)):
        raise OptionError(f'{source.place(("num_gpu",))}: num_gpu is {num_gpu}, this machine has '
                          f'{available}; num_gpu: auto uses all, 0 the CPU')
    return num_gpu


def _name_folders(opt: dict[str, Any], root: Path) -> None:
    """Sets the folders of the run: in ROOT/experiments or ROOT/results, or in the root given in `path`."""
    kind = 'experiments' if opt['is_train'] else 'results'
    parent = root / (opt['path'].get(f'{kind}_root') or kind)
    folder = Path(os.path.expanduser(parent)) / opt['name']
    paths = {f'{kind}_root': folder, 'log': folder, 'visualization': folder / 'visualization'}
    if opt['is_train']:
        paths |= {'models': folder / 'models', 'training_states': folder / 'training_states'}
    opt['path'].update({key: str(path) for key, path in paths.items()})
