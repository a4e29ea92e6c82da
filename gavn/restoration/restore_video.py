"""`restore_video` and `restore_frames`: restore the faces of a video file, or of frames in memory."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from gavn.audio.mfcc import SAMPLE_RATE
from gavn.faces.tracks import FORM, Faces
from gavn.media import VideoReader
from gavn.restoration.job import RestorationJob, RestorationPlan
from gavn.restoration.output_path import OutputPathError, check_output_path
from gavn.restoration.progress import Progress, SilentProgress
from gavn.restoration.protocols import Channels, VideoRestorer
from gavn.restoration.report import Report, versions
from gavn.restoration.restorer_spec import RestorerSpec, build_restorer
from gavn.restoration.resume_state import ResumeState, ResumeStateError
from gavn.restoration.settings import Settings
from gavn.runtime.files import fingerprint

PathLike = str | os.PathLike[str]


def restore_video(source: PathLike, target: PathLike, restorer: VideoRestorer | str | None = None,
                  settings: Settings | None = None, overwrite: bool = False, resume: bool = True,
                  progress: Progress | None = None, found: Faces | None = None,
                  on_complete: Callable[[Path], None] | None = None) -> Report:
    """Restores the faces in a video, and reports what was done.

    Every frame is written once, at its own time stamp and size. Audio and subtitle packets are copied. Each
    face is cropped, restored, and the change is added inside a soft oval around the face; all other pixels
    go to the encoder as decoded. If nothing is restored, or the change is smaller than encoding noise, the
    video stream is copied without encoding. The target appears when it is complete, or not at all.

    An interrupted run leaves a folder `<target>.gavn` with its finished segments. Call the function again
    to resume; the resulting file is the same as without the interruption.

    Args:
        source: a video file, or a folder of images of one size, ordered by the numbers in their names.
        target: the file to write; its extension selects the container (.mp4, .mkv, .mov). With the setting
            `write_images`, the folder for one PNG per image, with the bit depth and channels of the input.
        restorer: a restorer, or the name of pretrained weights. None or `auto` selects the weights by the
            degradation of the faces.
        settings: what to restore, how much, and how to encode.
        overwrite: whether an existing target may be replaced. The source is never replaced.
        resume: whether to resume an interrupted run.
        progress: is called for every frame; an exception from it interrupts the run.
        found: the faces to restore; None detects them.
        on_complete: is called with the complete video, or image folder, before it takes the name of the
            target. An exception from it interrupts the run, and the next run resumes.

    Raises:
        OutputPathError: the target cannot be used; raised before any work.
        MediaError: the source cannot be read.
        NoFace: no face was found.
        ChoiceError: the selected faces do not exist.
        TaskError: the weights are certainly for another kind of degradation.
        ModelError: no pretrained weights have this name.
        RestoreError: the network fails.
        DiskError: the disk is full or fails (an OSError).
    """
    settings, restorer = settings or Settings(), _restorer(restorer)
    source, target, started = Path(source), Path(target), time.monotonic()
    check_output_path(source, target, overwrite, settings.write_images)
    with _opened(source, target, restorer, settings, found, resume, progress=progress) as job:
        job.on_complete = on_complete
        report = job.run()
    return replace(report, seconds=time.monotonic() - started)


def join_pieces(source: Path, target: Path, restorer: VideoRestorer, settings: Settings) -> Report:
    """Writes the target of a planned video from its pieces; restores what they lack. See `restore_video`."""
    started = time.monotonic()
    check_output_path(source, target)
    with _opened(source, target, restorer, settings) as job:
        job.in_pieces = True
        report = job.run()
    return replace(report, seconds=time.monotonic() - started)


def plan_video(source: Path, target: Path, restorer: VideoRestorer, settings: Settings) -> RestorationPlan:
    """Finds the faces of a video and selects the weights, for machines that restore pieces of it.

    The folder `<target>.gavn` keeps both for `restore_piece`; `join_pieces` then writes the target from the
    finished segments. Raises as `restore_video`.
    """
    check_output_path(source, target)
    with _opened(source, target, restorer, settings, keep=True) as job:
        return job.plan()


def restore_piece(source: Path, target: Path, restorer: VideoRestorer, settings: Settings, piece: range
                  ) -> None:
    """Encodes the segments of a planned video that start in a range of frames, unless they are finished.

    Several processes may restore pieces of one video at the same time. The segments have the same bytes as
    those of `restore_video`.

    Raises:
        ResumeStateError: `plan_video` did not run with this source, these settings, weights, versions and
            kind of device.
    """
    video = VideoReader.from_path(source, settings.fps, settings.audio)
    state = ResumeState.open_shared(target, _job_key(video, restorer, settings, None))
    RestorationJob(video, target, restorer, settings, state, SilentProgress()).encode(piece)


def _restorer(given: VideoRestorer | str | None) -> VideoRestorer:
    return build_restorer(RestorerSpec(given or 'auto')) if given is None or isinstance(given, str) else given


@contextmanager
def _opened(source: Path, target: Path, restorer: VideoRestorer, settings: Settings,
            found: Faces | None = None, resume: bool = True, keep: bool = False,
            progress: Progress | None = None) -> Iterator[RestorationJob]:
    video = VideoReader.from_path(source, settings.fps, settings.audio)
    if settings.write_images:
        _check_image_names(video)
    try:
        with ResumeState.opened(target, _job_key(video, restorer, settings, found), resume, keep) as state:
            if found is not None:
                state.faces = found
            yield RestorationJob(video, target, restorer, settings, state, progress or SilentProgress())
    except ResumeStateError as error:
        raise OutputPathError(str(error)) from error


def restore_frames(frames: Iterable[np.ndarray], fps: float | Fraction, audio: np.ndarray | None = None,
                   restorer: VideoRestorer | str | None = None, *, channels: Channels = 'rgb',
                   sample_rate: int = SAMPLE_RATE, settings: Settings | None = None) -> list[np.ndarray]:
    """Restores the faces in consecutive frames of a video, in memory.

    Args:
        frames: uint8 (h, w, 3) of equal size, or an array (n, h, w, 3).
        fps: frames per second; aligns the audio with the frames.
        audio: mono samples (n,) from the first frame on, int16 or floats in [-1, 1]; None = silence.
        restorer: see `restore_video`.
        channels: order in the frames and in the result: `rgb` (PIL, torchvision) or `bgr` (OpenCV).
        sample_rate: of `audio`, in Hz.
        settings: faces, strength and scale (which enlarges the frames); other settings are ignored.

    Returns:
        As many frames. Pixels outside the faces do not change, unless the frames are enlarged.

    Raises:
        ArgumentError: frames or audio have another type or shape, or another argument is out of range.
        NoFace, ChoiceError, TaskError, RestoreError: see `restore_video`.
    """
    return _restorer(restorer).restore_frames(frames, fps, audio, channels=channels, sample_rate=sample_rate,
                                              settings=settings)


def _check_image_names(video: VideoReader) -> None:
    """Raises OutputPathError if the input is no image folder, or two images would get the same name."""
    if not video.images:
        raise OutputPathError(f'{video.path} is a video, but images were requested\n'
                              'write a video, or use an image folder as input')
    names: dict[str, Path] = {}
    for path in video.images:
        if names.setdefault(path.stem, path) != path:
            raise OutputPathError(f'{names[path.stem]} and {path.name} would both become {path.stem}.png\n'
                                  'rename one of them')


def _job_key(video: VideoReader, restorer: VideoRestorer, settings: Settings, found: Faces | None
             ) -> dict[str, Any]:
    """Returns what a resumed run must have in common: faces depend on 'search', segments on everything."""
    return {'search': {'frames': video.digest(), 'settings': settings.of_search(), 'versions': versions(),
                       'form': FORM, 'found': found and sha256(found.to_json().encode()).hexdigest()},
            'audio': video.audio and fingerprint(video.audio),
            'weights': sorted(restorer.weights.values()), 'dtype': restorer.dtype,
            'device': str(restorer.device).partition(':')[0], 'batch': restorer.batch,
            'compile': restorer.compile, 'settings': settings.plain()}
