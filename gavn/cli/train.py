"""`gavn train`: the same as `python gavn/train.py`."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gavn.runtime.exit_codes import USAGE
from gavn.runtime.project import locate, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments: `gavn.train` parses `sys.argv`."""
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int | None:
    """Trains as `sys.argv` says."""
    if is_file_missing():
        return USAGE
    from gavn.train import main
    return main()


def is_file_missing() -> bool:
    """Reports an option file that does not exist, before PyTorch is imported."""
    missing = missing_option_file(sys.argv)
    if missing:
        print(f'error: cannot read the option file {missing}: no such file', file=sys.stderr)
    return bool(missing)


def missing_option_file(argv: Sequence[str]) -> str | None:
    """Returns the value of `-opt` if there is no such file."""
    named = argv[argv.index('-opt') + 1:][:1] if '-opt' in argv else []
    return next((name for name in named if locate(name, project_root()) is None), None)
