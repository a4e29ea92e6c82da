"""What an interrupted restoration leaves beside its target, so that the same command goes on."""
from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gavn.errors import GavnError
from gavn.faces.tracks import ChoiceError, Faces
from gavn.runtime.file_names import beside
from gavn.runtime.files import atomic_path

_log = logging.getLogger(__name__)

PIECE = 250  # frames that are encoded together; what an interruption can cost
_KEY, _FACES, _LOCK, _PICTURES = 'job.json', 'faces.json', 'lock', 'pictures'


class ResumeStateError(GavnError):
    """A folder that is in the way, or a restoration that another process is at."""


class Stopped(GavnError, OSError):  # noqa: N818
    """A disk that is full, or fails, in the midst of the work; says what is kept."""


class ResumeState:
    """The folder `<target>.gavn`: the faces that were found, and the pieces that are encoded.

    Each file is whole or absent. They count only for the same job, the dictionary that `opened` is given: the
    contents of the source, the weights and all settings. What decides which faces are found stands under
    'search' in it: these count as long as that stays the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def opened(cls, target: Path, job: Mapping[str, Any], resume: bool = True) -> Iterator[ResumeState]:
        """The journal of a job, emptied where it belongs to another job.

        The folder is gone when the block is left, unless it is left by an error or an interruption and holds
        finished pieces, or by a ChoiceError and holds faces to choose from. Raises JournalError if it is not
        a journal, or in use; KeyboardInterrupt says what is kept, and so does Stopped, for any OSError.
        """
        journal = cls(beside(target, '.gavn'))
        journal._refuse_strangers()
        with journal._locked(target):
            journal._take(json.loads(json.dumps(job)), resume)
            try:
                yield journal
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(f'interrupted: {journal._left(faces_too=True)}') from stop
            except ChoiceError as error:
                journal._left(faces_too=True)
                raise type(error)(f'{error}{journal._search_kept()}') from error
            except OSError as error:
                raise Stopped(_in_words(error, target) + journal._left(faces_too=True)) from error
            except BaseException:
                left = journal._left()
                if journal.folder.exists():
                    _log.warning(left)
                raise
            journal.remove()

    @contextmanager
    def _locked(self, target: Path) -> Iterator[None]:
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ResumeStateError(f'{target} is being made by another process\n'
                               'wait for it, or choose another output') from error
        try:
            yield
        finally:
            lock.release()
            with suppress(OSError):  # Windows removes nothing that is open: what `remove` had to leave
                self.folder.rmdir()

    def _left(self, faces_too: bool = False) -> str:
        """Removes a journal without finished pieces (or faces, if these count); in words, what is left."""
        finished = any(self.folder.glob('[0-9]*.json')) or (faces_too and (self.folder / _FACES).is_file())
        if not finished:
            self.remove()
            return 'nothing is left behind'
        return f'what is done is kept in {self.folder}, the same command goes on from there'

    def _search_kept(self) -> str:
        there = (self.folder / _FACES).is_file()
        return f'\nthe search is kept in {self.folder}: the next choice is quick' if there else ''

    def _refuse_strangers(self) -> None:
        inside = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        if inside and not inside & {_LOCK, _KEY}:  # Windows removes locks that are let go
            raise ResumeStateError(f'{self.folder} is in the way: it is not what an interrupted run leaves\n'
                               'rename it, or choose another output')

    def _take(self, job: Mapping[str, Any], resume: bool) -> None:
        key = self.folder / _KEY
        before = json.loads(key.read_text(encoding='utf-8')) if key.is_file() and resume else {}
        pieces = any(self.folder.glob('[0-9]*.nut')) or self.pictures.is_dir()
        same, searched = before == job and pieces, before.get('search') == job.get('search')
        if pieces and not same:
            _log.warning('%s is of another job, with other settings or contents: it begins anew', self.folder)
        kept = {_LOCK, *([_FACES] if before and searched else [])}
        for path in list(self.folder.iterdir()):
            finished = path == self.pictures or (path.is_file() and not path.name.startswith('.'))
            if path.name not in kept and not (same and finished):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if same:
            return
        with atomic_path(key) as part:
            part.write_text(json.dumps(job, indent=1) + '\n', encoding='utf-8')

    @property
    def faces(self) -> Faces | None:
        """The faces that were found, None where they are yet to be looked for."""
        path = self.folder / _FACES
        return Faces.from_json(path.read_text(encoding='utf-8')) if path.is_file() else None

    @faces.setter
    def faces(self, found: Faces) -> None:
        with atomic_path(self.folder / _FACES) as part:
            part.write_text(found.to_json(), encoding='utf-8')

    def piece(self, part: range) -> Path:
        """Where the frames of `part` are, or will be, encoded."""
        return self.folder / f'{part.start:09d}.nut'

    @property
    def pictures(self) -> Path:
        """The folder of the pictures that are finished, where these are to be written in place of a video."""
        return self.folder / _PICTURES

    def notes(self, part: range) -> dict[str, Any] | None:
        """What was noted about a finished piece; None if it is not finished."""
        path = self.piece(part).with_suffix('.json')
        return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None

    def finish(self, part: range, notes: Mapping[str, Any]) -> None:
        """Marks a piece, which must be written, as finished."""
        with atomic_path(self.piece(part).with_suffix('.json')) as path:
            path.write_text(json.dumps(notes), encoding='utf-8')

    def remove(self) -> None:
        """Takes the folder away, when the target is complete."""
        for path in list(self.folder.iterdir()):
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(PermissionError):
            (self.folder / _LOCK).unlink(missing_ok=True)
            self.folder.rmdir()


def _in_words(error: OSError, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'no space is left on the disk of {target}\nmake room; '
    return f'{target} cannot be made: {error}\n'


def parts(count: int) -> list[range]:
    """The frames of a video, piece by piece."""
    return [range(start, min(start + PIECE, count)) for start in range(0, count, PIECE)]
