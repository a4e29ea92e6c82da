"""Inputs and output paths of `gavn restore`."""
from __future__ import annotations

import argparse
import glob
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gavn.errors import ArgumentError, InputPathError
from gavn.runtime.file_names import (
    OUTPUT_ENDINGS,
    beside,
    images_in,
    in_order,
    is_image,
    is_video,
    output_ending,
    output_stem,
)

IMAGE_FOLDER = 'png'  # the value of --ext for an image folder
BOTH = '_compare'  # suffix of comparison videos
STATE = '.gavn'  # extension of the folders of interrupted runs


def input_output_pairs(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Returns (input, output) pairs.

    Outputs are named after their inputs without extension. Inputs whose outputs would have the same name keep
    their extensions in it: `talk.avi` and `talk.webm` become `talk.avi_gavn.mkv` and `talk.webm_gavn.mkv`.

    Raises:
        ArgumentError: there is one audio file for several inputs.
        InputPathError: an input has no videos or images.
        OutputPathError: two inputs would have the same output, or the output has the wrong kind.
    """
    from gavn.restoration.output_path import OutputPathError
    found = _without_outputs(sources(args.input), args.suffix)
    if args.audio is not None and len(found) > 1:
        raise ArgumentError(f'one audio file, {args.audio}, for {len(found)} inputs\n'
                            'restore them one by one')
    alone = args.output is not None and len(found) == 1
    if alone and args.ext == IMAGE_FOLDER:
        return [(found[0], _image_folder(args.output))]
    folder = _folder(args.output, len(found))
    if alone and folder is None:
        if not Path(args.output).suffix:
            raise OutputPathError(f'{args.output} has no extension\n'
                                  f'use {args.output}.mp4, or {args.output}/ for a folder')
        return [(found[0], Path(args.output))]
    targets = [_named_after(source, _stem(source), folder, args) for source in found]
    counts = Counter(targets)
    targets = [_named_after(source, source.name, folder, args) if counts[target] > 1 else target
               for source, target in zip(found, targets, strict=True)]
    if twice := sorted(str(target) for target, count in Counter(targets).items() if count > 1):
        raise OutputPathError(f'several inputs would be written to {twice[0]}\n'
                              'use separate output folders')
    return list(zip(found, targets, strict=True))


def _image_folder(output: str) -> Path:
    from gavn.restoration.output_path import OutputPathError
    if output.lower().endswith(OUTPUT_ENDINGS):
        raise OutputPathError(f"{output} is the name of a video, but --ext png writes an image folder\n"
                              'omit one of them')
    return Path(output)


def _without_outputs(found: Sequence[Path], suffix: str) -> list[Path]:
    """Removes the outputs of the other inputs, by their names or by their reports."""
    own = {(path.parent, output_stem(stem, suffix, preview))
           for path in found for stem in (_stem(path), path.name) for preview in (False, True)}
    inputs = set(found)
    reported = {(path.parent, path.name) for path in found
                if (source := _reported_input(path)) in inputs and source != path}
    return [path for path in found if (path.parent, _stem(path).removesuffix(BOTH)) not in own
            and (path.parent, path.stem.removesuffix(BOTH) + path.suffix) not in reported]


def _reported_input(path: Path) -> Path | None:
    """Returns the input that the report of a video names, in the folder of the video; None without report."""
    try:
        report = json.loads(beside(path, '.json').read_text(encoding='utf-8'))
        return path.with_name(Path(report['source']).name)
    except (OSError, ValueError, KeyError, TypeError):  # no report, or a file of something else
        return None


def unfinished(jobs: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Returns the jobs without an output; prints the others."""
    for _, target in jobs:
        if target.exists():
            print(f'{target} exists already')
    return [(source, target) for source, target in jobs if not target.exists()]


def _folder(output: str | None, count: int) -> Path | None:
    """Returns the output folder, created for several inputs; None if `output` is a file name."""
    from gavn.restoration.output_path import OutputPathError
    if output is None:
        return None
    path = Path(output)
    if path.is_dir() or output.endswith('/') or count > 1:
        if path.exists() and not path.is_dir():
            raise OutputPathError(
                f'{path} is a file, but there are {count} inputs\nuse a folder'
            )
        path.mkdir(parents=True, exist_ok=True)
        return path
    return None


def _stem(path: Path) -> str:
    """Returns the name without extension; a folder name has none."""
    return path.name if path.is_dir() else path.stem


def _named_after(source: Path, stem: str, folder: Path | None, args: argparse.Namespace) -> Path:
    ending = '' if args.ext == IMAGE_FOLDER else f'.{args.ext}'
    if args.ext == 'auto':
        ending = _container(source, args.audio)
    return (folder or source.parent) / (output_stem(stem, args.suffix, args.preview is not None) + ending)


def _container(source: Path, audio: Path | None) -> str:
    """Returns the output extension: that of the source if its container can hold the audio, else another."""
    from gavn.media import MediaError, fitting_ending
    usual = '.mp4' if source.is_dir() else output_ending(source)
    audio_path = audio or source
    try:
        return usual if audio_path.is_dir() else fitting_ending(audio_path, usual)
    except MediaError:  # reported when the input is restored
        return usual


def sources(inputs: Sequence[str]) -> list[Path]:
    """Returns the videos and image folders of the inputs, without duplicates.

    Args:
        inputs: files, folders of videos, image folders, or patterns.

    Raises:
        InputPathError: an input has no videos or images.
        NoVideo: an input is a single image.
    """
    from gavn.media import NoVideo
    found: dict[Path, None] = {}
    for name in inputs:
        pattern = not Path(name).exists() and glob.has_magic(name)
        named = _matching(name) if pattern else [Path(name)]
        videos = [video for path in named for video in (_in_folder(path) if path.is_dir() else [path])]
        if not videos:
            below = any(path.is_dir() for folder in named if folder.is_dir() for path in folder.iterdir())
            hint = f'\nfor the videos of all folders in it use "{name.rstrip("/")}/**/"' if below else ''
            raise InputPathError(f'{name}: no videos or images found{hint}')
        if image := next(filter(is_image, videos), None):
            raise NoVideo(f'{image} is an image, not a video\n'
                          f'to restore the frames of a video use their folder, {image.parent}')
        found |= dict.fromkeys(videos)
    return list(found)


def _matching(pattern: str) -> list[Path]:
    """Returns what a pattern matches, without the folders of interrupted runs."""
    found = in_order(map(Path, glob.glob(pattern, recursive=True)))
    return [path for path in found if not any(part.endswith(STATE) for part in path.parts)]


def _in_folder(folder: Path) -> list[Path]:
    """Returns the videos of a folder; the folder itself if it contains only images."""
    videos = in_order(filter(is_video, folder.iterdir()))
    images = images_in(folder)
    if videos and images:
        print(f'{folder} contains videos and images: only the videos are restored; move the images to '
              'a folder of their own')
    if videos or not images:
        return videos
    return [folder.resolve() if folder.name in ('', '..') else folder]  # its name becomes the output name
