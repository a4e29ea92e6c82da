"""What `gavn train` and `gavn test` share: they run `python gavn/train.py` and `python gavn/test.py`."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from gavn.runtime.exit_codes import USAGE
from gavn.runtime.project import locate, project_root


def add_arguments(module: str, parser: argparse.ArgumentParser) -> None:
    """Adds no arguments: `module` parses `sys.argv`."""
    parser.set_defaults(run=partial(run, module))


def run(module: str, _: argparse.Namespace) -> int | None:
    """Calls `main` of a module. Reports an option file that does not exist before PyTorch is imported."""
    if missing := missing_option_file(sys.argv):
        print(f'error: cannot read the option file {missing}: no such file', file=sys.stderr)
        return USAGE
    return import_module(module).main()


def missing_option_file(argv: Sequence[str]) -> str | None:
    """Returns the value of `-opt` if there is no such file."""
    named = argv[argv.index('-opt') + 1:][:1] if '-opt' in argv else []
    return next((name for name in named if locate(name, project_root()) is None), None)
