"""Replacements of basicsr.utils.misc.make_exp_dirs and mkdir_and_rename."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basicsr.utils import misc
from basicsr.utils.dist_util import get_dist_info

from gavn.errors import RunError

_FOLDER_KEYS = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
_SUBFOLDERS = {'models', 'training_states', 'visualization', 'metrics'}
_START_SUFFIXES = {'.log', '.yml', '.yaml'}  # files that exist before anything was computed


def has_results(folder: Path) -> bool:
    """Whether a run left more in its folder than its options and the log of its start."""
    return any(file.is_file() and file.suffix not in _START_SUFFIXES for file in folder.rglob('*'))


def is_run_folder(folder: Path) -> bool:
    """Whether a folder looks like the folder of a run, or is empty. Other folders must not be renamed."""
    content = list(folder.iterdir())
    return not content or any(item.name in _SUBFOLDERS or item.suffix in _START_SUFFIXES for item in content)


class RunFolders:
    """Makes the folders of a run and reuses those of a failed start.

    Defect: basicsr archives the folders of every failed start as NAME_archived_<time>.
    """

    def __init__(self) -> None:
        self.reuse = False

    def make_exp_dirs(self, opt: dict[str, Any]) -> None:
        """Makes the folders of a run.

        Defect: basicsr makes a folder for every other key under `path` and fails if one is null.

        Raises:
            RunError: something other than a run has the name.
        """
        if get_dist_info()[0] != 0:
            return
        folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
        if folder.exists() and not (folder.is_dir() and is_run_folder(folder)):
            raise RunError(f'{folder} exists and is not the folder of a run, so it is not touched\n'
                           'give another name, or another root in the section path')
        self.reuse = folder.exists() and not has_results(folder)
        self.mkdir_and_rename(str(folder))
        for key in _FOLDER_KEYS:
            if opt['path'].get(key):
                os.makedirs(opt['path'][key], exist_ok=True)

    def mkdir_and_rename(self, path: str) -> None:
        """Makes a folder. An existing folder with results is archived first."""
        if not self.reuse:
            misc.mkdir_and_rename(path)
        os.makedirs(path, exist_ok=True)
