"""`gavn train`: BasicSR's training pipeline with gavn's components and patches."""
from __future__ import annotations

import argparse

from gavn.config.overlays import add_run_arguments, resolve_arguments
from gavn.runtime.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_run_arguments(parser, trains=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Trains. Reports an option file that cannot be read before PyTorch is imported."""
    resolve_arguments(args, project_root())
    from gavn import basicsr_patches, basicsr_plugin  # noqa: F401  (the plugin fills the registries)
    try:
        basicsr_patches.run_pipeline('train', args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt('interrupted: --auto_resume resumes a training') from None
