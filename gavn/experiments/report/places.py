"""Boxes of eyes and mouth of a face, and the frame with the widest open mouth."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gavn.data.clip_store import ClipStore, MissingEntryError, layers_of, read_meta
from gavn.experiments.report.results import ReportError
from gavn.faces.landmarks import EYE_CORNERS, MOUTH, box_around

_EYES = slice(36, 48)
_LIPS = np.array([(61, 67), (62, 66), (63, 65)])  # upper and lower, inside


@dataclass(frozen=True)
class Box:
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Crops `image` (h, w, 3). Raises ReportError if the box is not inside."""
        height, width = image.shape[:2]
        if not (0 <= self.left <= width - self.width and 0 <= self.top <= height - self.height
                and min(self.width, self.height) > 0):
            raise ReportError(f'the box {self.left} {self.top} {self.width} {self.height} (left, top, width, '
                              f'height) is not inside an image of {width}x{height} pixels')
        return image[self.top:self.top + self.height, self.left:self.left + self.width]


def openness(points: np.ndarray) -> np.ndarray:
    """Distance between the lips (...,) in outer eye distances, from landmarks (..., 68, 2)."""
    gap = np.linalg.norm(points[..., _LIPS[:, 0], :] - points[..., _LIPS[:, 1], :], axis=-1).mean(-1)
    left, right = EYE_CORNERS
    return gap / np.linalg.norm(points[..., left, :] - points[..., right, :], axis=-1)


class Places:
    """Boxes of eyes and mouth of the clips of a data set folder.

    Args:
        root: the data set folder.
        split: of clips for the average face, for a clip without landmarks.
        eyes, mouth: boxes to use instead of those of the landmarks.
    """

    def __init__(self, root: str | os.PathLike[str], split: str, eyes: Box | None = None,
                 mouth: Box | None = None) -> None:
        self.root, self.split = Path(root), split
        self._given = eyes, mouth
        self._store = ClipStore(root, 'landmarks') if 'landmarks' in layers_of(root) else None

    def boxes(self, clip: str, index: int, width: int, height: int) -> tuple[Box, Box]:
        """Boxes of eyes and mouth of a frame; of the average face if the clip has no landmarks.

        Raises:
            ReportError: there are neither landmarks nor given boxes.
        """
        eyes, mouth = self._given
        if eyes is None or mouth is None:
            points = self._points(clip)
            face = self._average if points is None else points[min(index, len(points) - 1)]
            eyes = eyes or Box(*box_around(face[_EYES], width, height))
            mouth = mouth or Box(*box_around(face[MOUTH], width, height))
        return eyes, mouth

    def widest(self, clip: str) -> int:
        """Returns the frame with the widest open mouth. Raises ReportError without landmarks."""
        points = self._points(clip)
        if points is None:
            raise ReportError(f'{self.root} has no landmarks of {clip}, by which the frame with the widest '
                              'open mouth is found: say which frames to show (--frames)')
        return int(openness(points).argmax())

    def _points(self, clip: str) -> np.ndarray | None:
        try:
            return None if self._store is None else self._store.array(clip)
        except MissingEntryError:
            return None

    @cached_property
    def _average(self) -> np.ndarray:
        """Mean landmarks (68, 2) of all frames of the split's clips that have landmarks."""
        found = list(self._found()) if self._store else []
        if not found:
            raise ReportError(f'{self.root} has no landmarks, which say where eyes and mouth are: give both '
                              'boxes (--eyes and --mouth LEFT TOP WIDTH HEIGHT)')
        return np.concatenate(found).mean(0)

    def _found(self) -> Iterator[np.ndarray]:
        for entry in read_meta(self.root, self.split):
            points = self._points(entry.clip)
            if points is not None:
                yield points
