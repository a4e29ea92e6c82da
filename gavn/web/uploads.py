"""Uploads: announced, received, and kept until a session claims them."""
from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from gavn.errors import GavnError
from gavn.web.limits import Limits, RefusalError

UNCLAIMED = 600  # seconds without a claim until a complete upload is removed
IDLE = 30.  # seconds without new bytes until an upload is removed
SLOWEST = 32_000  # bytes per second, on average after the first IDLE seconds
OPEN_UPLOADS = 3  # incomplete uploads of one client; a page sends one file at a time
MAX_FILES = 1000  # of all sessions
_MAX_NAME = 120  # bytes; leaves room for the suffixes of output files


class ShortError(GavnError):
    """An upload has another size than announced, or takes too long."""


@dataclass
class _Upload:
    path: Path
    size: int
    client: str
    active: float = field(default_factory=time.monotonic)  # time of the announcement or of the last bytes
    complete: bool = False


class Uploads:
    """Receives files. A secret token identifies each upload.

    Args:
        folder: the folder of the server; each upload has its own folder in it.
        limits: limits on the files.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._pending: dict[str, _Upload] = {}
        self._guard = threading.RLock()

    def announce(self, name: str, size: int, client: str = '') -> str:
        """Announces a file of `size` bytes from the address `client`; returns its token.

        Raises:
            RefusalError: a limit of the server or of the client is reached.
        """
        self.limits.check_size(size)
        with self._guard:
            self.expire(time.monotonic())
            pending = list(self._pending.values())
            incomplete = [upload for upload in pending if not upload.complete]
            files, used = usage(self.folder)
            if files + len(incomplete) >= MAX_FILES or _count(pending, client) >= 2 * self.limits.videos:
                raise RefusalError('The server has too many files. Try again later.')
            if _count(incomplete, client) >= OPEN_UPLOADS:
                raise RefusalError(f'{OPEN_UPLOADS} uploads from this computer are unfinished. '
                                   'Wait for them, or try again in a minute.')
            if used + sum(upload.size for upload in incomplete) + size > self.limits.total_bytes:
                raise RefusalError('The storage limit of the server is reached. '
                                   'Remove a video, or try again later.')
            token = token_hex(32)
            path = self.folder / 'uploads' / token_hex(32) / safe_name(name)
            self._pending[token] = _Upload(path, size, client)
            return token

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Stores the content of an announced file, which can then be claimed once.

        Raises:
            RefusalError: the token is unknown or used.
            ShortError: the size differs from the announced size, or no bytes come for IDLE seconds, or fewer
                than SLOWEST per second; the file is removed.
        """
        with self._guard:
            upload = self._pending.get(token)
            if upload is None or upload.path.parent.exists():
                raise RefusalError('This file was not announced.')
            upload.path.parent.mkdir(parents=True)
        try:
            await _write(upload, chunks)
        except BaseException:
            self._remove(token)
            raise
        upload.complete = True

    def claim(self, token: str) -> Path:
        """Returns an uploaded file; the caller owns it. Raises RefusalError if there is none."""
        with self._guard:
            upload = self._pending.get(token)
            if upload is None or not upload.complete:
                raise RefusalError('This file was not uploaded to this page.')
            del self._pending[token]
            return upload.path

    def expire(self, now: float) -> None:
        """Removes uploads that are not begun, not continued or not claimed; `now` is `time.monotonic()`."""
        with self._guard:
            for token, upload in list(self._pending.items()):
                if now - upload.active > (UNCLAIMED if upload.complete else 2 * IDLE):
                    self._remove(token)

    def _remove(self, token: str) -> None:
        with self._guard:
            upload = self._pending.pop(token, None)
            if upload is not None:
                shutil.rmtree(upload.path.parent, ignore_errors=True)


def _count(uploads: Iterable[_Upload], client: str) -> int:
    return sum(upload.client == client for upload in uploads)


async def _timely(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields the chunks. Raises ShortError if they come too slowly, so that none blocks the server."""
    begun, received = time.monotonic(), 0
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), IDLE)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise ShortError(f'no data for {IDLE:g} s') from None
        received += len(chunk)
        if received < SLOWEST * (time.monotonic() - begun - IDLE):
            raise ShortError(f'less than {SLOWEST / 1000:g} kB/s')
        yield chunk


async def _write(upload: _Upload, chunks: AsyncIterator[bytes]) -> None:
    received = 0
    with upload.path.open('xb') as file:
        async for chunk in _timely(chunks):
            received += len(chunk)
            if received > upload.size:
                raise ShortError(f'more than the announced {upload.size} bytes')
            file.write(chunk)
            upload.active = time.monotonic()
    if received < upload.size:
        raise ShortError(f'{received} of {upload.size} bytes')


def usage(folder: Path) -> tuple[int, int]:
    """Returns the number and total bytes of files in a folder tree; hard links count once."""
    found: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.lstat(os.path.join(place, name))
            except FileNotFoundError:  # removed in the meantime
                continue
            found[stat.st_ino] = stat.st_size
    return len(found), sum(found.values())


def safe_name(name: str) -> str:
    """Returns a file name of letters, digits, `_` and `-` with a short extension."""
    path = Path(name)
    stem = re.sub(r'[^\w-]+', '_', path.stem).encode()[:_MAX_NAME].decode(errors='ignore')
    return (stem.strip('_-') or 'video') + re.sub(r'[^a-z0-9.]', '', path.suffix.lower())[:6]
