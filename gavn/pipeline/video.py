"""A talking-face video in, the same video with better faces out; nothing else about it changes."""
from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from av import VideoFrame
from torch import Tensor
from tqdm import tqdm

from gavn.pipeline.face_tracker import NoFace, follow_faces
from gavn.pipeline.face_tracks import Faces, check_choice, choose, fixed_box
from gavn.pipeline.journal import Journal, JournalError, parts
from gavn.pipeline.report import Looks, Report, faces_in_words, versions
from gavn.pipeline.restorer import Restorer
from gavn.pipeline.story import Reel, Story
from gavn.utils.audio import SAMPLE_RATE, mfcc, mfcc_of_blocks
from gavn.utils.faces import Box, Patch, shared
from gavn.utils.files import sha256
from gavn.utils.media import (
    Frame,
    MediaError,
    PieceWriter,
    VideoInfo,
    changed,
    iter_audio,
    join,
    probe,
    read_frames,
    silenced,
    silent_blocks,
)

PathLike = str | os.PathLike[str]

NOTABLE_GAP = 0.1  # seconds that sound may end before the picture without a word about it


class TargetError(Exception):
    """The place to write to cannot be used; nothing was written."""


@dataclass(frozen=True)
class Settings:
    """How a video is restored.

    Attributes:
        strength: how much of the change to apply, 0 (nothing) to 1.
        faces: 'all', 'largest' (one at a time) or numbers as in '0,2' (see `choose`).
        min_face: height in pixels; smaller faces pass through. None = what the detector can find.
        box: where the one face is in every frame, in place of looking for faces.
        preview: seconds from the beginning to restore; None = all.
        crf, preset, codec: of the encoder.

    Raises ValueError for a strength or a length that is none.
    """

    strength: float = 1.
    faces: str = 'all'
    min_face: float | None = None
    box: Box | None = None
    preview: float | None = None
    crf: float = 18
    preset: str = 'medium'
    codec: str = 'libx264'

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f'strength is between 0 and 1, not {self.strength}')
        if self.preview is not None and self.preview <= 0:
            raise ValueError(f'a preview is longer than {self.preview} seconds')


def restore_video(source: PathLike, target: PathLike, restorer: Restorer, settings: Settings = Settings(),
                  overwrite: bool = False, resume: bool = True, progress: bool = True) -> Report:
    """Restores the faces in a video file, in memory that does not grow with its length.

    What is kept of the whole length are the places of the faces and the cepstra of the sound (5 kB a second).
    Every frame is written once, at its own time stamp and size; sound and subtitles are copied packet by
    packet. Each face is cropped, restored, and its change added back through a soft mask: all that lies
    outside, and frames without a face, go to the encoder as they were decoded. The target appears when it is
    complete, or not at all.

    A run that was interrupted leaves a folder `<target>.gavn` with its finished pieces; the same call goes on
    from there, and ends with the same file as a run that was not.

    Args:
        source: a video file.
        target: the file to write; its ending chooses the container (.mp4, .mkv, .mov).
        restorer: networks with their weights.
        settings: what to restore, how much, and how to encode.
        overwrite: whether an existing target may be replaced; never the source.
        resume: whether to go on from what an interrupted run left.
        progress: whether to show progress bars.

    Raises TargetError before any work if the target cannot be used, MediaError for a source that cannot be
    read, NoFace if none is found, RestoreError if the network fails, ChoiceError for faces that
    are not there.
    """
    source, target, started = Path(source), Path(target), time.monotonic()
    check_target(source, target, overwrite)
    report = Report(str(source), str(target), settings=_plain(settings), weights=dict(restorer.weights),
                    versions=versions())
    info = probe(source)
    try:
        with Journal.opened(target, _job(source, restorer, settings), resume) as journal:
            _Run(source, info, restorer, settings, journal, report, progress).go(target)
    except JournalError as error:
        raise TargetError(str(error)) from error
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


def _plain(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in asdict(settings).items() if value is not None}


def _job(source: Path, restorer: Restorer, settings: Settings) -> dict[str, Any]:
    """What the pieces of a journal depend on."""
    return {'source': sha256(source), 'weights': sorted(restorer.weights.values()), 'dtype': restorer.dtype,
            'device': str(restorer.device).partition(':')[0], 'batch': restorer.batch,
            'settings': _plain(settings), 'versions': versions()}


