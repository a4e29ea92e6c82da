"""User settings of a restoration."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from gavn.errors import ArgumentError
from gavn.faces.geometry import Box
from gavn.media import SCALES

_SEARCH_FIELDS = ('min_face', 'box', 'preview', 'fps')


@dataclass(frozen=True)
class Settings:
    """How to restore a video.

    Attributes:
        strength: fraction of the change to apply, 0 (none) to 1 (all).
        faces: 'all', 'largest' (one at a time) or face numbers such as '0,2' (see `choose`).
        min_face: smallest face height in pixels; smaller faces are not changed. None = detector limit.
        box: position of the only face, the same in every frame; replaces face detection.
        preview: seconds to restore from the beginning; None = the whole video.
        fps: output frames per second. A video is resampled by time (None = its own frames). For an image
            folder this is the frame rate (None = 25).
        audio: a file whose audio replaces the video's own.
        scale: enlargement of the whole video, one of SCALES; faces are restored at that size. None = none.
        force_task: use the weights even if the faces have another kind of degradation.
        write_images: write PNGs into a folder, not a video; only for image folders.
        crf, preset: encoder quality and speed.
        codec: libx264 or libx265. None = 10-bit HEVC stays HEVC, everything else becomes H.264.
        pix_fmt: 'yuv420p', which all players support; None = the pixel format of the input.

    `box` and `min_face` are in pixels of the input.

    Raises:
        ArgumentError: strength, preview, fps or scale is out of range.
    """

    strength: float = 1.
    faces: str = 'all'
    min_face: float | None = None
    box: Box | None = None
    preview: float | None = None
    fps: Fraction | None = None
    audio: Path | None = None
    scale: str | None = None
    force_task: bool = False
    write_images: bool = False
    crf: float = 18
    preset: str = 'medium'
    codec: str | None = None
    pix_fmt: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ArgumentError(f'strength must be between 0 and 1, not {self.strength}')
        if self.preview is not None and self.preview <= 0:
            raise ArgumentError(f'preview must be longer than 0 seconds, not {self.preview}')
        if self.fps is not None and self.fps <= 0:
            raise ArgumentError(f'fps must be above 0, not {self.fps}')
        if self.scale not in (None, *SCALES):
            raise ArgumentError(f'scale {self.scale} is not one of {", ".join(SCALES)}')

    def plain(self) -> dict[str, Any]:
        """Returns the settings that are set, as JSON values."""
        return {key: str(value) if isinstance(value, (Fraction, Path)) else value
                for key, value in asdict(self).items() if value not in (None, False)}

    def of_search(self) -> dict[str, Any]:
        """Returns the part of `plain` that determines which faces are found."""
        return {key: value for key, value in self.plain().items() if key in _SEARCH_FIELDS}
