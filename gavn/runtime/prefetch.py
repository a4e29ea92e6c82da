"""Work done in a thread while the one who asked for it goes on: reading ahead, writing behind."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

_Item = TypeVar('_Item')
_END: Any = object()


class PrefetchIterator(Iterator[_Item], Generic[_Item]):
    """The items of another iterator, taken in a thread up to `size` of them before they are asked for.

    What it raises is raised where its item is asked for. To be closed if it is left before its end.
    """

    def __init__(self, items: Iterable[_Item], size: int) -> None:
        self._items, self._thread = iter(items), ThreadPoolExecutor(1)
        self._ahead = deque(self._take() for _ in range(size))

    def _take(self) -> Future[_Item]:
        return self._thread.submit(next, self._items, _END)

    def __next__(self) -> _Item:
        item = self._ahead.popleft().result() if self._ahead else _END
        if item is _END:
            self._stop()
            raise StopIteration
        self._ahead.append(self._take())
        return item

    def _stop(self) -> None:
        """Takes no more; waits for what is being taken."""
        self._ahead.clear()
        self._thread.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Takes no more, and closes the other iterator where it can be closed."""
        self._stop()
        if hasattr(self._items, 'close'):
            self._items.close()


class BackgroundWriter:
    """Calls done in a thread, one after the other, up to `size` of them behind.

    It is a context as often as one likes. The block ends when all that was asked for in it is done; if it is
    left by an error, what waits is dropped. What a call raises is raised by a later `do` or at the end of the
    block, and no call after it is done. To be closed in the end.
    """

    def __init__(self, size: int) -> None:
        self._size, self._thread = size, ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def __enter__(self) -> BackgroundWriter:
        self._failed = False
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._finish_first()
        finally:
            wait([call for call in self._waiting if not call.cancel()])
            self._waiting.clear()

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(cancel_futures=True)

    def do(self, call: Callable[..., object], *arguments: object) -> None:
        """Has `call(*arguments)` done after all that was asked for before."""
        if len(self._waiting) == self._size:
            self._finish_first()
        self._waiting.append(self._thread.submit(self._do, call, arguments))

    def _finish_first(self) -> None:
        self._waiting[0].result()  # an interruption in here must find it still among those to be waited for
        self._waiting.popleft()

    def _do(self, call: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except BaseException:
            self._failed = True
            raise
