"""Reading ahead and writing behind: in order, bounded, at the same time as the rest, and errors come out."""
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing

import pytest

from gavn.runtime.prefetch import BackgroundWriter, PrefetchIterator

SOON = 10  # seconds; what has not happened by then never will


class Restarting:
    """An iterator that begins again when told, as a loader with persistent workers has it."""

    def __init__(self) -> None:
        self.left = [1, 2]

    def __iter__(self) -> 'Restarting':
        return self

    def __next__(self) -> int:
        time.sleep(0.01)
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def test_reading_ahead_takes_nothing_from_the_next_epoch() -> None:
    items = Restarting()
    assert list(PrefetchIterator(items, size=3)) == [1, 2]
    items.left = [3, 4]
    time.sleep(0.1)
    assert list(PrefetchIterator(items, size=3)) == [3, 4]


def test_an_error_while_reading_ahead_is_raised_where_its_item_is_asked_for() -> None:
    ahead = PrefetchIterator(map(int, ['1', 'x', '3']), size=2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match='invalid literal'):
        next(ahead)


def test_items_are_read_while_one_is_worked_on_and_no_more_than_asked_for() -> None:
    taken: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            if item == 2:
                third.set()
            yield item

    with closing(PrefetchIterator(items(), size=2)) as ahead:
        assert next(ahead) == 0
        assert third.wait(SOON)  # nobody has asked for it yet
        time.sleep(0.05)
        assert taken == [0, 1, 2]
        assert list(ahead) == list(range(1, 10))


def test_closing_early_closes_what_is_read() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.set()

    with closing(PrefetchIterator(items(), size=2)) as ahead:
        next(ahead)
    assert closed.is_set() and next(ahead, None) is None


def test_calls_are_done_in_order_beside_the_one_who_asks() -> None:
    done: list[tuple[int, bool]] = []
    go, me = threading.Event(), threading.current_thread()

    def call(number: int) -> None:
        assert go.wait(SOON)
        done.append((number, threading.current_thread() is me))

    with closing(BackgroundWriter(2)) as thread, thread as behind:
        behind.do(call, 0)
        behind.do(call, 1)
        assert not done  # both wait for what comes now
        go.set()
        behind.do(call, 2)
        assert done[0] == (0, False)  # two behind at most
    assert done == [(0, False), (1, False), (2, False)]


def test_an_error_of_a_call_is_raised_later_and_ends_the_calls() -> None:
    done: list[str] = []
    with closing(BackgroundWriter(3)) as thread:
        with pytest.raises(ValueError, match='invalid literal'), thread as behind:
            for text in ('1', 'x', '3'):
                behind.do(lambda text: done.append(int(text)), text)
        assert done == [1]
        with thread as behind:
            behind.do(done.append, 4)
        assert done == [1, 4]


def soon(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_calls_that_wait_are_dropped_when_the_block_fails() -> None:
    done: list[int] = []
    began = threading.Event()

    def first() -> None:
        began.set()
        soon(lambda: len(thread._pending) > 1 and thread._pending[1].cancelled())
        done.append(0)

    with closing(BackgroundWriter(3)) as thread, pytest.raises(KeyboardInterrupt), thread as behind:
        behind.do(first)
        behind.do(done.append, 1)
        assert began.wait(SOON)
        raise KeyboardInterrupt
    assert done == [0]


def test_an_interruption_while_a_call_is_waited_for_waits_for_it_all_the_same(monkeypatch) -> None:
    """Else what the calls write to is closed while one still writes."""
    done: list[int] = []
    began, go = threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        assert go.wait(SOON)
        done.append(0)

    def interrupted(self: Future) -> None:
        assert began.wait(SOON)
        go.set()
        raise KeyboardInterrupt

    with closing(BackgroundWriter(1)) as thread:
        monkeypatch.setattr(Future, 'result', interrupted)
        with pytest.raises(KeyboardInterrupt), thread as behind:
            behind.do(call)
            behind.do(call)
        assert done == [0]
