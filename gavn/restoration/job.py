"""The steps of restoring a video: its faces, its sound, the picture piece by piece, then all together."""
from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from av import VideoFrame

from gavn.audio.mfcc import StoredMFCC
from gavn.faces.geometry import shared
from gavn.faces.thumbnail import thumbnail
from gavn.faces.tracker import NoFace, follow_faces
from gavn.faces.tracks import Faces, check_choice, choose, fixed_box
from gavn.media import (
    Frame,
    ImageWriter,
    MediaError,
    Playable,
    SegmentWriter,
    changed,
    encodable,
    missing_numbers,
)
from gavn.restoration.audio_features import extract_features, silence
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.choosing import Choice, choose_weights, look_at, scale_in_words
from gavn.restoration.degradation import DegradationEstimate
from gavn.restoration.face_clip import Change, FaceClipRestorer, FrameBuffer
from gavn.restoration.input_notices import encoder_for, unusual, with_holes_told
from gavn.restoration.progress import Progress, counted
from gavn.restoration.report import COUNTED, FaceNotes, Report, film_in_words, most_changed, summarise
from gavn.restoration.restorer import Restorer
from gavn.restoration.resume_state import ResumeState, parts
from gavn.restoration.settings import Settings
from gavn.restoration.time_estimate import WORTH_TELLING, in_words, seconds_for
from gavn.restoration.video_source import VideoSource
from gavn.runtime.memory import release_freed_memory
from gavn.runtime.prefetch import BackgroundWriter, PrefetchIterator

_COPIED = '; the video is copied as it is, not encoded again'
_LEAST_AHEAD, _MOST_AHEAD = 4, 32  # frames that are decoded before, and encoded after, those being restored

_log = logging.getLogger(__name__)


