"""Notices on the terminal: what was logged as a warning, with the name of the file that it is about."""
from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath


class NoticeFormatter(logging.Formatter):
    """`notice: FILE: words`; the file is that of `about`, left out where the words name it themselves."""

    def __init__(self) -> None:
        super().__init__('notice: %(message)s')
        self._file: str | None = None

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the name is logging's)
        """As logging."""
        if self._file is not None and self._file not in record.message:
            record.message = f'{self._file}: {record.message}'
        return super().formatMessage(record)

    @contextmanager
    def about(self, path: str | PathLike[str]) -> Iterator[None]:
        """What is logged inside, by whichever thread, is about this file."""
        before, self._file = self._file, fspath(path)
        try:
            yield
        finally:
            self._file = before


NOTICES = NoticeFormatter()


class _StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is at that moment, which may have been replaced since the set-up."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # as logging.StreamHandler: a notice never ends a run
            self.handleError(record)


def show_notices() -> None:
    """Warnings go to stderr as notices, unless logging was set up; names of any bytes can be printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    handler = _StderrHandler()
    handler.setFormatter(NOTICES)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
