"""The folder of a comparison: its content, and how parts of it are removed."""
from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gavn.experiments.compare import plan
from gavn.experiments.compare.experiments import CONTROLS, Method
from gavn.experiments.compare.generated_options import check_unchanged, write
from gavn.experiments.compare.settings import CompareError, CompareSettings, rescaled

LOCK = 'lock'
PAGE = 'README.md'
_FOLDERS = {'options', 'experiments', 'tested', 'results', 'tables', 'figures', 'logs', 'jobs', 'calibration',
            'executor'}


def open_folder(out: Path) -> None:
    """Makes the folder of a comparison with its lock file.

    Raises:
        CompareError: the folder has other content, or is not writable.
    """
    try:
        there = {path.name for path in out.iterdir()} if out.exists() else set()
        if there and not there & {plan.FILE, LOCK}:
            raise CompareError(f'{out} is no comparison, it holds {min(there)}: give another --out')
        out.mkdir(parents=True, exist_ok=True)
        (out / LOCK).open('a').close()
    except OSError as error:
        raise CompareError(f'{out} cannot be the folder of a comparison ({error.strerror}): give another '
                           '--out') from error


def forget(settings: CompareSettings, tokens: Sequence[str]) -> None:
    """Removes the files of some methods; of all, if none is named."""
    kept = plan.read_plan(settings.out) if tokens else None
    paths = [path for token in tokens for path in _of_method(settings, token)]
    if kept:
        kept.shares = {token: share for token, share in kept.shares.items() if token not in tokens}
        kept.write(settings.out)
    for path in paths if tokens else [settings.out / name for name in (*_FOLDERS, plan.FILE, PAGE)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _of_method(settings: CompareSettings, token: str) -> list[Path]:
    """All files of a method, with its tests with other audio."""
    out, tests = settings.out, [token, *(f'{token}_{control}' for control in CONTROLS)]
    return [out / 'experiments' / settings.name(token), settings.file('train', token),
            *(settings.file('test', token, control) for control in ('', *CONTROLS)),
            *(out / 'tested' / settings.name(test) for test in tests),
            *(out / 'jobs' / f'test_{test}.json' for test in tests), out / 'jobs' / f'train_{token}.json']


def write_options(methods: Sequence[Method], settings: CompareSettings, decided: plan.ComparePlan) -> None:
    """Writes the option files of methods with a share of the budget.

    Raises:
        CompareError: options of a started training have changed, so its progress would not be comparable.
    """
    for method in methods:
        if method.token not in decided.shares:
            continue
        file = settings.file('train', method.token)
        options = rescaled(method.train, decided.shares[method.token].iterations)
        check_unchanged(file, options, method.origin[0])
        write(file, options, method.origin[0])
        for test in method.tests(settings):
            write(test.file, test.options, method.origin[1])
