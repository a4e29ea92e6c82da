"""`gavn config`: the options that a training or test would use, and where each comes from."""
from __future__ import annotations

import argparse

from gavn.config.overlays import add_arguments as add_changes
from gavn.config.overlays import resolve_arguments
from gavn.config.printing import annotated
from gavn.runtime.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument('opt', metavar='FILE.yml', help='an option file of a training or a test')
    add_changes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the options, then checks them. Raises OptionError for what is wrong with them."""
    options, source = resolve_arguments(args, project_root())
    print(annotated(options, source), end='')
    from gavn import basicsr_plugin  # noqa: F401  (fills the registries)
    from gavn.basicsr_patches.utils_options import import_parts, registries
    from gavn.config.check import check_options
    import_parts(options, source)
    check_options(options, source, registries(), is_train=options.get('train') is not None)
