"""Freed memory goes back to the system."""
import sys

import pytest

from gavn.runtime import memory


def test_it_is_asked_for_where_the_allocator_can(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, '_trim', lambda: asked.append)
    memory.trim_memory()
    assert asked == [0]


@pytest.mark.skipif(sys.platform != 'linux', reason='needs an allocator that keeps memory')
def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'darwin')
    memory._trim.cache_clear()
    assert memory.trim_memory() is None and memory._trim()(0) is None
    memory._trim.cache_clear()
    monkeypatch.undo()
    assert memory._trim()(0) in (0, 1, None)  # what malloc_trim returns, where there is one


def test_a_step_gives_back_when_it_is_done(monkeypatch):
    told = []
    monkeypatch.setattr(memory, 'trim_memory', lambda: told.append('given back'))

    @memory.release_freed_memory
    def step(done: str, twice: bool = False) -> str:
        told.append(done)
        return done * (1 + twice)

    assert step('work', twice=True) == 'workwork' and told == ['work', 'given back']
