"""Files that browsers may download, at URLs that cannot be guessed."""
from __future__ import annotations

import threading
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

_SHOWN = {'.mp4': 'video/mp4', '.m4v': 'video/mp4', '.mov': 'video/mp4', '.webm': 'video/webm',
          '.mkv': 'video/x-matroska', '.png': 'image/png', '.jpg': 'image/jpeg'}


class Files:
    """Maps files to URLs relative to the page. A URL is valid as long as its file exists."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._tokens: dict[Path, str] = {}
        self._guard = threading.Lock()

    def address(self, path: Path) -> str:
        """Returns the URL of a file."""
        with self._guard:
            for gone in [other for other in self._tokens if not other.exists()]:
                del self._paths[self._tokens.pop(gone)]
            token = self._tokens.setdefault(path, token_hex(16))
            self._paths[token] = path
        return f'file/{token}/{quote(path.name)}'

    def find(self, token: str) -> Path | None:
        """Returns the file of a URL token; None if there is none."""
        path = self._paths.get(token)
        return path if path is not None and path.is_file() else None


def media_type(path: Path) -> str | None:
    """Returns the media type of files that a browser may display; None for others, which it saves."""
    return _SHOWN.get(path.suffix)
