"""Files of a training run: weights and states, their search, check and removal.

Replaces basicsr.train.load_resume_state.
"""
from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gavn.checkpoints.safe_files import read_pickle
from gavn.config.check import section_problems
from gavn.config.sections import network_sections
from gavn.errors import CheckpointError, RunError
from gavn.runtime.files import atomic_path
from gavn.runtime.input_checks import weight_file

_STATE_NAME = re.compile(r'(\d+)\.state')


class ResumeError(RunError):
    """A run cannot resume from the given state. The message says what is missing."""


@dataclass
class _State:
    """Entries of a training state. A state of unpatched basicsr lacks those with a default."""

    epoch: int
    iter: int
    optimizers: list[dict]
    schedulers: list[dict]
    networks: list[str] | None = None
    notes: dict | None = None
    manual_seed: int | None = None


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Writes a file of torch completely or not at all.

    Raises:
        OSError: the disk is full. (torch itself reports an unexpected position in the file.)
    """
    with atomic_path(path) as part, part.open('wb') as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def prune_checkpoints(paths: dict[str, str], keep: int | None) -> None:
    """Removes checkpoints older than the newest `keep` complete ones.

    A damaged checkpoint does not count. Weights are removed before their state, so that the next call finds
    what a killed process left.

    Args:
        paths: section `path` of the options, with `models` and `training_states`.
        keep: number of checkpoints; None removes nothing.
    """
    if keep is None:
        return
    models, complete = Path(paths['models']), 0
    for iteration, state in sorted(_numbered_states(Path(paths['training_states'])), reverse=True):
        files = [*models.glob(f'*_{iteration}.pth'), state]
        if complete >= keep:
            for path in files:
                path.unlink()
        elif len(files) > 1 and all(zipfile.is_zipfile(path) for path in files):
            complete += 1


def remove_partial_files(*folders: str) -> None:
    """Removes the unfinished files that a killed process left."""
    for folder in folders:
        for part in Path(folder).glob('.*.part.*'):
            part.unlink(missing_ok=True)


def _numbered_states(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob('*.state'):
        if match := _STATE_NAME.fullmatch(path.name):
            yield int(match[1]), path


def find_latest_state(folder: Path, networks: list[str]) -> Path | None:
    """The newest state of a folder from which a run can resume; None if there is none.

    Defect: basicsr looks in ./experiments whatever the root of the run is, and accepts a truncated file.
    """
    for _, path in sorted(_numbered_states(folder), reverse=True):
        reason = incomplete_reason(path, networks)
        if not reason:
            return path
        print(f'WARNING: {path} is skipped: {reason}', flush=True)  # the run's log does not exist yet
    return None


def incomplete_reason(state: Path, networks: list[str]) -> str:
    """Why a run cannot resume from a state; empty if it can."""
    if not zipfile.is_zipfile(state):  # torch's files are zip archives with the directory at the end
        return f'{state} is missing, truncated or no file of torch.save'
    try:
        names = weight_files(load_state(state), networks)
    except ResumeError as error:
        return str(error)
    for name in names:
        if not zipfile.is_zipfile(weights_folder(state) / name):
            return f'its weights {weights_folder(state) / name} are missing or truncated'
    return ''


def weights_folder(state: str | os.PathLike[str]) -> Path:
    """The folder of the weights that belong to a state."""
    return Path(state).absolute().parents[1] / 'models'


def weight_files(state: dict[str, Any], networks: list[str]) -> list[str]:
    """File names of the weights of a state. States of unpatched basicsr do not list them."""
    default = [f'net_{name.removeprefix("network_")}_{state["iter"]}.pth' for name in networks]
    return state.get('networks') or default


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Loads a training state on the CPU, without running code that the file might hold.

    Raises:
        ResumeError: the file is damaged, holds pickled objects or is not a training state.
    """
    try:
        state = dict(read_pickle(weight_file(path)))
    except CheckpointError as error:
        raise ResumeError(str(error)) from error
    problems = section_problems(state, _State, 'the state')
    problems += [f'{key} is {state[key]}' for key in ('epoch', 'iter') if not problems and state[key] < 0]
    if problems:
        raise ResumeError(f'{path} is not a training state: {"; ".join(problems[:4])}\n'
                          'give a file of training_states that training wrote')
    return state


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The state to resume from: the newest complete one with --auto_resume, else `path.resume_state`.

    Defects: basicsr needs a GPU here. It searches in every process, and processes on other nodes may find
    another state, because a network file system shows new files late.

    Raises:
        ResumeError: the named state is incomplete.
    """
    networks = list(network_sections(opt))
    found = _find_in_first_process(opt, networks) if opt['auto_resume'] else None
    path = str(found) if found else opt['path'].get('resume_state')
    if path is None:
        return None
    if reason := incomplete_reason(Path(path), networks):
        raise ResumeError(f'cannot resume from {path}: {reason}')
    opt['path']['resume_state'] = path
    state = load_state(path)
    set_pretrain_paths(opt, state, networks)
    return state


def _find_in_first_process(opt: dict[str, Any], networks: list[str]) -> Path | None:
    """The newest complete state, as the first process finds it."""
    found = [find_latest_state(Path(opt['path']['training_states']), networks) if opt['rank'] == 0 else None]
    if opt['dist']:
        torch.distributed.broadcast_object_list(found)
    return found[0]


def set_pretrain_paths(opt: dict[str, Any], state: dict[str, Any], networks: list[str]) -> None:
    """Sets `path.pretrain_network_*` to the weights beside a state. Other networks keep their path.

    Defect: basicsr looks in the folder of the current run, although the state may belong to another run.
    """
    paths = opt['path']
    for network in networks:
        name = f'net_{network.removeprefix("network_")}_{state["iter"]}.pth'
        weights = weights_folder(paths['resume_state']) / name
        if weights.is_file() and network not in (paths.get('ignore_resume_networks') or ()):
            paths[f'pretrain_{network}'] = str(weights)
    for key in [key for key in paths if key.startswith('param_key') and paths[key] == 'params_ema']:
        paths[key] = 'params'  # the trained weights; models load the averaged ones themselves