@dataclass
class _Run:
    """One restoration: faces, sound, then the video piece by piece, then all of it together."""

    source: Path
    info: VideoInfo
    restorer: Restorer
    settings: Settings
    journal: Journal
    report: Report
    progress: bool

    def __post_init__(self) -> None:
        self.restorer.notices.clear()

    def go(self, target: Path) -> None:
        self._check_choices()
        self._rehearse(target)
        found = self.journal.faces
        if found is None:
            self.journal.faces = found = self._find()
        faces = self._chosen(found)
        story = Story(self.restorer, _listen(self.source, self.info, self.report), faces,
                      self.settings.strength)
        todo = [part for part in parts(faces.count) if self.journal.notes(part) is None]
        self._say_where_it_goes_on(faces.count, sum(map(len, todo)))
        if todo:
            self._restore(story, todo, faces.count)
        self._join(target, parts(faces.count))
        self._tell(faces)

    def _join(self, target: Path, done: Sequence[range]) -> None:
        joined = self.journal.folder / f'joined{target.suffix}'
        join(joined, [self.journal.piece(part) for part in done], self.source, until=self._end())
        os.replace(joined, target)

    def _check_choices(self) -> None:
        """Raises ChoiceError for what can be known to be wrong before the video is read."""
        if self.settings.box is not None:
            fixed_box(self.settings.box, 1, (self.info.width, self.info.height))
        check_choice(self.settings.faces)

    def _rehearse(self, target: Path) -> None:
        """Makes a video of the first frame, so that what does not fit together is told before the work."""
        with TemporaryDirectory(dir=self.journal.folder) as folder:
            piece = Path(folder, 'first.nut')
            with self._writer(piece) as writer, closing(read_frames(self.source)) as frames:
                first = next(frames)
                writer.write(first.picture, first.pts)
            trial = Path(folder, target.name)
            try:
                with silenced():
                    join(trial, [piece], self.source, until=self.info.start)
            except MediaError as error:
                raise type(error)(str(error).replace(str(trial), str(target))) from error

    def _writer(self, piece: Path) -> PieceWriter:
        settings = self.settings
        return PieceWriter(piece, self.info, settings.crf, settings.preset, settings.codec)

    def _find(self) -> Faces:
        frames = self._read()
        with _bar('finding faces', self._expected(), self.progress, frames) as counted:
            if self.settings.box is not None:
                count = sum(1 for _ in counted)
                return fixed_box(self.settings.box, count, (self.info.width, self.info.height))
            try:
                return follow_faces((frame.image for frame in counted), min_face=self.settings.min_face)
            except NoFace as error:
                raise NoFace(f'{self.source}: {error}\nnothing was written') from error

    def _chosen(self, found: Faces) -> Faces:
        return choose(found, self.settings.faces) if self.settings.box is None else found

    def _read(self, start: int = 0) -> Iterator[Frame]:
        """The frames to restore."""
        frames = read_frames(self.source, start)
        if self.settings.preview is None:
            return frames
        return takewhile(lambda frame: frame.time < self.settings.preview, frames)

    def _expected(self) -> int | None:
        """About how many frames there will be."""
        if self.settings.preview is None or self.info.frames is None:
            return self.info.frames
        return min(self.info.frames, round(self.settings.preview * self.info.frame_rate))

    def _end(self) -> Fraction | None:
        preview = self.settings.preview
        return None if preview is None else self.info.start + Fraction(preview).limit_denominator(1000)

    def _say_where_it_goes_on(self, count: int, left: int) -> None:
        self.report.frames_in, self.report.resumed = count, count - left
        if left < count:
            self.report.notice(f'going on where an interrupted run stopped: {count - left} of {count} frames '
                               'are done')

    def _restore(self, story: Story, todo: list[range], count: int) -> None:
        reel = Reel(self._read(story.first_needed(todo[0])))
        with _bar('restoring', count, self.progress) as bar:
            bar.update(count - sum(map(len, todo)))
            for part in todo:
                self.journal.finish(part, self._encode(story, reel, part, bar))

    def _encode(self, story: Story, reel: Reel, part: range, bar: tqdm) -> dict[str, Any]:
        """Writes one piece and returns what to note about it."""
        looks: defaultdict[int, tuple[Looks, Looks]] = defaultdict(lambda: (Looks(), Looks()))

        def seen(face: int, before: np.ndarray, after: np.ndarray) -> None:
            for look, image in zip(looks[face], (before, after), strict=True):
                look.add(image)

        counts = Counter(restored=0, repeated=0)
        with self._writer(self.journal.piece(part)) as writer:
            for frame, patches in replace(story, seen=seen).patches(reel, part):
                writer.write(_restored(frame, patches), frame.pts)
                counts.update(restored=int(bool(patches)), repeated=int(frame.repeated))
                bar.update()
        return {**counts, 'frames': writer.frames,
                'looks': {face: {'before': before.notes(), 'after': after.notes()}
                          for face, (before, after) in looks.items()}}

    def _tell(self, faces: Faces) -> None:
        report, looks = self.report, defaultdict(list)
        for part in parts(faces.count):
            notes = self.journal.notes(part)
            report.frames_out += notes['frames']
            report.restored += notes['restored']
            report.repeated += notes['repeated']
            for face, look in notes['looks'].items():
                looks[face].append(look)
        report.passed_through = report.frames_out - report.restored
        report.faces = faces_in_words(faces, looks)
        report.notices += self.restorer.notices
        if report.repeated:
            report.notice(f'{report.repeated} frames could not be decoded: the one before is repeated in '
                          'their place')


def _restored(frame: Frame, patches: Sequence[Patch]) -> VideoFrame:
    """The frame's picture with the patches added."""
    for patch in shared(patches):
        frame = replace(frame, picture=changed(frame, patch.x0, patch.y0, patch.change))
    return frame.picture


def _bar(what: str, total: int | None, progress: bool, frames: Iterable[Frame] | None = None) -> tqdm:
    """A bar, over frames or by hand; to be used as a context, so that it ends before an error is told."""
    return tqdm(frames, desc=what, total=total, unit='frame', disable=not progress)


def _listen(source: Path, info: VideoInfo, report: Report) -> Tensor:
    """Cepstra (f, 13) of the sound, with silence where it is missing or ends before the picture."""
    blocks = iter_audio(source, SAMPLE_RATE)
    if blocks is None:
        report.notice(f'{source} has no sound track: its faces are restored as if they were silent')
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
