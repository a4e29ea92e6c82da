"""Tasks that the local executor runs in this process."""
import pytest
import torch

from gavn.errors import RunError
from gavn.runtime.executors import Executor, Stage

pytest.importorskip('datatrove', reason='needs datatrove')
OTHER = 3  # threads


def set_threads(data, rank, world_size):
    torch.set_num_threads(OTHER)
    assert torch.get_num_threads() == OTHER
    return data


def test_threads_of_tasks_do_not_stay(tmp_path):
    before = torch.get_num_threads()
    assert before != OTHER
    Executor().run('test', [Stage('first', [set_threads], 1)], tmp_path)
    assert torch.get_num_threads() == before


def test_completed_tasks_are_skipped_unless_their_stage_runs_again(tmp_path):
    ranks = []

    def note(data, rank, world_size):
        ranks.append(rank)
        return data

    for again in (False, False, True):
        Executor().run('test', [Stage('first', [note], 2, again)], tmp_path)
    assert ranks == [0, 1, 0, 1]


def test_a_task_that_fails_names_nothing_as_completed(tmp_path):
    def fail(data, rank, world_size):
        raise RunError('the disk is full')

    with pytest.raises(RunError, match='the disk is full'):
        Executor().run('test', [Stage('first', [fail], 1)], tmp_path)
    assert not list((tmp_path / 'first').glob('completions/*'))
