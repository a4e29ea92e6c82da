"""What a user can choose about the restoration of a video."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from gavn.faces.geometry import Box
from gavn.media import SCALES

_OF_SEARCH = ('min_face', 'box', 'preview', 'fps')


@dataclass(frozen=True)
class Settings:
    """How a video is restored.

    Attributes:
        strength: how much of the change to apply, 0 (nothing) to 1.
        faces: 'all', 'largest' (one at a time) or numbers as in '0,2' (see `choose`).
        min_face: height in pixels; smaller faces pass through. None = what the detector can find.
        box: where the one face is in every frame, in place of looking for faces.
        preview: seconds from the beginning to restore; None = all.
        fps: frames a second: of a video those on the screen at that rate (None = its own frames), of a folder
            of pictures its rate (None = 25).
        audio: a file to hear, and to copy the sound from, in place of the video's own.
        scale: how many times as large the whole picture is to be, one of SCALES; faces are restored at that
            size. None = as it is.
        force_task: whether weights restore although the faces are damaged in another way.
        pictures: whether to write PNGs into a folder, in place of a video; for folders of pictures.
        crf, preset: of the encoder.
        codec: of the video, libx264 or libx265; None = HEVC of ten bits stays HEVC, all else becomes H.264.
        pix_fmt: of the video's frames: 'yuv420p', which all players take; None = that of the source.

    Places and heights (`box`, `min_face`) are in pixels of the input.

    Raises ValueError for a strength, a length or a scale that is none.
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
    pictures: bool = False
    crf: float = 18
    preset: str = 'medium'
    codec: str | None = None
    pix_fmt: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f'strength is between 0 and 1, not {self.strength}')
        if self.preview is not None and self.preview <= 0:
            raise ValueError(f'a preview is longer than {self.preview} seconds')
        if self.scale not in (None, *SCALES):
            raise ValueError(f'scale {self.scale} is not one of {", ".join(SCALES)}')

    def plain(self) -> dict[str, Any]:
        """As JSON takes it, without what was left open."""
        return {key: str(value) if isinstance(value, (Fraction, Path)) else value
                for key, value in asdict(self).items() if value not in (None, False)}

    def of_search(self) -> dict[str, Any]:
        """Those of `plain` that decide which faces are found."""
        return {key: value for key, value in self.plain().items() if key in _OF_SEARCH}
