"""Clips for evaluation: video files or folders of images, alone, in folders, and in pairs."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from gavn.errors import ExitCode, GavnError
from gavn.media import Frame, UnreadableMedia, VideoReader
from gavn.runtime.file_names import IMAGE_ENDINGS, VIDEO_ENDINGS, in_order, is_image, is_video
from gavn.runtime.messages import listed

_log = logging.getLogger(__name__)


class MismatchError(GavnError):
    """Clips do not match. The message names them and the reason."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Collection:
    """Clips by name."""

    path: Path  # searched file or folder
    clips: dict[str, VideoReader]  # by path relative to the folder, without suffix
    is_one: bool = False  # whether `path` itself is the clip

    @property
    def name(self) -> str:
        """Name of the folder."""
        folder = self.path if self.path.is_dir() else self.path.absolute().parent
        return folder.absolute().name


def collect(path: str | Path) -> Collection:
    """Finds clips: a video, a folder of images, or a folder that contains these at any depth.

    Raises:
        UnreadableMedia: there is no clip, images lie beside clips, or two clips have the same name.
    """
    path = Path(path)
    if path.is_file():
        return Collection(path, {path.stem: VideoReader(path)}, is_one=True)
    if not path.is_dir():
        raise UnreadableMedia(f'{path}: no such file or folder; check the path')
    found = _in_folder(path)
    if not found:
        raise UnreadableMedia(f'{path} holds no videos ({", ".join(VIDEO_ENDINGS)}) and no images '
                              f'({", ".join(IMAGE_ENDINGS)})')
    if '.' in found and len(found) > 1:
        raise UnreadableMedia(f'{path} holds images beside other clips, such as '
                              f'{next(clip for clip in found.values() if clip.path != path).path}\n'
                              'give a folder of one kind')
    if '.' in found:
        return Collection(path, {path.absolute().name: found['.']}, is_one=True)
    return Collection(path, found)


def _in_folder(root: Path) -> dict[str, VideoReader]:
    """Maps names to clips. Images directly in `root` have the name '.'."""
    images: dict[Path, list[Path]] = {}
    clips: dict[str, VideoReader] = {}
    for path in in_order(root.rglob('*')):
        if is_image(path):
            images.setdefault(path.parent, []).append(path)
        elif is_video(path):
            _add(clips, path.relative_to(root).with_suffix('').as_posix(), VideoReader(path))
    for folder, files in images.items():
        _add(clips, folder.relative_to(root).as_posix(), VideoReader(folder, tuple(files)))
    return dict(sorted(clips.items()))


def _add(clips: dict[str, VideoReader], name: str, clip: VideoReader) -> None:
    if name in clips:
        raise UnreadableMedia(f'{clips[name].path} and {clip.path} have the same name; keep one of them')
    clips[name] = clip


@dataclass(frozen=True)
class Triple:
    """A restored clip with its degraded input and its ground truth, if there are any."""

    name: str
    restored: VideoReader
    degraded: VideoReader | None = None
    truth: VideoReader | None = None

    def frames(self) -> Iterator[tuple[Frame, Frame | None, Frame | None]]:
        """Yields corresponding frames of the three clips.

        Raises:
            MismatchError: number or size of frames differ.
            MediaError: a file cannot be read.
        """
        sources = (self.restored, self.degraded, self.truth)
        present = [source for source in sources if source is not None]
        for group in zip_longest(*(source.read() for source in present)):
            if None in group:
                raise MismatchError(_length_message(present))
            _check_sizes(present, group)
            restored, *others = group
            yield (restored, None if self.degraded is None else others[0],
                   None if self.truth is None else others[-1])

    def read_audio(self) -> np.ndarray | None:
        """Audio of the restored clip, else of the ground truth, else of the input; None if there is none."""
        sources = (source for source in (self.restored, self.truth, self.degraded) if source is not None)
        return next((audio for source in sources if (audio := source.read_audio()) is not None), None)


def _length_message(sources: Sequence[VideoReader]) -> str:
    counts = [sum(1 for _ in source.read()) for source in sources]
    other = next(i for i, count in enumerate(counts) if count != counts[0])
    return (f'{sources[0].path} has {counts[0]} frames, but {sources[other].path} has {counts[other]}\n'
            'clips are compared frame by frame and need the same length')


def _check_sizes(sources: Sequence[VideoReader], frames: Sequence[Frame]) -> None:
    sizes = [f'{frame.image.shape[1]}x{frame.image.shape[0]}' for frame in frames]
    for source, size in zip(sources, sizes, strict=True):
        if size != sizes[0]:
            raise MismatchError(f'frame {frames[0].index} of {sources[0].path} is {sizes[0]} pixels, but of '
                                f'{source.path} {size}\nclips are compared pixel by pixel and need '
                                'the same size')


def pair(restored: Collection, degraded: Collection | None = None, truth: Collection | None = None
         ) -> list[Triple]:
    """Matches restored clips with inputs and ground truth by name.

    Two single clips match whatever their names. Unused clips are logged.

    Raises:
        MismatchError: a restored clip has no counterpart.
    """
    inputs, truths = ({} if other is None else _counterparts(restored, other) for other in (degraded, truth))
    return [Triple(name, clip, inputs.get(name), truths.get(name)) for name, clip in restored.clips.items()]


def _counterparts(restored: Collection, other: Collection) -> dict[str, VideoReader]:
    if restored.is_one and other.is_one:
        return dict(zip(restored.clips, other.clips.values(), strict=True))
    if missing := [name for name in restored.clips if name not in other.clips]:
        raise MismatchError(f'{other.path} lacks clips of {restored.path}: {listed(missing)}\n'
                            f'it has {listed(list(other.clips))}; clips are matched by name, without suffix')
    if unused := [name for name in other.clips if name not in restored.clips]:
        _log.warning(f'{other.path} has clips that {restored.path} lacks: {listed(unused)}')
    return other.clips
