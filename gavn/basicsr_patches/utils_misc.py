"""Folders of a run."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basicsr.utils import misc
from basicsr.utils.dist_util import get_dist_info

from gavn.errors import RunError

_MADE = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
_PARTS = {'models', 'training_states', 'visualization', 'metrics'}
_OF_A_START = {'.log', '.yml', '.yaml'}  # files that are there before anything has been computed


def holds_results(folder: Path) -> bool:
    """Whether a run left more in its folder than its options and the log of its start."""
    return any(file.is_file() and file.suffix not in _OF_A_START for file in folder.rglob('*'))


def made_by_run(folder: Path) -> bool:
    """Whether a folder looks like that of a run, or is empty: another must never be renamed."""
    content = list(folder.iterdir())
    return not content or any(item.name in _PARTS or item.suffix in _OF_A_START for item in content)


class Folders:
    """Makes the folders of a run; what a failed start left is used again.

    Stock archives the folders of every failed start, as NAME_archived_<time>.
    """

    def __init__(self) -> None:
        self.failed_start = False

    def make_exp_dirs(self, opt: dict[str, Any]) -> None:
        """Makes the folders of a run.

        Stock takes every further key under `path` for a folder to make, and fails for one that is null.
        Raises RunError where something else than a run has the name.
        """
        if get_dist_info()[0] != 0:
            return
        folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
        if folder.exists() and not (folder.is_dir() and made_by_run(folder)):
            raise RunError(f'{folder} exists, but no run made it: it is left as it is\n'
                           'give another name, or another root in the section path')
        self.failed_start = folder.exists() and not holds_results(folder)
        self.mkdir_and_rename(str(folder))
        for key in _MADE:
            if opt['path'].get(key):
                os.makedirs(opt['path'][key], exist_ok=True)

    def mkdir_and_rename(self, path: str) -> None:
        """Archives a folder of that name, if it may be worth keeping, and makes a new one."""
        if not self.failed_start:
            misc.mkdir_and_rename(path)
        os.makedirs(path, exist_ok=True)
