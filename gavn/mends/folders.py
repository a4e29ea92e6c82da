"""Folders of a run."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basicsr.utils import misc
from basicsr.utils.dist_util import get_dist_info

_MADE = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
_OF_A_START = {'.log', '.yml', '.yaml'}  # files that are there before anything has been computed


def holds_results(folder: Path) -> bool:
    """Whether a run left more in its folder than its options and the log of its start."""
    return any(file.is_file() and file.suffix not in _OF_A_START for file in folder.rglob('*'))


class Folders:
    """Makes the folders of a run; what a failed start left is used again.

    Stock archives the folders of every failed start, as NAME_archived_<time>.
    """

    def __init__(self) -> None:
        self.failed_start = False

    def make_exp_dirs(self, opt: dict[str, Any]) -> None:
        """Makes the folders of a run.

        Stock takes every further key under `path` for a folder to make, and fails for one that is null.
        """
        if get_dist_info()[0] != 0:
            return
        folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
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