@dataclass
class RestorationJob:
    """One restoration: faces, sound, then the video piece by piece, then all of it together.

    Decoding, the networks and encoding have threads of their own.
    """

    film: VideoSource
    restorer: Restorer | AutoRestorer
    settings: Settings
    journal: ResumeState
    report: Report
    progress: Progress
    _playable: Playable = field(default_factory=Playable, init=False)
    _target: Path = field(default=Path(), init=False)
    _about_encoding: list[str] = field(default_factory=list, init=False)

    def go(self, target: Path) -> None:
        """Writes the target."""
        self._check_choices()
        self._target = target
        self._describe(self._check_muxable(target))
        found = self._found()
        self.report.cuts, self.report.coverage = list(found.cuts), round(found.coverage, 4)
        faces = self._chosen(found)
        choice = self._choose_weights(faces)
        if not choice.restores and self._copied(target):
            summarise(self.report, faces, [])
            self.report.notice(f'nothing is restored{_COPIED}')
            return
        choice.restorer.notices.clear()
        self._restore_faces(choice, faces)
        self._finish(target, faces)
        self.report.notices += choice.restorer.notices

    @release_freed_memory
    def _choose_weights(self, faces: Faces) -> Choice:
        """The networks for the faces, and whether these need them; told to the report."""
        choice = choose_weights(self.restorer, lambda: self._look(faces), self.film.lossless,
                                self.settings.force_task)
        report = self.report
        report.weights = dict(choice.restorer.weights) if choice.restores else {}
        if choice.damage:
            report.damage = asdict(choice.damage)
        suggested = '' if self.settings.scale else scale_in_words(faces)
        for words in filter(None, (choice.words, suggested)):
            report.notice(words)
        return choice

    def _look(self, faces: Faces) -> DegradationEstimate:
        with closing(PrefetchIterator(self._read(self.large), _LEAST_AHEAD)) as read:
            frames = counted(read, 'looking at faces', faces.count, self.progress)
            return look_at(frames, faces.enlarged(self.large.size), self.film.size[0])

    def _restore_faces(self, choice: Choice, faces: Faces) -> None:
        """Encodes the pieces that are not encoded yet."""
        for words in self._about_encoding:
            self.report.notice(words)
        wanted = faces if choice.restores else replace(faces, faces=())
        todo = [part for part in parts(faces.count) if self.journal.notes(part) is None]
        with closing(self._heard(wanted)) as mfcc_frames:
            story = FaceClipRestorer(
                choice.restorer, mfcc_frames, wanted.enlarged(self.large.size), self.settings.strength
            )
            self._say_where_it_goes_on(faces.count, sum(map(len, todo)))
            if todo:
                self._say_how_long(story, todo)
                self._restore(story, todo, faces.count)

    def _finish(self, target: Path, faces: Faces) -> None:
        """Makes the target: of the pieces, or where these hardly differ from the source, of that."""
        report, notes = self.report, [self.journal.notes(part) for part in parts(faces.count)]
        report.change = most_changed(notes)
        if not (report.hardly_changed and self._copied(target)):
            self._join(target, parts(faces.count))
        summarise(report, faces, notes)
        if report.hardly_changed:
            report.notice(f'hardly any change: {report.change:.2f} grey levels inside the faces, less than '
                          f'an eye or an encoder notices{_COPIED * report.copied}')

    def _copied(self, target: Path) -> bool:
        """Writes the video as it is in the source; False where other frames than all of those are wanted."""
        settings, report = self.settings, self.report
        if settings.preview is not None or settings.pictures or settings.codec or settings.pix_fmt:
            return False
        copied = self.journal.folder / f'copied{target.suffix}'
        try:
            self.large.copy(copied, report.notice)
        except MediaError as error:
            _log.info('%s; it is encoded', error)
            return False
        os.replace(copied, target)
        report.copied = True
        report.notices = [words for words in report.notices if words not in self._about_encoding]
        return True

    def _say_how_long(self, story: FaceClipRestorer, todo: Sequence[range]) -> None:
        """A line before a long run."""
        crops = sum(len(story.faces.present(index)) for part in todo for index in part)
        seconds = seconds_for(story.restorer, crops)
        if seconds is not None and seconds >= WORTH_TELLING:
            _log.warning('%s: restoring %d faces of frames will take about %s; Ctrl-C keeps what is done',
                         self.film.path, crops, in_words(seconds))

    @release_freed_memory
    def _heard(self, faces: Faces) -> StoredMFCC:
        """What the networks hear while they restore faces."""
        folder = self.journal.folder
        return (
            extract_features(self.film, self.report, folder, self.progress)
            if faces.faces
            else silence(folder)
        )

    def _join(self, target: Path, done: Sequence[range]) -> None:
        if self.settings.pictures:
            if target.is_dir():
                os.replace(target, self.journal.folder / 'replaced')
            os.replace(self.journal.pictures, target)
            return
        joined = self.journal.folder / f'joined{target.suffix}'
        self.large.join(joined, [self.journal.piece(part) for part in done], self._end(),
                        notice=self.report.notice)
        os.replace(joined, target)

    @cached_property
    def large(self) -> VideoSource:
        """The film with frames as large as the target's; the film itself unless a scale was asked for."""
        return self.film.enlarged(self.settings.scale)

    def _describe(self, pix_fmt: str) -> None:
        """Tells the report of the film, and the user of what is unusual about it."""
        film, report = self.film, self.report
        report.input = film_in_words(film.stored)
        report.settings['codec'] = self._encoder
        self._about_encoding = list(unusual(film.stored, self._encoder, pix_fmt))
        if film.pictures and self.settings.fps is None and (film.sound or not self.settings.pictures):
            report.notice(f'{film.path}: {film.info.frame_rate} frames a second, unless --fps says otherwise')
        if missing := missing_numbers(film.pictures):
            report.notice(f'{film.path}: {missing} numbers have no picture; nothing is put in their place')

    def _check_choices(self) -> None:
        """Raises ChoiceError or MediaError for what can be known to be wrong before the video is read."""
        if self.large is self.film and self.settings.scale:
            self.report.notice('{} is {} x {} already: it is not enlarged'.format(
                self.film.path, *self.film.size))
        if self.settings.box is not None:
            fixed_box(self.settings.box, 1, self.film.size)
        check_choice(self.settings.faces)

    @release_freed_memory
    def _check_muxable(self, target: Path) -> str:
        """Makes a video of the first frame, so that what does not fit together is told before the work.

        Returns the format of its pictures.
        """
        with TemporaryDirectory(dir=self.journal.folder) as folder, closing(self.large.read()) as frames:
            first = next(frames)
            picture = self._storable(first.picture)
            if self.settings.pictures:
                return picture.format.name
            piece, trial = Path(folder, 'first.nut'), Path(folder, f'first{target.suffix}')
            with self._writer(piece) as writer:
                writer.write(picture, first.pts)
            try:
                self.large.join(trial, [piece], self.film.info.start, notice=lambda words: None)
            except MediaError as error:
                raise type(error)(str(error).replace(str(trial), str(target))) from error
            return picture.format.name

    @property
    def _encoder(self) -> str:
        return self.settings.codec or encoder_for(self.film.stored)

    def _writer(self, piece: Path) -> SegmentWriter | ImageWriter:
        settings = self.settings
        if settings.pictures:
            return ImageWriter(self.journal.pictures, [path.stem for path in self.film.pictures])
        return SegmentWriter(piece, self.large.info, settings.crf, settings.preset, self._encoder)

    def _storable(self, picture: VideoFrame) -> VideoFrame:
        """The picture as the writer takes it."""
        if self.settings.pictures:
            return picture
        picture = encodable(picture, self.film.info.depth)
        return picture if self.settings.pix_fmt is None else self._playable(picture)

    @release_freed_memory
    def _found(self) -> Faces:
        """The faces of the film, looked for unless an earlier run found them."""
        found = self.journal.faces
        if found is None:
            self.journal.faces = found = self._find()
        return found

    def _find(self) -> Faces:
        box = self.settings.box
        read = map(_seen, self._read(self.film)) if box is None else self._read(self.film)
        with closing(PrefetchIterator(read, _LEAST_AHEAD)) as ahead:
            frames = counted(ahead, 'finding faces', self._expected(), self.progress)
            if box is not None:
                picture = thumbnail(next(frames).image, box)
                return fixed_box(box, 1 + sum(1 for _ in frames), self.film.size, picture)
            try:
                return follow_faces((frame.image for frame in frames), min_face=self.settings.min_face)
            except NoFace as error:
                raise NoFace(f'{self.film.path}: {error}\nnothing was written') from error

    def _chosen(self, found: Faces) -> Faces:
        return choose(found, self.settings.faces) if self.settings.box is None else found

    def _read(self, film: VideoSource, start: int = 0) -> Iterator[Frame]:
        """The frames to restore, as they are in the film or in the larger one."""
        frames = with_holes_told(film.read(start), film.info, self._target, self._tell_once)
        if self.settings.preview is None:
            return frames
        return takewhile(lambda frame: frame.time < self.settings.preview, frames)

    def _tell_once(self, words: str) -> None:
        if words not in self.report.notices:
            self.report.notice(words)

    def _expected(self) -> int | None:
        """About how many frames there will be."""
        info, preview = self.film.info, self.settings.preview
        return info.frames if None in (preview, info.frames) else min(
            info.frames, round(preview * info.frame_rate))

    def _end(self) -> Fraction | None:
        preview = self.settings.preview
        return None if preview is None else self.film.info.start + Fraction(preview).limit_denominator(1000)

    def _say_where_it_goes_on(self, count: int, left: int) -> None:
        self.report.resumed = count - left
        if left < count:
            self.report.notice(f'going on where an interrupted run stopped: {count - left} of {count} frames '
                               'are done')

    @release_freed_memory
    def _restore(self, story: FaceClipRestorer, todo: list[range], count: int) -> None:
        ahead = min(max(_LEAST_AHEAD, story.restorer.together), _MOST_AHEAD)
        read = (_seen(frame) if story.faces.present(frame.index) else frame
                for frame in self._read(self.large, story.first_needed(todo[0])))
        with closing(PrefetchIterator(read, ahead)) as frames, closing(BackgroundWriter(ahead)) as writing:
            reel = FrameBuffer(frames)
            for part in todo:
                self.journal.finish(part, self._encode(story, reel, part, count, writing))

    @release_freed_memory
    def _encode(
        self, story: FaceClipRestorer, reel: FrameBuffer, part: range, count: int, writing: BackgroundWriter
    ) -> dict[str, Any]:
        """Writes one piece and returns what to note about it."""
        looks: defaultdict[int, FaceNotes] = defaultdict(FaceNotes)

        def seen(face: int, before: np.ndarray, after: np.ndarray) -> None:
            looks[face].add(before, after)

        counts = Counter(dict.fromkeys(COUNTED, 0))
        with self._writer(self.journal.piece(part)) as writer, writing:
            for frame, changes in replace(story, seen=seen).changes(reel, part):
                writing.do(self._write, writer, story, frame, changes, looks)
                counts.update(restored=int(bool(changes)), repeated=int(frame.repeated),
                              shown_again=int(frame.again), left_out=frame.left_out)
                self.progress.step('restoring', frame.index + 1, count)
        return {**counts, 'frames': writer.frames,
                'looks': {face: notes.plain() for face, notes in looks.items()}}

    def _write(self, writer: SegmentWriter | ImageWriter, story: FaceClipRestorer, frame: Frame,
               changes: Sequence[Change], looks: Mapping[int, FaceNotes]) -> None:
        patches = [story.patch(frame, *change) for change in changes]
        for (face, _), patch in zip(changes, patches, strict=True):
            looks[face.id].add_change(patch)
        restored = changed(frame, ((patch.x0, patch.y0, patch.change) for patch in shared(patches)))
        writer.write(self._storable(restored), frame.pts)


def _seen(frame: Frame) -> Frame:
    """The same, with its image made: work that is better done in the thread that decodes."""
    _ = frame.image
    return frame
