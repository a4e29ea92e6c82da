"""Encoding of restored frames into segments."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from av import VideoFrame

from gavn.faces.geometry import divide_overlaps
from gavn.media import (
    Frame,
    ImageWriter,
    MediaError,
    Playable,
    SegmentWriter,
    VideoReader,
    changed,
    encodable,
)
from gavn.restoration.face_clip import Change, FaceClipRestorer, FrameBuffer
from gavn.restoration.input_notices import default_encoder
from gavn.restoration.report import COUNTED, FaceNotes
from gavn.restoration.resume_state import ResumeState
from gavn.restoration.settings import Settings
from gavn.runtime.memory import release_freed_memory
from gavn.runtime.prefetch import BackgroundWriter


@dataclass
class SegmentEncoder:
    """Encodes segments of a video, or writes its images."""

    video: VideoReader  # the video, enlarged if that is requested
    settings: Settings  # codec, quality and pixel format
    state: ResumeState  # where segments are stored
    _playable: Playable = field(default_factory=Playable, init=False)

    @property
    def codec(self) -> str:
        """Name of the encoder."""
        return self.settings.codec or default_encoder(self.video.stored)

    @release_freed_memory
    def check_muxable(self, target: Path) -> str:
        """Writes a video of the first frame, so that stream and container errors appear before the work.

        Returns:
            The pixel format of the output.

        Raises:
            MediaError: the container cannot hold the streams.
        """
        with TemporaryDirectory(dir=self.state.folder) as folder, closing(self.video.read()) as frames:
            first = next(frames)
            av_frame = self._encodable(first.av_frame)
            if self.settings.write_images:
                return av_frame.format.name
            segment, trial = Path(folder, 'first.nut'), Path(folder, f'first{target.suffix}')
            with self._writer(segment) as writer:
                writer.write(av_frame, first.pts)
            try:
                self.video.join(trial, [segment], self.video.info.start, notice=lambda message: None)
            except MediaError as error:
                raise type(error)(str(error).replace(str(trial), str(target))) from error
            return av_frame.format.name

    @release_freed_memory
    def encode(self, clip_restorer: FaceClipRestorer, buffer: FrameBuffer, segment: range,
               background: BackgroundWriter, on_frame: Callable[[Frame], None]) -> dict[str, Any]:
        """Restores and writes one segment.

        Returns:
            The notes about the segment: frame counts and `faces`.
        """
        face_notes: defaultdict[int, FaceNotes] = defaultdict(FaceNotes)

        def add_crop(face: int, before: np.ndarray, after: np.ndarray) -> None:
            face_notes[face].add(before, after)

        clip_restorer = replace(clip_restorer, on_crop=add_crop)
        counts = Counter(dict.fromkeys(COUNTED, 0))
        with self._writer(self.state.segment_path(segment)) as writer, background:
            for frame, changes in clip_restorer.changes(buffer, segment):
                background.do(self._write, writer, clip_restorer, frame, changes, face_notes)
                counts.update(restored=int(bool(changes)), repeated=int(frame.repeated),
                              shown_again=int(frame.again), left_out=frame.left_out)
                on_frame(frame)
        return {**counts, 'frames': writer.frames,
                'faces': {face: notes.plain() for face, notes in face_notes.items()}}

    def _write(self, writer: SegmentWriter | ImageWriter, clip_restorer: FaceClipRestorer, frame: Frame,
               changes: Sequence[Change], face_notes: Mapping[int, FaceNotes]) -> None:
        patches = [clip_restorer.patch(frame, *change) for change in changes]
        for (face, _), patch in zip(changes, patches, strict=True):
            face_notes[face.id].add_change(patch)
        restored = changed(frame, ((patch.x0, patch.y0, patch.change) for patch in divide_overlaps(patches)))
        writer.write(self._encodable(restored), frame.pts)

    def _writer(self, segment: Path) -> SegmentWriter | ImageWriter:
        settings = self.settings
        if settings.write_images:
            return ImageWriter(self.state.images, [path.stem for path in self.video.images])
        return SegmentWriter(segment, self.video.info, settings.crf, settings.preset, self.codec)

    def _encodable(self, av_frame: VideoFrame) -> VideoFrame:
        """Converts a frame to a pixel format of the encoder; images stay as they are."""
        if self.settings.write_images:
            return av_frame
        av_frame = encodable(av_frame, self.video.info.depth)
        return av_frame if self.settings.pix_fmt is None else self._playable(av_frame)
