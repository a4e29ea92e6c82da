"""A talking-face video in, the same video with better faces out; nothing else about it changes."""
from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from gavn.faces.tracks import FORM, Faces
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.job import RestorationJob
from gavn.restoration.output_path import OutputPathError, check_target
from gavn.restoration.progress import Progress, SilentProgress
from gavn.restoration.protocols import VideoRestorer
from gavn.restoration.report import Report, versions
from gavn.restoration.resume_state import ResumeState, ResumeStateError
from gavn.restoration.settings import Settings
from gavn.restoration.video_source import VideoSource
from gavn.runtime.files import fingerprint

PathLike = str | os.PathLike[str]


def restore_video(source: PathLike, target: PathLike, restorer: VideoRestorer | None = None,
                  settings: Settings | None = None, overwrite: bool = False, resume: bool = True,
                  progress: Progress | None = None, found: Faces | None = None) -> Report:
    """Restores the faces in a video, in memory that does not grow with its length.

    What is kept of the whole length are the places of the faces, 32 bytes each, and libavformat's index of an
    .mp4 file; what the networks hear waits in a file, 5 kB a second.
    Every frame is written once, at its own time stamp and size; sound and subtitles are copied packet by
    packet. Each face is cropped, restored, and its change added back through a soft oval around the face: all
    that lies outside, and frames without a face, go to the encoder as they were decoded. Where nothing is
    restored, or the change is less than an encoder's, the video is copied, and not encoded again. The target
    appears when it is complete, or not at all.

    A run that was interrupted leaves a folder `<target>.gavn` with its finished pieces; the same call goes on
    from there, and ends with the same file as a run that was not.

    Args:
        source: a video file, or a folder of pictures of one size, in the order of their numbers.
        target: the file to write; its ending chooses the container (.mp4, .mkv, .mov). With the setting
            `pictures` a folder, which then holds a PNG of each picture, of as many bits and channels; pixels
            that are not restored are equal bit by bit.
        restorer: networks with their weights; by default those that come with gavn, chosen by the damage of
            the faces.
        settings: what to restore, how much, and how to encode.
        overwrite: whether an existing target may be replaced; never the source.
        resume: whether to go on from what an interrupted run left.
        progress: is told of every frame; what it raises interrupts.
        found: the faces of the frames that are to be restored, in place of looking for them.

    Raises TargetError before any work if the target cannot be used, MediaError for a source that cannot be
    read, NoFace if none is found, RestoreError if the network fails, ChoiceError for faces that
    are not there, TaskError for weights that are certainly for another damage, Stopped (an OSError) for a
    disk that is full or fails.
    """
    settings, restorer = settings or Settings(), restorer or AutoRestorer()
    source, target, started = Path(source), Path(target), time.monotonic()
    check_target(source, target, overwrite, settings.pictures)
    means = {'device': str(restorer.device), 'dtype': restorer.dtype}
    report = Report(str(source), str(target), settings={**settings.plain(), **means},
                    weights=dict(restorer.weights), versions=versions())
    film = VideoSource.of(source, settings.fps, settings.audio)
    if settings.pictures:
        _check_names(film)
    try:
        with ResumeState.opened(target, _job(film, restorer, settings, found), resume) as journal:
            if found is not None:
                journal.faces = found
            RestorationJob(film, restorer, settings, journal, report, progress or SilentProgress()).go(target)
    except ResumeStateError as error:
        raise OutputPathError(str(error)) from error
    report.seconds = time.monotonic() - started
    return report


def _check_names(film: VideoSource) -> None:
    """Raises TargetError where no PNG can have the name of its picture."""
    if not film.pictures:
        raise OutputPathError(f'{film.path} is a video, but pictures are to be written\n'
                          'write a video, or give a folder of pictures')
    once: dict[str, Path] = {}
    for path in film.pictures:
        if once.setdefault(path.stem, path) != path:
            raise OutputPathError(f'{once[path.stem]} and {path.name} would both become {path.stem}.png\n'
                              'rename one of them')


def _job(film: VideoSource, restorer: VideoRestorer, settings: Settings, found: Faces | None
         ) -> dict[str, Any]:
    """What the contents of a journal depend on: the faces on 'search' alone, the pieces on all of it."""
    return {'search': {'frames': film.digest(), 'settings': settings.of_search(), 'versions': versions(),
                       'form': FORM, 'found': found and sha256(found.to_json().encode()).hexdigest()},
            'sound': film.sound and fingerprint(film.sound),
            'weights': sorted(restorer.weights.values()), 'dtype': restorer.dtype,
            'device': str(restorer.device).partition(':')[0], 'batch': restorer.batch,
            'compile': restorer.compile, 'settings': settings.plain()}
