"""Side data of decoded frames: display matrix and HDR10 metadata."""
from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av import VideoFrame

_CHROMATICITY, _LUMINANCE = 50_000, 10_000  # steps per unit in H.264 and HEVC


def side_data(frame: VideoFrame) -> dict[str, bytes]:
    """Returns the side data of a frame: FFmpeg name without AV_FRAME_DATA_ -> bytes."""
    items: Any = frame.side_data  # PyAV's types have another class
    try:
        return {item.type.name: bytes(item) for item in items}
    except ValueError:  # a type that this PyAV does not know
        return {}


@dataclass(frozen=True)
class Orientation:
    """Transformation that makes a stored image upright: mirroring, then rotation."""

    mirrored: bool = False  # whether left and right are exchanged
    quarters: int = 0  # counter-clockwise rotation in units of 90 degrees, 0 to 3

    @classmethod
    def from_frame(cls, frame: VideoFrame) -> Orientation:
        """Reads the display matrix of a frame, rounded to 90 degrees."""
        matrix = side_data(frame).get('DISPLAYMATRIX')
        if matrix is None:
            return cls(False, round(frame.rotation / 90) % 4)
        a, b, _, c, d, *_ = struct.unpack('=9i', matrix)
        mirrored = a * d < b * c
        if mirrored:
            a, b = -a, -b
        return cls(mirrored, round(math.degrees(math.atan2(-b, a)) / 90) % 4)

    @property
    def sideways(self) -> bool:
        """Whether width and height are exchanged."""
        return self.quarters % 2 == 1

    def __bool__(self) -> bool:
        return self.mirrored or self.quarters > 0


@dataclass(frozen=True)
class HDR10:
    """HDR10 metadata in the syntax of x264 and x265; None if missing."""

    # primaries, white point and luminance of the mastering display, `G(x,y)B(x,y)...L(max,min)`
    mastering: str | None = None
    light: str | None = None  # maximum content and frame-average light level in cd/m2, `1000,400`

    @classmethod
    def from_frame(cls, frame: VideoFrame) -> HDR10:
        """Reads the side data of a frame."""
        found = side_data(frame)
        display, light = found.get('MASTERING_DISPLAY_METADATA'), found.get('CONTENT_LIGHT_LEVEL')
        levels = struct.unpack_from('=2I', light) if light else (0, 0)
        return cls(_mastering(display) if display else None,
                   '{},{}'.format(*levels) if any(levels) else None)


def _mastering(content: bytes) -> str | None:
    """Formats AVMasteringDisplayMetadata: x, y of red, green, blue, white; min, max; two flags."""
    numbers = struct.unpack_from('=22i', content)
    if not (numbers[20] and numbers[21] and all(numbers[1:20:2])):
        return None
    values = [Fraction(*numbers[at:at + 2]) for at in range(0, 20, 2)]
    red, green, blue, white = (tuple(round(value * _CHROMATICITY) for value in values[at:at + 2])
                               for at in range(0, 8, 2))
    minimum, maximum = (round(value * _LUMINANCE) for value in values[8:])
    return ''.join(f'{name}({x},{y})' for name, (x, y) in
                   (('G', green), ('B', blue), ('R', red), ('WP', white), ('L', (maximum, minimum))))
