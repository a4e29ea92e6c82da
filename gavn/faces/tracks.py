"""Tracked faces of a video: positions, selection and JSON."""
from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gavn.errors import ArgumentError, ExitCode, GavnError
from gavn.faces.box_array import Boxes
from gavn.faces.geometry import CROP_MARGIN, Box, crop_box, inside

FORM = 3  # version of the JSON format
_STORED = '<f8'  # data type of stored boxes; as base64 they are smaller and faster than as decimals


class ChoiceError(GavnError, ValueError):
    """The selected faces or the box do not exist in the video."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Face:
    """A face from its first to its last frame within one scene."""

    id: int  # number of the face, ordered by mean area times length, from 0
    span: range  # its frames, without gaps
    boxes: Boxes  # a smoothed box per frame of `span`
    score: float  # best detection score, in [0, 1]
    surest: int | None = None  # the frame of that score; None without detection
    thumbnail: str = ''  # image of the face in that frame (see `gavn.faces.thumbnail`), or ''


@dataclass(frozen=True)
class Faces:
    """All or selected faces of a video."""

    faces: tuple[Face, ...]  # by id, lowest first
    count: int  # frames of the video
    size: tuple[int, int]  # (width, height) of the frames
    cuts: tuple[int, ...] = ()  # first frames of new scenes, without frame 0

    @cached_property
    def _spans(self) -> np.ndarray:
        """First and end frames of all faces: (2, faces)."""
        return np.array([(face.span.start, face.span.stop) for face in self.faces], int).reshape(-1, 2).T

    @property
    def shown(self) -> np.ndarray:
        """Indices of the frames that show a face: (n,)."""
        shows = np.zeros(self.count, bool)
        for start, stop in self._spans.T:
            shows[start:stop] = True
        return np.flatnonzero(shows)

    @property
    def coverage(self) -> float:
        """Fraction of frames that show a face, in [0, 1]."""
        return len(self.shown) / self.count

    def present(self, index: int) -> Sequence[Face]:
        """Returns the faces of frame `index`, by id. Raises IndexError for an invalid index."""
        if not 0 <= index < self.count:
            raise IndexError(f'frame {index} of {self.count}')
        starts, stops = self._spans
        return [self.faces[number] for number in np.flatnonzero((starts <= index) & (index < stops))]

    def region(self, face: Face, index: int, margin: float = CROP_MARGIN) -> Box:
        """Returns the crop region of a face in frame `index`, inside the image. Regions may overlap."""
        return inside(crop_box(self.box(face, index), margin), *self.size)

    def box(self, face: Face, index: int) -> Box:
        """Returns the box of a face in frame `index`, without margin."""
        return face.boxes[index - face.span.start]

    def enlarged(self, size: tuple[int, int]) -> Faces:
        """Returns the faces scaled to frames of another size (width, height)."""
        across, down = (new / old for new, old in zip(size, self.size, strict=True))
        faces = tuple(replace(face, boxes=face.boxes.scaled(across, down)) for face in self.faces)
        return replace(self, faces=faces, size=size)

    def to_json(self) -> str:
        """Returns the faces as text, from which `from_json` makes an equal object, bit by bit."""
        faces = [{'id': face.id, 'start': face.span.start, 'score': face.score, 'surest': face.surest,
                  'thumbnail': face.thumbnail,
                  'boxes': b64encode(face.boxes.corners.astype(_STORED).tobytes()).decode()}
                 for face in self.faces]
        return json.dumps({'count': self.count, 'size': self.size, 'cuts': self.cuts, 'faces': faces})

    @classmethod
    def from_json(cls, text: str) -> Faces:
        """Returns the faces that `to_json` wrote. Raises ArgumentError for any other text."""
        try:
            values = json.loads(text)
            return cls(tuple(map(_face, values['faces'])), values['count'], tuple(values['size']),
                       tuple(values['cuts']))
        except (KeyError, TypeError) as error:
            raise ArgumentError(f'these are no faces as they are written to JSON ({error!r})') from error


def main_face(faces: Faces) -> Faces:
    """Returns the main face of a video in the longest run of frames that shows it without a cut."""
    return replace(faces, faces=(max(_main(faces), key=lambda face: len(face.span)),))


def choose(faces: Faces, which: str) -> Faces:
    """Returns the faces that `which` names, with the same ids.

    Args:
        faces: of a video.
        which: 'all', 'largest' (one at any time) or ids as in '0,2'.

    Raises:
        ChoiceError: `which` is something else, or names an id that is not there.
    """
    if which == 'all':
        return faces
    ids = {face.id for face in _main(faces)} if which == 'largest' else _ids(which)
    there = {face.id for face in faces.faces}
    if missing := sorted(ids - there):
        raise ChoiceError(f'no face {", ".join(map(str, missing))} in the video, which has '
                          f'{_listed(sorted(there))}')
    return replace(faces, faces=tuple(face for face in faces.faces if face.id in ids))


def first_frames(faces: Faces, count: int) -> Faces:
    """Returns the faces in the first `count` frames, with the same ids."""
    def cut(face: Face) -> Face:
        span = range(face.span.start, min(face.span.stop, count))
        surest = face.surest if face.surest in span else None
        return replace(face, span=span, boxes=Boxes(face.boxes.corners[:len(span)]), surest=surest)

    return Faces(tuple(cut(face) for face in faces.faces if face.span.start < count), count, faces.size,
                 tuple(at for at in faces.cuts if at < count))


def check_choice(which: str) -> None:
    """Raises ChoiceError if `which` is not a valid argument of `choose`."""
    if which not in ('all', 'largest'):
        _ids(which)


def fixed_box(box: Box, count: int, size: tuple[int, int], thumbnail: str = '') -> Faces:
    """Returns one face at the same position in every frame.

    Args:
        box: the face, without margin, in pixels of the upright image.
        count: frames of the video, at least one.
        size: (width, height) of the frames.

    Raises:
        ChoiceError: the box is empty or exceeds the image.
    """
    width, height = size
    if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
        raise ChoiceError(f'a box of {box.width:g} x {box.height:g} pixels at ({box.x0:g}, {box.y0:g}) is '
                          f'not inside an image of {width} x {height}')
    return Faces((Face(0, range(count), Boxes.repeated(box, count), 1., 0, thumbnail),), count, size)


def _face(values: dict) -> Face:
    boxes = Boxes(np.frombuffer(b64decode(values['boxes']), _STORED).reshape(-1, 4))
    start = values['start']
    return Face(values['id'], range(start, start + len(boxes)), boxes, values['score'], values['surest'],
                values['thumbnail'])


def _main(faces: Faces) -> list[Face]:
    """Selects faces by weight that do not overlap in time; returns them in order of time."""
    free = np.ones(faces.count, bool)
    chosen = []
    for face in faces.faces:
        within = slice(face.span.start, face.span.stop)
        if free[within].all():
            free[within] = False
            chosen.append(face)
    return sorted(chosen, key=lambda face: face.span.start)


def _ids(which: str) -> set[int]:
    try:
        return {int(part) for part in which.split(',')}
    except ValueError:
        raise ChoiceError(f"faces are 'all', 'largest' or ids such as '0,2', not {which!r}") from None


def _listed(ids: Sequence[int]) -> str:
    """Formats ids as `face 0` or `faces 0, 2`; consecutive ids as a range."""
    if len(ids) > 1 and ids[-1] - ids[0] == len(ids) - 1:
        return f'faces {ids[0]} to {ids[-1]}'
    return f'face{"s" * (len(ids) > 1)} {", ".join(map(str, ids))}' if ids else 'none'
