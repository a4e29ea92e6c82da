"""The steps of restoring a video: its faces, its sound, the picture piece by piece, then all together."""
from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from av import VideoFrame

from gavn.pipeline.automatic import NEEDS_LOSSLESS, Automatic, look_at, name_for
from gavn.pipeline.face_tracker import NoFace, follow_faces
from gavn.pipeline.face_tracks import Faces, check_choice, choose, fixed_box
from gavn.pipeline.film import Film
from gavn.pipeline.hearing import listen, silence
from gavn.pipeline.journal import Journal, parts
from gavn.pipeline.progress import Progress, counted
from gavn.pipeline.report import Looks, Report, faces_in_words, film_in_words
from gavn.pipeline.restorer import Restorer
from gavn.pipeline.settings import Settings
from gavn.pipeline.story import Change, Reel, Story
from gavn.pipeline.unusual import encoder_for, unusual, with_holes_told
from gavn.utils.audio import StoredCepstra
from gavn.utils.faces import shared
from gavn.utils.media import (
    Frame,
    MediaError,
    PictureWriter,
    PieceWriter,
    Playable,
    changed,
    encodable,
    missing_numbers,
)
from gavn.utils.memory import giving_back
from gavn.utils.overlap import Ahead, Behind

_LEAST_AHEAD, _MOST_AHEAD = 4, 32  # frames that are decoded before, and encoded after, those being restored


