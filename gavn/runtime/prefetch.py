"""Reading ahead and writing behind in a thread."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

_Item = TypeVar('_Item')
_END: Any = object()


class PrefetchIterator(Iterator[_Item], Generic[_Item]):
    """Reads up to `size` items of an iterator ahead, in a thread.

    An exception is raised when its item is requested. Close the iterator if it is not exhausted.
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
        """Stops reading; waits for the current item."""
        self._ahead.clear()
        self._thread.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Stops reading and closes the underlying iterator if possible."""
        self._stop()
        if hasattr(self._items, 'close'):
            self._items.close()


class BackgroundWriter:
    """Runs calls in a thread, in order, with up to `size` pending calls.

    It is a reusable context manager: the block ends when its calls are done. After an exception in the block,
    pending calls are dropped. An exception in a call is raised by a later `do` or at the end of the block,
    and later calls are skipped. Call `close` at the end.
    """

    def __init__(self, size: int) -> None:
        self._size, self._thread = size, ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def __enter__(self) -> BackgroundWriter:
        self._failed = False
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._pending and kind is None:
                self._finish_first()
        finally:
            wait([call for call in self._pending if not call.cancel()])
            self._pending.clear()

    def close(self) -> None:
        """Stops the thread."""
        self._thread.shutdown(cancel_futures=True)

    def do(self, call: Callable[..., object], *arguments: object) -> None:
        """Queues `call(*arguments)`."""
        if len(self._pending) == self._size:
            self._finish_first()
        self._pending.append(self._thread.submit(self._do, call, arguments))

    def _finish_first(self) -> None:
        self._pending[0].result()  # keep it in the queue until then, in case of an interruption
        self._pending.popleft()

    def _do(self, call: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except BaseException:
            self._failed = True
            raise
