"""`gavn test`: the same as `python gavn/test.py`."""
from __future__ import annotations

import argparse

from gavn.cli.train import is_file_missing
from gavn.runtime.exit_codes import USAGE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments: `gavn.test` parses `sys.argv`."""
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int | None:
    """Tests as `sys.argv` says."""
    if is_file_missing():
        return USAGE
    from gavn.test import main
    return main()
