"""Tasks of the local executor, in this process and in processes that may be killed."""
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gavn.errors import RunError
from gavn.runtime.executors import Executor, TaskStage

pytest.importorskip('datatrove', reason='needs datatrove')
OTHER = 3  # threads


def set_threads(data, rank, world_size):
    torch.set_num_threads(OTHER)
    assert torch.get_num_threads() == OTHER
    return data


def test_threads_of_tasks_do_not_stay(tmp_path):
    before = torch.get_num_threads()
    assert before != OTHER
    Executor().run('test', [TaskStage('first', [set_threads], 1)], tmp_path)
    assert torch.get_num_threads() == before


def test_completed_tasks_are_skipped_unless_their_stage_runs_again(tmp_path):
    ranks = []

    def note(data, rank, world_size):
        ranks.append(rank)
        return data

    for again in (False, False, True):
        Executor().run('test', [TaskStage('first', [note], 2, again)], tmp_path)
    assert ranks == [0, 1, 0, 1]


def test_a_task_that_fails_names_nothing_as_completed(tmp_path):
    def fail(data, rank, world_size):
        raise RunError('the disk is full')

    with pytest.raises(RunError, match='the disk is full'):
        Executor().run('test', [TaskStage('first', [fail], 1)], tmp_path)
    assert not list((tmp_path / 'first').glob('completions/*'))


class Task:
    """Does its work once `permit` exists; until then, the process of one rank meets its end."""

    def __init__(self, folder: Path, rank: int, end) -> None:
        self.folder, self.rank, self.end = folder, rank, end

    def __call__(self, data, rank, world_size):
        if rank == self.rank and not (self.folder / 'permit').exists():
            self.end()
        (self.folder / f'done{rank}').touch()
        return data


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise RunError('the disk is full')


def done(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('done*'))


def test_a_killed_process_costs_its_task_only(tmp_path, capfd):
    stages = [TaskStage('first', [Task(tmp_path, 1, kill)], 4),
              TaskStage('second', [Task(tmp_path, 9, kill)], 1)]
    with pytest.raises(RunError, match=r'1 of 4 tasks did not complete.*\nrerun the same command to resume'):
        Executor(workers=2).run('test', stages, tmp_path / 'logs')
    assert done(tmp_path) == ['done0', 'done2', 'done3']
    assert 'task 1 is lost: its process was killed by SIGKILL' in capfd.readouterr().err
    (tmp_path / 'permit').touch()
    for path in tmp_path.glob('done*'):
        path.unlink()
    Executor(workers=2).run('test', stages, tmp_path / 'logs')
    assert done(tmp_path) == ['done0', 'done1']  # rank 0 of the second stage


def test_a_failed_task_in_another_process_raises_its_own_error(tmp_path):
    with pytest.raises(RunError, match=r'^the disk is full$'):
        Executor(workers=2).run('test', [TaskStage('first', [Task(tmp_path, 0, fail)], 3)], tmp_path / 'logs')
    assert not (tmp_path / 'logs/first/completions/00000').exists()


@pytest.mark.parametrize(('cpus', 'gpus', 'warns'), [(8, 0, False), (16, 0, True), (1, 1, True)])
def test_a_ray_cluster_without_a_large_enough_node_is_a_warning(cpus, gpus, warns, monkeypatch, capsys):
    nodes = [{'Alive': True, 'Resources': {'CPU': 8.}},
             {'Alive': False, 'Resources': {'CPU': 64., 'GPU': 8.}}]
    monkeypatch.setitem(sys.modules, 'ray', SimpleNamespace(init=lambda *_, **__: None, nodes=lambda: nodes))
    Executor('ray', cpus=cpus, gpus=gpus).run('test', [], 'logs')
    assert ('no node of the Ray cluster' in capsys.readouterr().err) == warns
