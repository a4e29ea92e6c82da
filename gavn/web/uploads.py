"""Files on their way in: announced, received, and kept until a page takes them."""
from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from gavn.errors import GavnError
from gavn.web.limits import Limits, RefusalError

UNCLAIMED = 600  # seconds that a file waits for its next bytes, or for the page that sent it
MOST_FILES = 1000  # of all pages together
_LONGEST_NAME = 120  # bytes, so that what is made of a video has room for its own ending


class ShortError(GavnError):
    """Fewer or more bytes came than were announced."""


@dataclass
class _Upload:
    path: Path
    size: int
    active: float = field(default_factory=time.monotonic)  # when it was announced, or bytes last came
    there: bool = False


class Uploads:
    """Takes files in, each under a secret token: who does not have it cannot name the file.

    Args:
        folder: of all files of the server; uploads have a folder each in it.
        limits: what is taken.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._waiting: dict[str, _Upload] = {}
        self._guard = threading.Lock()

    def announce(self, name: str, size: int) -> str:
        """The token of a file of `size` bytes that is to come. Raises RefusalError for one too many."""
        self.limits.check_size(size)
        with self._guard:
            files, used = usage(self.folder)
            coming = [upload.size for upload in self._waiting.values() if not upload.there]
            if len(self._waiting) >= 2 * self.limits.videos or files + len(coming) >= MOST_FILES:
                raise RefusalError('Too many files are on this server. Try again later.')
            if used + sum(coming) + size > self.limits.total_bytes:
                raise RefusalError('The files of all pages together are as large as this server allows. '
                                   'Remove a video, or try again later.')
            token = token_hex(32)
            self._waiting[token] = _Upload(self.folder / 'uploads' / token_hex(32) / safe_name(name), size)
            return token

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Writes what comes; it can be claimed then, once.

        Raises RefusalError for a token that was not given out, or was used, ShortError where the size is not
        the one announced; nothing is kept then.
        """
        with self._guard:
            upload = self._waiting.get(token)
            if upload is None or upload.path.parent.exists():
                raise RefusalError('This file was not announced.')
            upload.path.parent.mkdir(parents=True)
        try:
            await _write(upload, chunks)
        except BaseException:
            self._forget(token)
            raise
        upload.there = True

    def claim(self, token: str) -> Path:
        """The file, which belongs to the caller from now on. Raises RefusalError without one."""
        with self._guard:
            upload = self._waiting.get(token)
            if upload is None or not upload.there:
                raise RefusalError('This file was not uploaded to this page.')
            del self._waiting[token]
            return upload.path

    def expire(self, now: float) -> None:
        """Removes what nobody took in time; `now` by `time.monotonic`."""
        for token, upload in list(self._waiting.items()):
            if now - upload.active > UNCLAIMED:
                self._forget(token)

    def _forget(self, token: str) -> None:
        with self._guard:
            upload = self._waiting.pop(token, None)
        if upload is not None:
            shutil.rmtree(upload.path.parent, ignore_errors=True)


async def _write(upload: _Upload, chunks: AsyncIterator[bytes]) -> None:
    came = 0
    with upload.path.open('xb') as file:
        async for chunk in chunks:
            came += len(chunk)
            if came > upload.size:
                raise ShortError(f'more than the {upload.size} bytes that were announced')
            file.write(chunk)
            upload.active = time.monotonic()
    if came < upload.size:
        raise ShortError(f'{came} of {upload.size} bytes')


def usage(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files in a folder and below, linked ones once."""
    found: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.lstat(os.path.join(place, name))
            except FileNotFoundError:  # it was removed meanwhile
                continue
            found[stat.st_ino] = stat.st_size
    return len(found), sum(found.values())


def safe_name(name: str) -> str:
    """A file name of letters, digits, `_` and `-` with an ending that says no more than it must."""
    path = Path(name)
    stem = re.sub(r'[^\w-]+', '_', path.stem).encode()[:_LONGEST_NAME].decode(errors='ignore')
    return (stem.strip('_-') or 'video') + re.sub(r'[^a-z0-9.]', '', path.suffix.lower())[:6]
