"""What decoded frames carry beside their samples: how to turn them, for which display they were graded."""
from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av import VideoFrame

_CHROMATICITY, _LUMINANCE = 50_000, 10_000  # steps of a unit in the messages of H.264 and HEVC


def side_data(frame: VideoFrame) -> dict[str, bytes]:
    """The side data of a frame by FFmpeg's names, without the AV_FRAME_DATA_ before them."""
    try:
        return {item.type.name: bytes(item) for item in frame.side_data}
    except ValueError:  # a kind that is newer than this PyAV, which then gives none
        return {}


@dataclass(frozen=True)
class Orientation:
    """How a stored image becomes upright: mirrored first, then turned, as players do it.

    Attributes:
        mirrored: left and right are exchanged.
        quarters: turns counter-clockwise, 0 to 3.
    """

    mirrored: bool = False
    quarters: int = 0

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """What the frame's display matrix asks for, to quarters."""
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

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """A view of samples (h, w) or (h, w, c) that is upright."""
        return np.rot90(plane[:, ::-1] if self.mirrored else plane, self.quarters)


@dataclass(frozen=True)
class HDR10:
    """For which display a video was graded, in the words of x264 and x265; None for what is not told.

    Attributes:
        mastering: primaries, white point and luminance of the mastering display, `G(x,y)B(x,y)...L(max,min)`.
        light: greatest and average light level of the content in cd/m2, `1000,400`.
    """

    mastering: str | None = None
    light: str | None = None

    @classmethod
    def of(cls, frame: VideoFrame) -> HDR10:
        """What a frame's side data tell."""
        found = side_data(frame)
        display, light = found.get('MASTERING_DISPLAY_METADATA'), found.get('CONTENT_LIGHT_LEVEL')
        levels = struct.unpack_from('=2I', light) if light else (0, 0)
        return cls(display and _mastering(display), '{},{}'.format(*levels) if any(levels) else None)


def _mastering(content: bytes) -> str | None:
    """AVMasteringDisplayMetadata: ten fractions (x, y of red, green, blue, white; least, most), two flags."""
    numbers = struct.unpack_from('=22i', content)
    if not (numbers[20] and numbers[21] and all(numbers[1:20:2])):
        return None
    values = [Fraction(*numbers[at:at + 2]) for at in range(0, 20, 2)]
    red, green, blue, white = (tuple(round(value * _CHROMATICITY) for value in values[at:at + 2])
                               for at in range(0, 8, 2))
    least, most = (round(value * _LUMINANCE) for value in values[8:])
    return ''.join(f'{name}({x},{y})' for name, (x, y) in
                   (('G', green), ('B', blue), ('R', red), ('WP', white), ('L', (most, least))))
