"""A video of a session: its properties, faces and result, and images of a face before and after."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from gavn.faces.tracker import NoFace, follow_faces
from gavn.faces.tracks import Face, Faces, first_frames
from gavn.media import VideoInfo, VideoReader, read_frames
from gavn.restoration.progress import Progress, counted
from gavn.restoration.report import Report
from gavn.web.limits import RefusalError

_POSTER = 960  # pixels; longest side of the image of the first frame
MAX_PICTURED = 24  # faces with a thumbnail; those that appear in most frames come first
_CONTEXT = 2.4  # height of the region, in face heights
_ASPECT = 4 / 3  # width / height of the region
_MAX_SIDE = 960  # pixels; smaller regions are enlarged up to 2 times


@dataclass(frozen=True)
class RestoredVideo:
    """Result of a restoration.

    Attributes:
        video: the restored video.
        notes: the report file.
        before, after: images of a face.
        side: video of input and result side by side; None if it could not be written.
        report: the report.
        preview: restored seconds; None = all.
    """

    video: Path
    notes: Path
    before: Path
    after: Path
    side: Path | None
    report: Report
    preview: float | None = None


@dataclass(frozen=True)
class DetectedFaces:
    """The faces of a whole video, and the time of each frame in seconds."""

    faces: Faces
    times: tuple[float, ...]

    @property
    def with_thumbnails(self) -> Sequence[Face]:
        """The faces that the page shows with a thumbnail."""
        return self.faces.faces[:MAX_PICTURED]

    def seconds(self, face: Face) -> tuple[float, float]:
        """Returns the times of the first and the last frame of a face."""
        return self.times[face.span.start], self.times[face.span.stop - 1]

    def first(self, seconds: float | None) -> Faces:
        """Returns the faces of the first `seconds`; None = all."""
        if seconds is None:
            return self.faces
        return first_frames(self.faces, sum(time < seconds for time in self.times))


@dataclass
class Video:
    """A video of a session.

    Attributes:
        source: the file, in a folder of its own.
        info: its properties.
        poster: image of the first frame.
        found: its faces; None before the search.
        chosen: ids of the faces to restore if faces are selected by image; None before the search.
        result: the result; None before the restoration, or if it failed.
        failure: error message; None if there is no error.
    """

    source: Path
    info: VideoInfo
    poster: Path
    found: DetectedFaces | None = None
    chosen: frozenset[int] | None = None
    result: RestoredVideo | None = None
    failure: str | None = field(default=None)

    @property
    def key(self) -> str:
        """Identifies the video within its session."""
        return self.source.parent.name

    def choose(self, ids: frozenset[int]) -> frozenset[int]:
        """Selects faces by their ids. Faces without a thumbnail cannot be deselected and stay selected.

        Returns:
            The ids of the selected faces.

        Raises:
            RefusalError: a face does not exist.
        """
        known = frozenset(face.id for face in self.found.faces.faces) if self.found else frozenset()
        if self.found is None or not ids <= known:
            raise RefusalError('There is no such face in this video.')
        self.chosen = ids | known - {face.id for face in self.found.with_thumbnails}
        return self.chosen

    def which(self, preview: float | None) -> str:
        """Returns `Settings.faces`: the selected faces in the first `preview` seconds.

        Raises:
            RefusalError: there are none.
        """
        if self.found is None or self.chosen is None:
            return 'all'
        if not self.chosen:
            raise RefusalError(f'{self.source.name}: select at least one face.')
        visible = self.chosen & {face.id for face in self.found.first(preview).faces}
        if not visible:
            raise RefusalError(f'{self.source.name}: no selected face is in its first {preview:g} s.')
        return ','.join(map(str, sorted(visible)))


def open_video(source: Path, info: VideoInfo) -> Video:
    """Writes the image of the first frame and returns the video; raises as `read_frames`."""
    with closing(read_frames(source)) as frames:
        image = next(frames).image
    scale = min(1., _POSTER / max(image.shape[:2]))
    poster = source.with_name('poster.jpg')
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    poster.write_bytes(cv2.imencode(poster.suffix, small)[1].tobytes())
    return Video(source, info, poster)


def find_faces(video: Video, progress: Progress) -> DetectedFaces:
    """Finds the faces of a whole video.

    Raises:
        NoFace: there is no face.
        MediaError: see `read_frames`.
        Exception: what `progress` raises.
    """
    times: list[float] = []
    with closing(read_frames(video.source)) as frames:
        def images() -> Iterator[np.ndarray]:
            for frame in counted(frames, 'finding faces', video.info.frames, progress):
                times.append(frame.time)
                yield frame.image
        try:
            faces = follow_faces(images())
        except NoFace as error:
            raise NoFace(f'{video.source.name}: {error}') from error
    return DetectedFaces(faces, tuple(times))


def write_comparison_images(source: VideoReader, restored: VideoReader, report: Report, folder: Path
                            ) -> tuple[Path, Path]:
    """Writes the region around the face that is restored longest, in the same frame of both videos, as PNG.

    Without a face, it writes the whole frame in the middle of the video.

    Args:
        source, restored: the input and the result, of equal size.
        report: the report of the restoration.
        folder: where to write.

    Returns:
        The paths of both images.
    """
    face = max(report.faces, key=lambda face: face['last_frame'] - face['first_frame'], default=None)
    index = report.frames_out // 2 if face is None else face['box_frame']
    files = []
    for name, video in (('before', source), ('after', restored)):
        image, path = _frame(video, index), folder / f'{name}.png'
        if face is not None:
            enlarged = image.shape[1] / report.input['width']
            image = image[_region([enlarged * value for value in face['box']], image.shape)]
        path.write_bytes(cv2.imencode('.png', _resized(image))[1].tobytes())
        files.append(path)
    return files[0], files[1]


def _frame(video: VideoReader, index: int) -> np.ndarray:
    with closing(video.read(index)) as frames:
        return next(frame.image for frame in frames if frame.index >= index)


def _region(box: Sequence[float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Returns the rows and columns around a face (x, y, width, height), inside the image."""
    x, y, width, height = box
    rows = min(_CONTEXT * height, shape[0])
    columns = min(_ASPECT * rows, shape[1])
    left = round(min(max(x + width / 2 - columns / 2, 0), shape[1] - columns))
    top = round(min(max(y + height / 2 - rows / 2, 0), shape[0] - rows))
    return slice(top, top + round(rows)), slice(left, left + round(columns))


def _resized(image: np.ndarray) -> np.ndarray:
    scale = min(_MAX_SIDE / max(image.shape[:2]), 2)
    return cv2.resize(image, None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
