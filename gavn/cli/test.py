"""`gavn test`: BasicSR's test pipeline with gavn's components and patches."""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gavn.config.option_file import OptionError
from gavn.config.overlays import add_run_arguments, resolve_arguments
from gavn.runtime.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_run_arguments(parser, trains=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Tests. Reports a wrong option file before PyTorch is imported."""
    options, _ = resolve_arguments(args, project_root())
    _check_tests(options, Path(args.opt))
    from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (the plugin fills the registries)
    try:
        basicsr_patches.run_pipeline('test', args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt('interrupted: rerun the same command') from None


def _check_tests(options: Mapping[str, Any], file: Path) -> None:
    """Raises OptionError for the options of a training: its data and the start of its weights are no test."""
    datasets = options.get('datasets')
    if not options.get('train') or not isinstance(datasets, Mapping) or 'train' not in datasets:
        return
    test = file.with_name(f'test{file.name.removeprefix("train")}')
    if file.name.startswith('train') and test.is_file():
        raise OptionError(f'{file} describes a training: test its weights with -opt {test}')
    raise OptionError(f'{file} describes a training: a test needs a file without datasets.train, '
                      'and with the weights as path.pretrain_network_g (or _l)')
