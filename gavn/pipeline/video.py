"""A talking-face video in, the same video with a better face out; nothing else about it changes."""
from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, tee
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import Tensor
from tqdm import tqdm

from gavn.pipeline.face_tracker import NoFace, Track, track_faces
from gavn.pipeline.restorer import Restorer
from gavn.utils.audio import SAMPLE_RATE, mfcc, mfcc_of_blocks, mfcc_windows
from gavn.utils.faces import Box, crop, feather_mask, paste, sides_on_edge
from gavn.utils.media import (
    Frame,
    PieceWriter,
    VideoInfo,
    changed,
    iter_audio,
    join,
    probe,
    read_frames,
    silent_blocks,
)

PathLike = str | os.PathLike[str]

NOTABLE_GAP = 0.1  # seconds that sound may end before the picture without a word about it

_log = logging.getLogger(__name__)


class TargetError(Exception):
    """The place to write to cannot be used; nothing was written."""


@dataclass
class Report:
    """What became of a video.

    Attributes:
        source, target: the files.
        frames_in, frames_out: frames read and written; equal.
        restored: frames with a restored face.
        passed_through: frames without one, copied as they are.
        seconds: wall-clock time.
        weights: SHA-256 by file.
        notices: what the user should know, in words.
    """

    source: str
    target: str
    frames_in: int = 0
    frames_out: int = 0
    restored: int = 0
    passed_through: int = 0
    seconds: float = 0.
    weights: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def notice(self, words: str) -> None:
        """Notes `words` and logs them at once, as a warning."""
        self.notices.append(words)
        _log.warning(words)


def restore_video(source: PathLike, target: PathLike, restorer: Restorer, strength: float = 1.,
                  crf: int = 18, preset: str = 'medium', codec: str = 'libx264', overwrite: bool = False,
                  progress: bool = True) -> Report:
    """Restores the face in a video file; frames and decoded sound pass through memory a few at a time.

    What is kept of the whole length is the face's place in every frame and the cepstra of the sound (5 kB a
    second). Every frame is written once, at its own time stamp and size; sound is copied packet by packet.
    The face is cropped, restored and its change added back through a soft mask: pixels outside go to the
    encoder as they were. Frames without a face pass through. The target appears when it is complete, or not
    at all.

    Args:
        source: a video file.
        target: the file to write; its ending chooses the container (.mp4, .mkv, .mov).
        restorer: networks with their weights.
        strength: how much of the change to apply, 0 (nothing) to 1.
        crf, preset, codec: of the encoder.
        overwrite: whether an existing target may be replaced; never the source.
        progress: whether to show progress bars.

    Raises TargetError before any work if the target cannot be used, MediaError for a source that cannot be
    read, NoFace if none is found, RestoreError if the network fails.
    """
    source, target, started = Path(source), Path(target), time.monotonic()
    if not 0 <= strength <= 1:
        raise ValueError(f'strength is between 0 and 1, not {strength}')
    check_target(source, target, overwrite)
    report = Report(str(source), str(target), weights=dict(restorer.weights))
    info = probe(source)
    track = _find_face(source, info, progress)
    story = _Story(restorer, _listen(source, info, report), strength)
    with TemporaryDirectory(dir=target.parent, prefix=f'.{target.stem}.') as folder:
        piece = Path(folder) / 'piece.nut'
        with (PieceWriter(piece, info, crf, preset, codec) as writer,
              _counted(read_frames(source), 'restoring', len(track.boxes), progress) as frames):
            for frame, image, restored in story.frames(frames, track):
                difference = np.subtract(image, frame.image, dtype=np.float32)
                writer.write(changed(frame, 0, 0, difference) if restored else frame.picture, frame.pts)
                report.frames_out += 1
                report.restored += restored
        join(target, [piece], source)
    report.frames_in = len(track.boxes)
    report.passed_through = report.frames_out - report.restored
    report.seconds = time.monotonic() - started
    return report


