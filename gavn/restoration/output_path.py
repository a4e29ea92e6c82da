"""Checks of an output path before the work starts."""
from __future__ import annotations

import os
from pathlib import Path

from gavn.errors import ExitCode, GavnError

PathLike = str | os.PathLike[str]
_WITHOUT_TIMES = ('.avi', '.wmv', '.mpg', '.mpeg')  # containers that lose the time stamps of frames


class OutputPathError(GavnError):
    """The output path cannot be used; nothing was written."""

    exit_code = ExitCode.USAGE


def check_output_path(source: PathLike, target: PathLike, overwrite: bool = False, write_images: bool = False
                      ) -> None:
    """Checks that writing `target` can succeed and loses nothing.

    Args:
        source: the input, which is never overwritten.
        target: the output file, or the output folder with `write_images`.
        overwrite: whether an existing file, or a folder that contains only PNGs, may be replaced.
        write_images: whether the output is a folder of images. It may replace an empty folder.

    Raises:
        OutputPathError: says what is wrong and what to do.
    """
    source, target = Path(source), Path(target)
    folder = target.parent
    if target.suffix.lower() in _WITHOUT_TIMES and not write_images:
        raise OutputPathError(f'{target}: {target.suffix} does not keep the time stamps of the frames\n'
                              'use .mp4, .mkv or .mov')
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputPathError(f'{target} is the input, which is never overwritten\nuse another output path')
    if target.is_dir() and write_images:
        _check_image_folder(target, overwrite)
    elif target.is_dir():
        raise OutputPathError(f'{target} is a folder\nuse the name of a file in it')
    elif target.exists() and write_images:
        raise OutputPathError(f'{target} is a file\nuse the name of a folder for the images')
    elif target.exists() and not overwrite:
        raise OutputPathError(f'{target} exists already\nuse --force to replace it, or another output path')
    if not folder.is_dir():
        raise OutputPathError(f'the folder {folder} does not exist\ncreate it, or use another output path')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputPathError(f'the folder {folder} is read-only\n'
                              'change its permissions, or use another output path')


def _check_image_folder(folder: Path, overwrite: bool) -> None:
    entries = sorted(folder.iterdir())
    if entries and not overwrite:
        raise OutputPathError(f'{folder} is not empty\n'
                              'use --force to replace its images, or another output path')
    if other := next((path for path in entries if path.suffix != '.png' or not path.is_file()), None):
        raise OutputPathError(f'{folder} contains other files than PNGs, such as {other.name}: it is not '
                              'replaced\nuse another output path')
