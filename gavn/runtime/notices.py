"""Prints logged warnings as notices with the name of the file they are about."""
from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath

from tqdm import tqdm


class NoticeFormatter(logging.Formatter):
    """Formats `notice: FILE: message`; omits the file of `about` if the message names it.

    Further lines are indented, as those of errors are.
    """

    def __init__(self) -> None:
        super().__init__('notice: %(message)s')
        self._file: str | None = None
        self._shown: set[str] = set()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the name is logging's)
        """Formats a record."""
        if self._file is not None and self._file not in record.message:
            record.message = f'{self._file}: {record.message}'
        return super().formatMessage(record).replace('\n', '\n  ')

    @contextmanager
    def about(self, path: str | PathLike[str]) -> Iterator[None]:
        """Sets the file for messages that are logged inside the block, by any thread."""
        before, self._file = self._file, fspath(path)
        self._shown.clear()
        try:
            yield
        finally:
            self._file = before

    def repeats(self, text: str) -> bool:
        """Returns whether a notice was shown in the block of `about`: each pass over a file has the same."""
        known = self._file is not None and text in self._shown
        if self._file is not None:
            self._shown.add(text)
        return known


NOTICES = NoticeFormatter()


class _StderrHandler(logging.Handler):
    """Writes above any progress bar, to what `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if not NOTICES.repeats(text):
                tqdm.write(text, file=sys.stderr)
        except Exception:  # as logging.StreamHandler: a notice never ends a run
            self.handleError(record)


def show_notices() -> None:
    """Prints warnings to stderr as notices, unless logging is configured; allows any file names."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    handler = _StderrHandler()
    handler.setFormatter(NOTICES)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