def check_target(source: PathLike, target: PathLike, overwrite: bool = False) -> None:
    """Raises TargetError, saying what to do, if writing `target` would fail or would lose something."""
    source, target = Path(source), Path(target)
    folder = target.parent
    if target.exists() and source.exists() and target.samefile(source):
        raise TargetError(f'{target} is the input, which is never overwritten\nchoose another output')
    if target.is_dir():
        raise TargetError(f'{target} is a folder\ngive the name of a file in it')
    if target.exists() and not overwrite:
        raise TargetError(f'{target} exists already\ngive --force to replace it, or choose another output')
    if not folder.is_dir():
        raise TargetError(f'the folder {folder} does not exist\nmake it, or choose another output')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TargetError(f'the folder {folder} is read-only\nchange its permissions, or choose another')


def _counted(frames: Iterable[Frame], what: str, total: int | None, progress: bool) -> tqdm:
    """The frames with a bar, to be used as a context, so that the bar ends before an error is told."""
    return tqdm(frames, desc=what, total=total, unit='frame', disable=not progress)


def _find_face(source: Path, info: VideoInfo, progress: bool) -> Track:
    try:
        with _counted(read_frames(source), 'finding the face', info.frames, progress) as frames:
            return track_faces(frame.image for frame in frames)
    except NoFace as error:
        raise NoFace(f'{source}: {error}\nnothing was written') from error


def _listen(source: Path, info: VideoInfo, report: Report) -> Tensor:
    """Cepstra (f, 13) of the sound, with silence where it is missing or ends before the picture."""
    blocks = iter_audio(source, SAMPLE_RATE)
    if blocks is None:
        report.notice(f'{source} has no sound track: its face is restored as if it were silent')
        return mfcc(np.zeros(0))
    return mfcc_of_blocks(_to_the_end(blocks, source, info, report))


def _to_the_end(blocks: Iterable[np.ndarray], source: Path, info: VideoInfo, report: Report
                ) -> Iterator[np.ndarray]:
    """The blocks of sound, and zeros after them up to the end of the picture."""
    samples = 0
    for block in blocks:
        samples += len(block)
        yield block
    missing = info.duration - samples / SAMPLE_RATE
    if missing > NOTABLE_GAP:
        report.notice(f'the sound of {source} ends {missing:.1f} s before its picture; silence follows')
    yield from silent_blocks(round(missing * SAMPLE_RATE))


@dataclass
class _Story:
    """Frames and face regions in, frames with restored faces out."""

    restorer: Restorer
    cepstra: Tensor  # (f, 13), from the first frame's time on
    strength: float

    def frames(self, frames: Iterable[Frame], track: Track) -> Iterator[tuple[Frame, np.ndarray, bool]]:
        """Per frame, in order: itself, the picture to write, and whether its face was restored."""
        segments = {index: number for number, segment in enumerate(track.segments) for index in segment}
        for number, group in groupby(frames, key=lambda frame: segments.get(frame.index)):
            if number is None:
                yield from ((frame, frame.image, False) for frame in group)
            else:
                yield from ((frame, image, True) for frame, image in self._segment(group, track))

    def _segment(self, frames: Iterable[Frame], track: Track) -> Iterator[tuple[Frame, np.ndarray]]:
        """Consecutive frames of one face, restored as a clip; each hears the sound of its own time."""
        seen, heard = tee(frames)
        waiting: deque[tuple[Frame, Box]] = deque()

        def crops() -> Iterator[np.ndarray]:
            for frame in seen:
                region = track.region(frame.index)
                waiting.append((frame, region))
                yield crop(frame.image, region)

        sounds = (mfcc_windows(self.cepstra, [frame.time])[0] for frame in heard)
        for residual in self.restorer.residuals(crops(), sounds):
            frame, region = waiting.popleft()
            height, width = frame.image.shape[:2]
            mask = feather_mask(free=sides_on_edge(region, width, height))
            yield frame, paste(frame.image, region, residual * self.strength, mask)