@dataclass
class Restoration:
    """One restoration: faces, sound, then the video piece by piece, then all of it together.

    Decoding, the networks and encoding have threads of their own.
    """

    film: Film
    restorer: Restorer | Automatic
    settings: Settings
    journal: Journal
    report: Report
    progress: Progress
    _playable: Playable = field(default_factory=Playable, init=False)
    _target: Path = field(default=Path(), init=False)

    def go(self, target: Path) -> None:
        """Writes the target."""
        self._check_choices()
        self._target = target
        self._describe(self._rehearse(target))
        found = self._found()
        self.report.cuts, self.report.coverage = list(found.cuts), round(found.coverage, 4)
        faces = self._chosen(found)
        restorer, damaged = self._suited(faces)
        restorer.notices.clear()
        with closing(self._heard(damaged)) as cepstra:
            story = Story(restorer, cepstra, damaged, self.settings.strength)
            todo = [part for part in parts(faces.count) if self.journal.notes(part) is None]
            self._say_where_it_goes_on(faces.count, sum(map(len, todo)))
            if todo:
                self._restore(story, todo, faces.count)
        self._join(target, parts(faces.count))
        self._tell(faces)
        self.report.notices += restorer.notices

    @giving_back
    def _suited(self, faces: Faces) -> tuple[Restorer, Faces]:
        """The networks for the faces, and those of the faces that need them."""
        if not isinstance(self.restorer, Automatic):
            return self.restorer, faces
        with closing(Ahead(self._read(), _LEAST_AHEAD)) as read:
            damage = look_at(counted(read, 'looking at faces', faces.count, self.progress), faces)
        name, report = name_for(damage, self.film.lossless), self.report
        restorer, report.damage = self.restorer.named(name), asdict(damage)
        if damage.kind != 'clean':
            report.weights = dict(restorer.weights)
            codec = ', in what a codec left' if damage.kind in NEEDS_LOSSLESS and name != damage.kind else ''
            report.notice(f'found in the faces: {damage.in_words()}{codec}; restored with the weights {name}')
            return restorer, faces
        report.weights = {}
        report.notice(f'found in the faces: {damage.in_words()}; they stay as they are\n'
                      '(--task mixed restores them all the same)')
        return restorer, replace(faces, faces=())

    @giving_back
    def _heard(self, faces: Faces) -> StoredCepstra:
        """What the networks hear while they restore faces."""
        folder = self.journal.folder
        return listen(self.film, self.report, folder, self.progress) if faces.faces else silence(folder)

    def _join(self, target: Path, done: Sequence[range]) -> None:
        if self.settings.pictures:
            if target.is_dir():
                os.replace(target, self.journal.folder / 'replaced')
            os.replace(self.journal.pictures, target)
            return
        joined = self.journal.folder / f'joined{target.suffix}'
        self.film.join(joined, [self.journal.piece(part) for part in done], self._end(),
                       notice=self.report.notice)
        os.replace(joined, target)

    def _describe(self, pix_fmt: str) -> None:
        """Tells the report of the film, and the user of what is unusual about it."""
        film, report = self.film, self.report
        report.input = film_in_words(film.stored)
        report.settings['codec'] = self._encoder
        for words in unusual(film.stored, self._encoder, pix_fmt):
            report.notice(words)
        if film.pictures and self.settings.fps is None and (film.sound or not self.settings.pictures):
            report.notice(f'{film.path}: {film.info.frame_rate} frames a second, unless --fps says otherwise')
        if missing := missing_numbers(film.pictures):
            report.notice(f'{film.path}: {missing} numbers have no picture; nothing is put in their place')

    def _check_choices(self) -> None:
        """Raises ChoiceError for what can be known to be wrong before the video is read."""
        if self.settings.box is not None:
            fixed_box(self.settings.box, 1, self._size)
        check_choice(self.settings.faces)

    @property
    def _size(self) -> tuple[int, int]:
        return self.film.info.width, self.film.info.height

    @giving_back
    def _rehearse(self, target: Path) -> str:
        """Makes a video of the first frame, so that what does not fit together is told before the work.

        Returns the format of its pictures.
        """
        with TemporaryDirectory(dir=self.journal.folder) as folder, closing(self.film.read()) as frames:
            first = next(frames)
            picture = self._storable(first.picture)
            if self.settings.pictures:
                return picture.format.name
            piece, trial = Path(folder, 'first.nut'), Path(folder, f'first{target.suffix}')
            with self._writer(piece) as writer:
                writer.write(picture, first.pts)
            try:
                self.film.join(trial, [piece], self.film.info.start, notice=lambda words: None)
            except MediaError as error:
                raise type(error)(str(error).replace(str(trial), str(target))) from error
            return picture.format.name

    @property
    def _encoder(self) -> str:
        return self.settings.codec or encoder_for(self.film.stored)

    def _writer(self, piece: Path) -> PieceWriter | PictureWriter:
        settings = self.settings
        if settings.pictures:
            return PictureWriter(self.journal.pictures, [path.stem for path in self.film.pictures])
        return PieceWriter(piece, self.film.info, settings.crf, settings.preset, self._encoder)

    def _storable(self, picture: VideoFrame) -> VideoFrame:
        """The picture as the writer takes it."""
        if self.settings.pictures:
            return picture
        picture = encodable(picture, self.film.info.depth)
        return picture if self.settings.pix_fmt is None else self._playable(picture)

    @giving_back
    def _found(self) -> Faces:
        """The faces of the film, looked for unless an earlier run found them."""
        found = self.journal.faces
        if found is None:
            self.journal.faces = found = self._find()
        return found

    def _find(self) -> Faces:
        box = self.settings.box
        read = map(_seen, self._read()) if box is None else self._read()
        with closing(Ahead(read, _LEAST_AHEAD)) as ahead:
            frames = counted(ahead, 'finding faces', self._expected(), self.progress)
            if box is not None:
                return fixed_box(box, sum(1 for _ in frames), self._size)
            try:
                return follow_faces((frame.image for frame in frames), min_face=self.settings.min_face)
            except NoFace as error:
                raise NoFace(f'{self.film.path}: {error}\nnothing was written') from error

    def _chosen(self, found: Faces) -> Faces:
        return choose(found, self.settings.faces) if self.settings.box is None else found

    def _read(self, start: int = 0) -> Iterator[Frame]:
        """The frames to restore."""
        frames = with_holes_told(self.film.read(start), self.film.info, self._target, self._tell_once)
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

    @giving_back
    def _restore(self, story: Story, todo: list[range], count: int) -> None:
        ahead = min(max(_LEAST_AHEAD, story.restorer.together), _MOST_AHEAD)
        read = (_seen(frame) if story.faces.present(frame.index) else frame
                for frame in self._read(story.first_needed(todo[0])))
        with closing(Ahead(read, ahead)) as frames, closing(Behind(ahead)) as writing:
            reel = Reel(frames)
            for part in todo:
                self.journal.finish(part, self._encode(story, reel, part, count, writing))

    @giving_back
    def _encode(self, story: Story, reel: Reel, part: range, count: int, writing: Behind) -> dict[str, Any]:
        """Writes one piece and returns what to note about it."""
        looks: defaultdict[int, tuple[Looks, Looks]] = defaultdict(lambda: (Looks(), Looks()))

        def seen(face: int, before: np.ndarray, after: np.ndarray) -> None:
            for look, image in zip(looks[face], (before, after), strict=True):
                look.add(image)

        counts = Counter(restored=0, repeated=0, shown_again=0, left_out=0)
        with self._writer(self.journal.piece(part)) as writer, writing:
            for frame, changes in replace(story, seen=seen).changes(reel, part):
                writing.do(self._write, writer, story, frame, changes)
                counts.update(restored=int(bool(changes)), repeated=int(frame.repeated),
                              shown_again=int(frame.again), left_out=frame.left_out)
                self.progress.step('restoring', frame.index + 1, count)
        return {**counts, 'frames': writer.frames,
                'looks': {face: {'before': before.notes(), 'after': after.notes()}
                          for face, (before, after) in looks.items()}}

    def _write(self, writer: PieceWriter | PictureWriter, story: Story, frame: Frame,
               changes: Sequence[Change]) -> None:
        patches = shared([story.patch(frame, *change) for change in changes])
        restored = changed(frame, ((patch.x0, patch.y0, patch.change) for patch in patches))
        writer.write(self._storable(restored), frame.pts)

    def _tell(self, faces: Faces) -> None:
        report, looks = self.report, defaultdict(list)
        for part in parts(faces.count):
            notes = self.journal.notes(part)
            report.frames_out += notes['frames']
            report.restored += notes['restored']
            report.repeated += notes['repeated']
            report.shown_again += notes['shown_again']
            report.left_out += notes['left_out']
            for face, look in notes['looks'].items():
                looks[face].append(look)
        report.frames_in = report.frames_out - report.shown_again + report.left_out
        report.passed_through = report.frames_out - report.restored
        report.faces = faces_in_words(faces, looks)
        if report.repeated:
            report.notice(f'{report.repeated} frames could not be decoded: the one before is repeated in '
                          'their place')


def _seen(frame: Frame) -> Frame:
    """The same, with its image made: work that is better done in the thread that decodes."""
    _ = frame.image
    return frame
