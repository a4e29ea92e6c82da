"""`gavn prepare`: the same as `python scripts/prepare/prepare.py`."""
from __future__ import annotations

import argparse
import sys

from gavn.runtime.exit_codes import USAGE
from gavn.runtime.project import install_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments: `gavn.cli.prepare_clips` parses `sys.argv`; importing it takes seconds."""
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Makes a data set as `sys.argv` says; returns 2 if the extra is not installed."""
    try:
        from gavn.cli.prepare_clips import main
    except ModuleNotFoundError as error:
        print(f'error: preparing data requires {error.name}: {install_command("prepare")}', file=sys.stderr)
        return USAGE
    return main()
