"""One video of a page: what it is, the faces in it with a picture of each, and what became of it."""
from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from gavn.faces.tracker import NoFace, follow_faces
from gavn.faces.tracks import Face, Faces, beginning
from gavn.media import VideoInfo, read_frames
from gavn.restoration.progress import Progress, counted
from gavn.restoration.report import Report
from gavn.web.limits import RefusalError

_POSTER = 960  # pixels of the longer side of a video's first picture, at most


@dataclass(frozen=True)
class Result:
    """Files of a finished restoration: the video, its report, two pictures of a face, both videos side by
    side.

    `side` is None where such a video could not be made; the report then has a notice. `preview` says how many
    seconds were restored, None for all.
    """

    video: Path
    notes: Path
    before: Path
    after: Path
    side: Path | None
    report: Report
    preview: float | None = None


@dataclass(frozen=True)
class Found:
    """The faces of a whole video, and its frames' times in seconds."""

    faces: Faces
    times: tuple[float, ...]

    def seconds(self, face: Face) -> tuple[float, float]:
        """When a face is first and last seen."""
        return self.times[face.span.start], self.times[face.span.stop - 1]

    def first(self, seconds: float | None) -> Faces:
        """The faces of the first seconds (None: of all)."""
        if seconds is None:
            return self.faces
        return beginning(self.faces, sum(time < seconds for time in self.times))


@dataclass
class Video:
    """A video that was taken.

    Attributes:
        source: the file, in a folder of its own.
        info: what it is.
        poster: its first picture.
        found: its faces, once they were looked for.
        chosen: ids of the faces to restore where these are chosen by picture; None until some are.
        result, trouble: what became of it; both None until it was restored.
    """

    source: Path
    info: VideoInfo
    poster: Path
    found: Found | None = None
    chosen: frozenset[int] | None = None
    result: Result | None = None
    trouble: str | None = field(default=None)

    @property
    def key(self) -> str:
        """What a page calls it."""
        return self.source.parent.name

    def choose(self, ids: frozenset[int]) -> None:
        """Chooses faces. Raises RefusalError for some that are not there."""
        if self.found is None or not ids <= {face.id for face in self.found.faces.faces}:
            raise RefusalError('There is no such face in this video.')
        self.chosen = ids

    def which(self, preview: float | None) -> str:
        """The chosen faces as `Settings.faces`, those that the first seconds show. RefusalError for none."""
        if self.found is None or self.chosen is None:
            return 'all'
        if not self.chosen:
            raise RefusalError(f'{self.source.name}: choose at least one face.')
        there = self.chosen & {face.id for face in self.found.first(preview).faces}
        if not there:
            raise RefusalError(f'{self.source.name}: no chosen face is in its first {preview:g} s.')
        return ','.join(map(str, sorted(there)))


def look_at(source: Path, info: VideoInfo) -> Video:
    """Makes the first picture; raises as `read_frames`."""
    with closing(read_frames(source)) as frames:
        image = next(frames).image
    scale = min(1., _POSTER / max(image.shape[:2]))
    poster = source.with_name('poster.jpg')
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    poster.write_bytes(cv2.imencode(poster.suffix, small)[1].tobytes())
    return Video(source, info, poster)


def find_faces(video: Video, progress: Progress) -> Found:
    """Looks for the faces of a whole video.

    Raises NoFace, MediaError as `read_frames`, and what `progress` raises.
    """
    times: list[float] = []
    with closing(read_frames(video.source)) as frames:
        def images():
            for frame in counted(frames, 'finding faces', video.info.frames, progress):
                times.append(frame.time)
                yield frame.image
        try:
            faces = follow_faces(images())
        except NoFace as error:
            raise NoFace(f'{video.source.name}: {error}') from error
    return Found(faces, tuple(times))
