"""The steps of a restoration: find faces, select weights, encode segments, mux."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import takewhile
from math import ceil
from pathlib import Path
from typing import Any

from gavn.audio.mfcc import StoredMFCC
from gavn.faces.thumbnail import thumbnail
from gavn.faces.tracker import NoFace, follow_faces
from gavn.faces.tracks import Faces, choose, fixed_box
from gavn.media import Frame, MediaError, VideoReader, missing_numbers
from gavn.restoration.audio_features import extract_features, silent_features
from gavn.restoration.degradation import DegradationEstimate
from gavn.restoration.face_clip import FaceClipRestorer, FrameBuffer
from gavn.restoration.input_notices import encoding_notices, truncation_notice, with_gap_notices
from gavn.restoration.progress import Progress, counted
from gavn.restoration.protocols import VideoRestorer
from gavn.restoration.report import (
    NEGLIGIBLE,
    Notices,
    Report,
    face_facts,
    frame_counts,
    largest_change,
    versions,
    video_facts,
)
from gavn.restoration.resume_state import ResumeState, segments
from gavn.restoration.segment_encoder import SegmentEncoder
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import Choice, estimate_degradation, suggest_scale
from gavn.runtime.memory import release_freed_memory
from gavn.runtime.prefetch import BackgroundWriter, PrefetchIterator

_COPIED = '; the video stream is copied without encoding'
_ANALYSIS = 'analysing faces'  # the name of its progress bar
_MIN_PREFETCH, _MAX_PREFETCH = 4, 32  # frames that are decoded before, and encoded after, restoration

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestorationPlan:
    """What a restoration is going to do."""

    found: Faces  # all faces of the video
    faces: Faces  # the faces to restore
    choice: Choice  # the weights
    about_encoding: Sequence[str]  # notices that apply only if the video is encoded


@dataclass(frozen=True)
class RestorationOutcome:
    """How the target was written."""

    copied: bool  # the video stream was copied, not encoded
    segments: Sequence[dict[str, Any]] = ()  # the notes of the encoded segments
    resumed: int = 0  # frames that an earlier run, or other machines, had finished
    resumed_seconds: float = 0.  # how long they took

    @property
    def change(self) -> float | None:
        """The largest mean change of a face, in grey levels of 255."""
        return largest_change(self.segments)


@dataclass
class RestorationJob:
    """One restoration of a video. Decoding, the network and encoding run in threads of their own."""

    video: VideoReader  # the input
    target: Path  # the output path
    restorer: VideoRestorer  # restores face crops
    settings: Settings  # the user's settings
    state: ResumeState  # stores faces and finished segments
    progress: Progress  # is called for every frame
    in_pieces: bool = False  # the segments of a planned video come from other processes
    on_complete: Callable[[Path], None] | None = None  # see `restore_video`
    notices: Notices = field(default_factory=Notices, init=False)  # messages for the user

    def run(self) -> Report:
        """Restores the video and writes the target; raises as `restore_video`."""
        plan = self.plan()
        if not plan.choice.restores and self._copy_video():
            self.notices.add(f'nothing is restored{_COPIED}')
            outcome = RestorationOutcome(copied=True)
        else:
            outcome = self._restore(plan)
        return self._report(plan, outcome)

    def plan(self) -> RestorationPlan:
        """Finds the faces and selects the weights; the state keeps what they are based on."""
        self._check_settings()
        about_encoding = self._input_notices(self.encoder.check_muxable(self.target))
        found = self._load_or_find_faces()
        if notice := self._truncation_notice(found.count):
            self.notices.add(notice)
        faces = choose(found, self.settings.faces) if self.settings.box is None else found
        return RestorationPlan(found, faces, self._choose_weights(faces), about_encoding)

    def encode(self, piece: range) -> None:
        """Encodes the segments that start in `piece` and are not finished."""
        plan = self.plan()
        self._encode_missing(plan.choice, plan.faces, piece)

    @cached_property
    def output(self) -> VideoReader:
        """The input with frames of the output size."""
        return self.video.enlarged(self.settings.scale)

    @cached_property
    def encoder(self) -> SegmentEncoder:
        """Encodes the output."""
        return SegmentEncoder(self.output, self.settings, self.state)

    def _check_settings(self) -> None:
        """Raises ChoiceError or MediaError for settings that do not suit the video."""
        if self.output is self.video and self.settings.scale:
            self.notices.add('{} is {} x {} already: it is not enlarged'.format(
                self.video.path, *self.video.size))
        if self.settings.box is not None:
            fixed_box(self.settings.box, 1, self.video.size)

    def _input_notices(self, pix_fmt: str) -> list[str]:
        """Adds notices about the input; returns those that apply only if the video is encoded."""
        video, settings = self.video, self.settings
        if video.images and settings.fps is None and (video.audio or not settings.write_images):
            self.notices.add(f'{video.path}: the frame rate is {video.info.frame_rate}; use --fps to change '
                             'it')
        if missing := missing_numbers(video.images):
            self.notices.add(f'{video.path}: gaps in the image numbers are ignored ({missing} missing)')
        if settings.write_images:
            return []
        return list(encoding_notices(video.stored, self.encoder.codec, pix_fmt))

    def _truncation_notice(self, count: int) -> str:
        video, settings = self.video, self.settings
        whole = not video.images and settings.fps is None and settings.preview is None
        return truncation_notice(video.stored, count) if whole else ''

    @release_freed_memory
    def _load_or_find_faces(self) -> Faces:
        """Returns the faces that an earlier run found, or searches them."""
        found = self.state.faces
        if found is None:
            self.state.faces = found = self._find_faces()
        return found

    def _find_faces(self) -> Faces:
        box = self.settings.box
        frames = map(_with_image, self._read(self.video)) if box is None else self._read(self.video)
        with closing(PrefetchIterator(frames, _MIN_PREFETCH)) as prefetched:
            frames = counted(prefetched, 'finding faces', self._expected_frames(), self.progress)
            if box is not None:
                image = thumbnail(next(frames).image, box)
                return fixed_box(box, 1 + sum(1 for _ in frames), self.video.size, image)
            try:
                return follow_faces((frame.image for frame in frames), min_face=self.settings.min_face)
            except NoFace as error:
                raise NoFace(f'{self.video.path}: {error}\nno output was written') from error

    @release_freed_memory
    def _choose_weights(self, faces: Faces) -> Choice:
        choice = self.restorer.choose_weights(partial(self._estimate_degradation, faces),
                                              self.settings.force_task)
        suggestion = '' if self.settings.scale else suggest_scale(faces)
        for message in filter(None, (choice.message, suggestion)):
            self.notices.add(message)
        return choice

    def _estimate_degradation(self, faces: Faces) -> DegradationEstimate:
        if (known := self.state.degradation) is not None:
            return DegradationEstimate(**known)
        with closing(PrefetchIterator(self._read(self.output), _MIN_PREFETCH)) as prefetched:
            frames = counted(prefetched, _ANALYSIS, faces.count, self.progress)
            found = estimate_degradation(frames, faces.enlarged(self.output.size), self.video.size[0])
        self.progress.step(_ANALYSIS, faces.count, faces.count)  # it does not read on after the last sample
        self.state.degradation = asdict(found)
        return found

    def _restore(self, plan: RestorationPlan) -> RestorationOutcome:
        """Encodes the missing segments and writes the target."""
        choice, faces, about_encoding = plan.choice, plan.faces, plan.about_encoding
        choice.restorer.notices.clear()
        for message in about_encoding:
            self.notices.add(message)
        seconds = sum(notes.get('seconds', 0) for notes in self._finished_notes(faces))
        resumed = self._encode_missing(choice, faces, range(faces.count))
        notes = self._finished_notes(faces)
        change = largest_change(notes)
        copied = change is not None and change < NEGLIGIBLE and self._copy_video()
        if copied and about_encoding:
            self.notices[:] = [message for message in self.notices if message not in about_encoding]
            _log.warning('the notices about the output do not apply%s', _COPIED)
        if not copied:
            self._join(segments(faces.count))
        self._result_notices(notes, change, copied)
        self.notices += choice.restorer.notices
        return RestorationOutcome(copied, notes, resumed, seconds)

    def _finished_notes(self, faces: Faces) -> list[dict[str, Any]]:
        return [notes for segment in segments(faces.count)
                if (notes := self.state.notes(segment)) is not None]

    def _result_notices(self, notes: Sequence[dict[str, Any]], change: float | None, copied: bool) -> None:
        if repeated := sum(segment['repeated'] for segment in notes):
            count = sum(segment['frames'] for segment in notes)
            self.notices.add(f'{repeated} of {count} frames cannot be decoded: the previous frame replaces '
                             'each')
        if change is not None and change < NEGLIGIBLE:
            self.notices.add(f'hardly any change: {change:.2f} grey levels inside the faces, which is not '
                             f'visible{_COPIED * copied}')

    def _encode_missing(self, choice: Choice, faces: Faces, piece: range) -> int:
        """Encodes unfinished segments that start in `piece`; returns how many of its frames are finished."""
        faces = replace(faces, faces=faces.faces if choice.restores else ())
        wanted = [segment for segment in segments(faces.count) if segment.start in piece]
        missing = [segment for segment in wanted if self.state.notes(segment) is None]
        with closing(self._audio_features(faces, choice.restorer.uses_audio)) as mfcc_frames:
            clip_restorer = FaceClipRestorer(choice.restorer, mfcc_frames, faces.enlarged(self.output.size),
                                             self.settings.strength)
            done = sum(map(len, wanted)) - sum(map(len, missing))
            if done and (missing or not self.in_pieces):
                self.notices.add(f'resuming an interrupted run: {done} of {faces.count} frames are done')
            if missing:
                self._encode(clip_restorer, missing)
        return done

    @release_freed_memory
    def _audio_features(self, faces: Faces, used: bool) -> StoredMFCC:
        folder, seconds = self.state.folder, self.settings.preview
        if not faces.faces:
            return silent_features(folder)
        return extract_features(self.video, self.notices.add, folder, self.progress, seconds, used)

    @release_freed_memory
    def _encode(self, clip_restorer: FaceClipRestorer, missing: Sequence[range]) -> None:
        faces = clip_restorer.faces
        ahead = min(max(_MIN_PREFETCH, clip_restorer.restorer.chunk_size), _MAX_PREFETCH)
        frames = (_with_image(frame) if faces.present(frame.index) else frame
                  for frame in self._read(self.output, clip_restorer.first_needed(missing[0])))

        def on_frame(frame: Frame) -> None:
            self.progress.step('restoring', frame.index + 1, faces.count)

        with (closing(PrefetchIterator(frames, ahead)) as prefetched,
              closing(BackgroundWriter(ahead)) as background):
            buffer = FrameBuffer(prefetched)
            for segment in missing:
                started = time.monotonic()
                notes = self.encoder.encode(clip_restorer, buffer, segment, background, on_frame)
                self.state.finish(segment, {**notes, 'seconds': round(time.monotonic() - started, 3)})

    def _copy_video(self) -> bool:
        """Copies the video stream to the target; returns False if other frames than the stored are wanted."""
        settings = self.settings
        if settings.preview is not None or settings.write_images or settings.codec or settings.pix_fmt:
            return False
        copied = self.state.folder / f'copied{self.target.suffix}'
        try:
            self.output.copy(copied, self.notices.add)
        except MediaError as error:
            _log.info('%s; the video is encoded', error)
            return False
        self._publish(copied)
        return True

    def _join(self, finished: Sequence[range]) -> None:
        """Muxes the segments, or moves the image folder, to the target."""
        if self.settings.write_images:
            self._publish(self.state.images)
            return
        joined = self.state.folder / f'joined{self.target.suffix}'
        self.output.join(joined, [self.state.segment_path(segment) for segment in finished], self._end(),
                         notice=self.notices.add)
        self._publish(joined)

    def _publish(self, complete: Path) -> None:
        """Gives the complete video or image folder the name of the target."""
        if self.on_complete is not None:
            self.on_complete(complete)
        if self.target.is_dir():
            os.replace(self.target, self.state.folder / 'replaced')
        os.replace(complete, self.target)

    def _report(self, plan: RestorationPlan, outcome: RestorationOutcome) -> Report:
        found, faces, choice = plan.found, plan.faces, plan.choice
        settings = {**self.settings.plain(), 'device': str(self.restorer.device),
                    'dtype': self.restorer.dtype, 'codec': self.encoder.codec}
        return Report(
            str(self.video.path), str(self.target), video_facts(self.video.stored),
            **frame_counts(outcome.segments, faces.count, outcome.copied), resumed=outcome.resumed,
            resumed_seconds=outcome.resumed_seconds,
            degradation=None if choice.degradation is None else asdict(choice.degradation),
            change=outcome.change,
            copied=outcome.copied, cuts=list(found.cuts), coverage=round(found.coverage, 4),
            faces=face_facts(faces, outcome.segments, outcome.copied), settings=settings,
            weights=dict(choice.restorer.weights) if choice.restores else {}, versions=versions(),
            notices=list(self.notices))

    def _read(self, video: VideoReader, start: int = 0) -> Iterator[Frame]:
        """Yields the frames to restore, at the size of `video`."""
        frames = with_gap_notices(video.read(start), video.info, self.target, self.notices.add_once)
        end = self.settings.preview
        return frames if end is None else takewhile(lambda frame: frame.time < end, frames)

    def _expected_frames(self) -> int | None:
        """Returns the approximate number of frames; None if unknown."""
        info, preview = self.video.info, self.settings.preview
        if preview is None or info.frames is None:
            return info.frames
        return min(info.frames, ceil(preview * info.frame_rate - 1e-6))

    def _end(self) -> Fraction | None:
        preview = self.settings.preview
        return None if preview is None else self.video.info.start + Fraction(preview).limit_denominator(1000)


def _with_image(frame: Frame) -> Frame:
    """Returns the frame after converting it to BGR, so that the decoding thread does the conversion."""
    _ = frame.image
    return frame
