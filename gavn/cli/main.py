"""The command `gavn`: parses arguments and runs a verb.

Each verb has a module with `add_arguments(parser)` and `run(args)`.

Exit codes: 0 done, 1 failed, 2 usage, 3 no face found, 4 unreadable input, 5 unusable weights, 130
interrupted.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

import gavn
from gavn.errors import ExitCode
from gavn.runtime.arguments import Parser
from gavn.runtime.exit_codes import guarded
from gavn.runtime.notices import show_notices
from gavn.runtime.optional_packages import missing_package

VERBS = {
    'restore': 'restore the faces in videos',
    'bundle': 'pack trained weights and their options into one file for restore',
    'evaluate': 'measure the quality of restored videos',
    'models': 'list, fetch and verify weights',
    'train': 'train a network',
    'test': 'test a network',
    'prepare': 'make a data set from raw videos',
    'compare': 'train and test several methods at an equal budget, and write tables',
    'config': 'print the options of a training or test, and where each comes from',
    'doctor': 'check the installation',
    'export': 'export a network to ONNX or TorchScript',
    'bench': 'measure the speed of networks on this machine',
    'web': 'serve a local web page that restores videos',
    'demo': 'run everything on synthetic talking faces',
}
"""Verb -> help."""
EXTRAS = dict.fromkeys(('basicsr', 'lmdb', 'PIL', 'tensorboard'), 'train') | {'datatrove': 'prepare'}
"""Module that restoring does not need -> the extra that installs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: `sys.argv`) and returns the exit code."""
    parser = _parser()
    args = parser.parse_args(_help_as_argument(sys.argv[1:] if argv is None else argv))
    if args.verb is None:
        parser.exit(ExitCode.USAGE, parser.format_help())
    show_notices()
    return guarded(partial(_run, args))


def _run(args: argparse.Namespace) -> int | None:
    """Runs the verb. Raises MissingPackageError if a package of `EXTRAS` is missing."""
    try:
        return args.run(args)
    except ModuleNotFoundError as error:
        name = error.name or ''
        if (extra := EXTRAS.get(name.partition('.')[0])) is None:
            raise
        raise missing_package(name, extra, f'gavn {args.verb}') from error


def _help_as_argument(words: Sequence[str]) -> list[str]:
    """Returns `restore --help` for `help restore`."""
    return [*words[1:], '--help'] if words and words[0] == 'help' else list(words)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog='gavn', description='Restores talking faces in video, assisted by audio.')
    parser.add_argument('--version', action='version', version=f'gavn {gavn.__version__}')
    verbs = parser.add_subparsers(dest='verb', metavar='VERB')
    for verb, text in VERBS.items():
        import_module(f'gavn.cli.{verb}').add_arguments(verbs.add_parser(verb, help=text))
    return parser


if __name__ == '__main__':
    sys.exit(main())
