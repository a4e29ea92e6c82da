"""User settings of a restoration."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

from gavn.errors import ArgumentError
from gavn.faces.geometry import Box
from gavn.faces.tracks import check_choice
from gavn.media import SCALES
from gavn.restoration.encoder_choices import CODECS, LARGEST_CRF, PIX_FMTS, PRESETS

_LARGEST_DENOMINATOR = 100_000  # 30000/1001 and its kin are exact
_NUMBERS: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ('strength', 'a number between 0 and 1', lambda value: 0 <= value <= 1),
    ('preview', 'longer than 0 seconds', lambda value: value > 0),
    ('fps', 'a number above 0', lambda value: value > 0),
    ('min_face', 'at least 0 pixels', lambda value: value >= 0),
    ('crf', f'between 0 and {LARGEST_CRF}', lambda value: 0 <= value <= LARGEST_CRF))
_SEARCH_FIELDS = ('min_face', 'box', 'preview', 'fps')


def _fraction(value: float) -> Fraction:
    return Fraction(str(value)).limit_denominator(_LARGEST_DENOMINATOR)


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
            folder this is the frame rate (None = 25). A float becomes a fraction.
        audio: a file whose audio replaces the video's own.
        scale: enlargement of the whole video, one of SCALES; faces are restored at that size. None = none.
        force_task: use the weights even if the faces have another kind of degradation.
        write_images: write PNGs into a folder, not a video; only for image folders.
        crf: the encoder's quality; lower is better.
        preset: the encoder's speed.
        codec: libx264 or libx265. None = 10-bit HEVC stays HEVC, everything else becomes H.264.
        pix_fmt: 'yuv420p', which all players support; None = the pixel format of the input.

    `box` and `min_face` are in pixels of the input.

    Raises:
        ArgumentError: a value is out of range, not one of the choices, or of a wrong type.
        ChoiceError: `faces` is none of the above.
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
        for name, words, fits in _NUMBERS:
            self._check_number(name, words, fits)
        for name, convert in (('faces', str), ('scale', str), ('fps', _fraction)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, convert(value))
        check_choice(self.faces)
        self._check_choices()

    def _check_number(self, name: str, words: str, fits: Callable[[float], bool]) -> None:
        value = getattr(self, name)
        if value is None and getattr(Settings, name) is None:
            return
        if not (isinstance(value, Real) and isfinite(value) and fits(float(value))):
            raise ArgumentError(f'{name} must be {words}, not {value}')

    def _check_choices(self) -> None:
        for name, choices in (('scale', SCALES), ('codec', CODECS), ('pix_fmt', PIX_FMTS),
                              ('preset', PRESETS)):
            value = getattr(self, name)
            if value not in (*choices, getattr(Settings, name)):
                raise ArgumentError(f'{name} {value} is not one of {", ".join(choices)}')

    def plain(self) -> dict[str, Any]:
        """Returns the settings that are set, as JSON values."""
        return {key: str(value) if isinstance(value, (Fraction, Path)) else value
                for key, value in asdict(self).items() if value not in (None, False)}

    def of_search(self) -> dict[str, Any]:
        """Returns the part of `plain` that determines which faces are found."""
        return {key: value for key, value in self.plain().items() if key in _SEARCH_FIELDS}
