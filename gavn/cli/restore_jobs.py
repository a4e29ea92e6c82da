"""What `gavn restore` is to do: which inputs there are, and where their outputs go."""
from __future__ import annotations

import argparse
import glob
from collections.abc import Sequence
from pathlib import Path

from gavn.runtime.file_names import images_in, in_order, is_image, is_video, with_ending

KEPT = ('.mp4', '.mkv', '.mov')  # by `--ext auto`; all else becomes .mkv, which holds most
IMAGE_ENDINGS = 'png'  # the choice of --ext that asks for a folder of them
BOTH = '_compare'  # what the name of a video of before and after ends with
_PREVIEW = '_preview'  # and of the first seconds alone
_SPARE = len('_compare.mp4.json.gavn')  # bytes that the names of what is written are longer


def plan(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Inputs and outputs. Raises TargetError where outputs would meet, or inputs are none."""
    from gavn.restoration.output_path import OutputPathError
    found = _without_own(sources(args.input), args.suffix)
    if args.audio is not None and len(found) > 1:
        raise OutputPathError(f'one sound, {args.audio}, for {len(found)} inputs\nrestore them one by one')
    alone = args.output is not None and len(found) == 1
    if alone and args.ext == IMAGE_ENDINGS:
        return [(found[0], _folder_of_pictures(args.output))]
    folder = _folder(args.output, len(found))
    if alone and folder is None:
        return [(found[0], Path(args.output))]
    targets = [_named_after(source, folder, args) for source in found]
    if twice := sorted({str(target) for target in targets if targets.count(target) > 1}):
        raise OutputPathError(f'several inputs would be written to {twice[0]}\n'
                          'restore them into folders of their own')
    return list(zip(found, targets, strict=True))


def _folder_of_pictures(output: str) -> Path:
    from gavn.restoration.output_path import OutputPathError
    if output.lower().endswith(KEPT):
        raise OutputPathError(f"{output} is a video's name, but --ext png asks for a folder of pictures\n"
                          'leave one of them out')
    return Path(output)


def _without_own(found: Sequence[Path], suffix: str) -> list[Path]:
    """Leaves out what an earlier run made of others of them."""
    own = {(path.parent, _own_stem(_stem(path), suffix + kind))
           for path in found for kind in ('', _PREVIEW)}
    return [path for path in found if (path.parent, _stem(path).removesuffix(BOTH)) not in own]


def left_to_do(jobs: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """The jobs whose outputs are not there yet; the others are told."""
    for _, target in jobs:
        if target.exists():
            print(f'{target} is there already')
    return [(source, target) for source, target in jobs if not target.exists()]


def _folder(output: str | None, count: int) -> Path | None:
    """The folder that is to hold the outputs, made where several are asked for; None for a file's name."""
    from gavn.restoration.output_path import OutputPathError
    if output is None:
        return None
    path = Path(output)
    if path.is_dir() or output.endswith('/') or count > 1:
        if path.exists() and not path.is_dir():
            raise OutputPathError(
                f'{path} is a file, but there are {count} inputs\ngive the name of a folder'
            )
        path.mkdir(parents=True, exist_ok=True)
        return path
    return None


def _stem(path: Path) -> str:
    """The name without ending; a folder's has none."""
    return path.name if path.is_dir() else path.stem


def _named_after(source: Path, folder: Path | None, args: argparse.Namespace) -> Path:
    ending = '' if args.ext == IMAGE_ENDINGS else f'.{args.ext}'
    if args.ext == 'auto':
        ending = _container(source, args.audio)
    suffix = args.suffix if args.preview is None else args.suffix + _PREVIEW
    return (folder or source.parent) / (_own_stem(_stem(source), suffix) + ending)


def _own_stem(stem: str, suffix: str) -> str:
    """What the output of an input is called, without ending."""
    return with_ending(stem, f'_{suffix}', spare=_SPARE)


def _container(source: Path, audio: Path | None) -> str:
    """The ending of an output: the source's, where its container can hold the sound, else one that can."""
    from gavn.media import MediaError, fitting_ending
    usual = '.mp4' if source.is_dir() else source.suffix if source.suffix.lower() in KEPT else '.mkv'
    heard = audio or source
    try:
        return usual if heard.is_dir() else fitting_ending(heard, usual)
    except MediaError:  # told when it is the input's turn
        return usual


def sources(inputs: Sequence[str]) -> list[Path]:
    """The videos and folders of pictures that are named, each once.

    Files are taken as they are, the videos in folders, what patterns fit. Raises TargetError for what is not
    there, NoVideo for single pictures.
    """
    from gavn.media import NoVideo
    from gavn.restoration.output_path import OutputPathError
    found: dict[Path, None] = {}
    for name in inputs:
        pattern = not Path(name).exists() and glob.has_magic(name)
        named = in_order(map(Path, glob.glob(name, recursive=True))) if pattern else [Path(name)]
        films = [film for path in named for film in (_in_folder(path) if path.is_dir() else [path])]
        if not films:
            raise OutputPathError(f'{name}: no videos there, and no pictures')
        if picture := next(filter(is_image, films), None):
            raise NoVideo(f'{picture} is a picture, not a video\n'
                              f'to restore the frames of a video give their folder, {picture.parent}')
        found |= dict.fromkeys(films)
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    """The videos of a folder; where there are none but pictures, the folder itself."""
    videos = in_order(filter(is_video, folder.iterdir()))
    pictures = images_in(folder)
    if videos and pictures:
        print(f'{folder} holds videos beside pictures: the videos are restored; frames need a folder of '
              'their own')
    if videos or not pictures:
        return videos
    return [folder.resolve() if folder.name in ('', '..') else folder]  # outputs are called after it
