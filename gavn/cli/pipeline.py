"""`gavn train` and `gavn test`: the same as `python gavn/train.py` and `python gavn/test.py`."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gavn.runtime.exit_codes import OK, USAGE
from gavn.runtime.project import locate, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no arguments: basicsr parses `sys.argv`."""
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains or tests. Reports an option file that does not exist before PyTorch is imported."""
    if missing := missing_option_file(sys.argv):
        print(f'error: cannot read the option file {missing}: no such file', file=sys.stderr)
        return USAGE
    run_pipeline(args.verb)
    return OK


def run_pipeline(kind: str) -> None:
    """Runs basicsr's pipeline `train` or `test` with everything of gavn registered."""
    from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (the plugin fills the registries)
    basicsr_patches.run_pipeline(kind)


def missing_option_file(argv: Sequence[str]) -> str | None:
    """Returns the value of `-opt` if there is no such file."""
    named = argv[argv.index('-opt') + 1:][:1] if '-opt' in argv else []
    return next((name for name in named if locate(name, project_root()) is None), None)
