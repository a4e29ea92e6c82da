"""File types by name, natural order, and file names of limited length."""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

IMAGE_ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
LONGEST_NAME = 255  # bytes; the limit of most file systems
_PREVIEW = '_preview'  # suffix of previews
_SPARE = len('_compare.mp4.json.gavn')  # bytes that are added to output names
VIDEO_ENDINGS = ('.mp4', '.mkv', '.mov', '.m4v', '.webm', '.avi', '.ts', '.mts', '.m2ts', '.mpg', '.mpeg',
                 '.wmv', '.flv', '.3gp', '.ogv')
OUTPUT_ENDINGS = ('.mp4', '.mkv', '.mov')  # other videos become .mkv, which supports most codecs


def is_image(path: Path) -> bool:
    """Returns whether a file is an image by its extension; False for hidden files."""
    return _is_one_of(path, IMAGE_ENDINGS)


def is_video(path: Path) -> bool:
    """Returns whether a file is a video by its extension; False for hidden files."""
    return _is_one_of(path, VIDEO_ENDINGS)


def output_ending(source: Path) -> str:
    """Returns the extension of a video's output: that of the video if outputs may have it, else .mkv."""
    return source.suffix if source.suffix.lower() in OUTPUT_ENDINGS else '.mkv'


def natural(path: Path) -> tuple[list[list[str | int]], str]:
    """Returns a key for natural order (9.png before 10.png, also in folders), case-insensitive."""
    parts = [*path.parent.parts, path.stem]
    return [_with_numbers(part) for part in parts], path.name


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Returns the paths in natural order."""
    return sorted(paths, key=natural)


def images_in(folder: Path) -> tuple[Path, ...]:
    """Returns the images of a folder in natural order."""
    return tuple(in_order(filter(is_image, folder.iterdir())))


def with_ending(stem: str, ending: str, spare: int = 0) -> str:
    """Returns `stem` + `ending`, limited to the longest file name minus `spare` bytes.

    A stem that is too long is cut and made unique by a part of its SHA-256.
    """
    room = LONGEST_NAME - spare - len(os.fsencode(ending))
    if len(os.fsencode(stem)) <= room:
        return stem + ending
    mark = f'~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}'
    while stem and len(os.fsencode(stem)) > room - len(mark):
        stem = stem[:-1]
    return stem + mark + ending


def output_stem(stem: str, suffix: str, preview: bool) -> str:
    """Returns the name of the output of an input, or of its preview, without extension."""
    return with_ending(stem, f'_{suffix}{_PREVIEW * preview}', _SPARE)


def beside(path: Path, ending: str) -> Path:
    """Returns `path` with `ending` appended to its name; see `with_ending`."""
    return path.with_name(with_ending(path.name, ending))


def _is_one_of(path: Path, endings: tuple[str, ...]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith('.') and path.is_file()


def _with_numbers(name: str) -> list[str | int]:
    parts = re.split(r'([0-9]+)', name.lower())
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)]
