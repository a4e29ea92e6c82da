"""The state that an interrupted restoration leaves beside its target, so that it can be resumed."""
from __future__ import annotations

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
from gavn.runtime.files import is_full, write_text

_log = logging.getLogger(__name__)

SEGMENT_FRAMES = 250  # frames that are encoded together; an interruption loses at most these
_KEY, _FACES, _LOCK, _IMAGES = 'job.json', 'faces.json', 'lock', 'images'
_DEGRADATION = 'degradation.json'


class ResumeStateError(GavnError):
    """The state folder is something else, or another process uses it."""


class InUseError(ResumeStateError):
    """Another process uses the state folder."""


class DiskError(GavnError, OSError):
    """The disk is full or fails during the work; the message says what is kept."""


class ResumeState:
    """The folder `<target>.gavn`: faces, their degradation, and the segments that are encoded.

    Each file is complete or absent. The state is valid only for the same job key: the content of the source,
    the weights and all settings. Faces stay valid as long as the entry 'search' of the key is the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def opened(cls, target: Path, job: Mapping[str, Any], resume: bool = True, keep: bool = False
               ) -> Iterator[ResumeState]:
        """Opens the state of a job; a context manager. The state of another job is removed.

        The folder is removed at the end of the block unless `keep`. It is kept if an exception leaves the
        block and there are finished segments, or if it is a ChoiceError and there are faces to choose from.

        Args:
            resume: whether to use the state of an earlier run.
            keep: whether the folder stays for `open_shared`.

        Raises:
            ResumeStateError: the folder is something else.
            InUseError: another process uses it.
            KeyboardInterrupt: the block was interrupted; the message says what is kept.
            DiskError: the block raised an OSError; the message says what is kept.
        """
        state = cls(beside(target, '.gavn'))
        state._check_folder()
        with state._locked(target):
            state._prepare(json.loads(json.dumps(job)), resume)
            try:
                yield state
            except KeyboardInterrupt as error:
                raise KeyboardInterrupt(f'interrupted: {state._clean_up(keep_faces=True)}') from error
            except ChoiceError as error:
                state._clean_up(keep_faces=True)
                raise type(error)(f'{error}{state._faces_notice()}') from error
            except OSError as error:
                message = _describe(error, target) + state._clean_up(keep_faces=True)
                raise DiskError(message) from error
            except BaseException:
                message = state._clean_up()
                if state.folder.exists():
                    _log.warning(message)
                raise
            if not keep:
                state.remove()

    @classmethod
    def open_shared(cls, target: Path, job: Mapping[str, Any]) -> ResumeState:
        """Returns the state that was kept for a job, for several processes that encode different segments.

        Raises:
            ResumeStateError: there is none, or it is of another job.
        """
        state = cls(beside(target, '.gavn'))
        if (key := state._key()) != json.loads(json.dumps(job)):
            differing = ', '.join(sorted(name for name in job if key.get(name) != job[name]))
            raise ResumeStateError(f'{state.folder} is of a run with another {differing}\n'
                                   'all machines need the same versions, weights and kind of device')
        return state

    @contextmanager
    def _locked(self, target: Path) -> Iterator[None]:
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InUseError(f'another process is writing {target}\n'
                             'wait for it, or use another output path') from error
        try:
            yield
        finally:
            lock.release()
            with suppress(OSError):  # Windows removes no open file: `remove` had to leave it
                self.folder.rmdir()

    def _clean_up(self, keep_faces: bool = False) -> str:
        """Removes the state if there are no finished segments (or faces); returns a message about it."""
        finished = any(self.folder.glob('[0-9]*.json')) or (keep_faces and (self.folder / _FACES).is_file())
        if not finished:
            self.remove()
            return 'no files are left behind'
        return f'finished work is kept in {self.folder}; rerun the same command to resume'

    def _faces_notice(self) -> str:
        found = (self.folder / _FACES).is_file()
        return f'\nthe faces are kept in {self.folder}: the next run does not search again' if found else ''

    def _check_folder(self) -> None:
        content = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        if content and not content & {_LOCK, _KEY}:  # Windows removes released locks
            raise ResumeStateError(f'{self.folder} exists and is not the state of an interrupted run\n'
                                   'rename it, or use another output path')

    def _prepare(self, job: Mapping[str, Any], resume: bool) -> None:
        """Removes what does not belong to the job, and writes its key."""
        before = self._key() if resume else {}
        segments = any(self.folder.glob('[0-9]*.nut')) or self.images.is_dir()
        same_job, same_search = before == job, before.get('search') == job.get('search')
        if segments and not same_job:
            _log.warning('%s is of a run with other settings or input: the run starts again', self.folder)
        kept = {_LOCK, *([_FACES] if before and same_search else [])}
        for path in list(self.folder.iterdir()):
            finished = path == self.images or (path.is_file() and not path.name.startswith('.'))
            if path.name not in kept and not (same_job and finished):
                _remove(path)
        if same_job:
            return
        write_text(self.folder / _KEY, json.dumps(job, indent=1) + '\n')

    def _key(self) -> dict[str, Any]:
        """Returns the stored job key; {} if there is none."""
        return _read_json(self.folder / _KEY) or {}

    @property
    def faces(self) -> Faces | None:
        """The faces that were found; None before the search."""
        path = self.folder / _FACES
        return Faces.from_json(path.read_text(encoding='utf-8')) if path.is_file() else None

    @faces.setter
    def faces(self, found: Faces) -> None:
        write_text(self.folder / _FACES, found.to_json())

    @property
    def degradation(self) -> dict[str, Any] | None:
        """The estimated degradation of the faces, as JSON values; None before the estimate."""
        return _read_json(self.folder / _DEGRADATION)

    @degradation.setter
    def degradation(self, found: Mapping[str, Any]) -> None:
        write_text(self.folder / _DEGRADATION, json.dumps(found))

    def segment_path(self, segment: range) -> Path:
        """Returns the path of the encoded frames of `segment`."""
        return self.folder / f'{segment.start:09d}.nut'

    @property
    def images(self) -> Path:
        """The folder of finished images if images are written, not a video."""
        return self.folder / _IMAGES

    def notes(self, segment: range) -> dict[str, Any] | None:
        """Returns the notes about a finished segment; None if it is not finished."""
        return _read_json(self.segment_path(segment).with_suffix('.json'))

    def finish(self, segment: range, notes: Mapping[str, Any]) -> None:
        """Marks a written segment as finished and stores its notes."""
        write_text(self.segment_path(segment).with_suffix('.json'), json.dumps(notes))

    def remove(self) -> None:
        """Removes the folder."""
        for path in list(self.folder.iterdir()):
            if path.name != _LOCK:
                _remove(path)
        with suppress(PermissionError):
            (self.folder / _LOCK).unlink(missing_ok=True)
            self.folder.rmdir()


def _read_json(path: Path) -> dict[str, Any] | None:
    """Returns the content of a file; None if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def _describe(error: OSError, target: Path) -> str:
    if is_full(error):
        return f'no space left on the disk of {target} ({error.strerror})\nfree some space; '
    return f'{target} cannot be written: {error}\n'


def segments(count: int) -> list[range]:
    """Returns the frame ranges of the segments of a video with `count` frames."""
    return [range(start, min(start + SEGMENT_FRAMES, count)) for start in range(0, count, SEGMENT_FRAMES)]


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
