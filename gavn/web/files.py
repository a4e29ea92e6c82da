"""Files that browsers may download, at URLs that cannot be guessed."""
from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile, ZipInfo

_SHOWN = {'.mp4': 'video/mp4', '.m4v': 'video/mp4', '.mov': 'video/mp4', '.webm': 'video/webm',
          '.mkv': 'video/x-matroska', '.png': 'image/png', '.jpg': 'image/jpeg'}
_BLOCK = 1 << 18  # bytes


class _Sink(io.RawIOBase):
    """Collects what is written, until it is taken."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self._held.append(bytes(content))
        return len(content)

    def take(self) -> bytes:
        held, self._held = b''.join(self._held), []
        return held


@dataclass(frozen=True)
class ZipDownload:
    """Files that are downloaded as one .zip; it is made while it is sent and takes no space on the disk."""

    paths: tuple[Path, ...]
    name: str = 'gavn_results.zip'

    def exists(self) -> bool:
        """Returns whether all files exist."""
        return all(path.is_file() for path in self.paths)

    def content(self) -> Iterator[bytes]:
        """Yields the .zip; files of the same name are numbered. Videos are not compressed again."""
        sink, taken = _Sink(), set()
        with ZipFile(sink, 'w') as archive:
            for number, path in enumerate(self.paths, 1):
                name = f'{number}_{path.name}' if path.name in taken else path.name
                taken.add(path.name)
                with path.open('rb') as source, archive.open(
                        ZipInfo.from_file(path, name), 'w', force_zip64=True) as entry:
                    while block := source.read(_BLOCK):
                        entry.write(block)
                        yield sink.take()
        yield sink.take()


class Files:
    """Maps files and archives to URLs relative to the page. A URL is valid as long as its files exist."""

    def __init__(self) -> None:
        self._paths: dict[str, Path | ZipDownload] = {}
        self._tokens: dict[Path | ZipDownload, str] = {}
        self._guard = threading.Lock()

    def address(self, path: Path | ZipDownload) -> str:
        """Returns the URL of a file or an archive."""
        with self._guard:
            for gone in [other for other in self._tokens if not other.exists()]:
                del self._paths[self._tokens.pop(gone)]
            token = self._tokens.setdefault(path, token_hex(16))
            self._paths[token] = path
        return f'file/{token}/{quote(path.name)}'

    def find(self, token: str) -> Path | ZipDownload | None:
        """Returns the file or archive of a URL token; None if there is none."""
        path = self._paths.get(token)
        return path if path is not None and path.exists() else None


def media_type(path: Path) -> str | None:
    """Returns the media type of files that a browser may display; None for others, which it saves."""
    return _SHOWN.get(path.suffix)
