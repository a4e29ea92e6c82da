"""Face geometry: boxes, the square a face is cropped from, the crop, and its way back into the picture.

Coordinates are continuous, in pixels, from the picture's outer edge: 0 is the left edge of the first pixel,
0.5 its centre, and the width is the right edge of the last.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

CROP_SIZE = 224  # pixels: what the networks are trained on
CROP_MARGIN = 0.4  # of SyncNet's and VoxCeleb2's crops
OVAL = 1.1, 1.35  # of a detector's box: jaw, temples and the beginning of the hair lie inside of the first
DETECTOR_SIZE = 112  # pixels: the landmark detector's input


def detector_view(image: np.ndarray) -> np.ndarray:
    """A whole face crop (h, w, 3) as the landmark detector sees it (112, 112, 3): reduced by area."""
    return cv2.resize(image, (DETECTOR_SIZE, DETECTOR_SIZE), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)  # a long film has many
class Box:
    """An upright rectangle, x0 < x1 and y0 < y1; it may reach beyond the picture."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """From left to right, in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """From top to bottom, in pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """In square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle (x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def shared(self, other: Box) -> float:
        """The area of the intersection, in square pixels."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0) * max(height, 0)

    def iou(self, other: Box) -> float:
        """Intersection over union, in [0, 1]."""
        shared = self.shared(other)
        return shared / (self.area + other.area - shared)

    def scaled(self, factor: float) -> Box:
        """The same box in a picture `factor` times as large."""
        return Box(self.x0 * factor, self.y0 * factor, self.x1 * factor, self.y1 * factor)


def crop_box(box: Box, margin: float = CROP_MARGIN) -> Box:
    """The square that SyncNet and VoxCeleb2 crop for a detected face.

    With s half of the longer side, it is 2 s (1 + margin) wide, centred on the face from left to right, and
    reaches from s above its centre to s (1 + 2 margin) below it.
    """
    half = max(box.width, box.height) / 2
    x, y = box.centre
    reach = half * (1 + margin)
    return Box(x - reach, y - half, x + reach, y + half * (1 + 2 * margin))


def inside(region: Box, width: int, height: int) -> Box:
    """A square shifted, and where that is not enough reduced, until it lies in a picture of that size.

    A crop then holds no invented pixels; close-ups fill it with the whole picture.
    """
    side = min(region.width, width, height)
    x, y = region.centre
    x0 = min(max(x - side / 2, 0), width - side)
    y0 = min(max(y - side / 2, 0), height - side)
    return Box(x0, y0, x0 + side, y0 + side)


def crop(image: np.ndarray, region: Box, size: int = CROP_SIZE) -> np.ndarray:
    """The square `region` of a picture (h, w, 3) as (size, size, 3); border pixels fill in what is outside.

    Sampled at the exact place, not at whole pixels, so that a slowly moving region does not jitter; free of
    aliasing when it reduces. A region on whole pixels of side `size` is returned as it is.
    """
    return _resample(image, _Map.between(region, size), (size, size), cv2.BORDER_REPLICATE)


def feather_mask(size: int = CROP_SIZE, border: float = 0.1,
                 free: tuple[bool, bool, bool, bool] = (False, False, False, False)) -> np.ndarray:
    """A mask (size, size) float32: 1 inside, falling smoothly to 0 at the edge over `border` of the side.

    Sides that are `free` (left, top, right, bottom; see `sides_on_edge`) do not fall.
    """
    ramp = np.clip((np.arange(size) + 0.5) / (border * size), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    left, top, right, bottom = (np.ones(size) if is_free else ramp for is_free in free)
    return np.outer(np.minimum(top, bottom[::-1]), np.minimum(left, right[::-1])).astype(np.float32)


def oval_mask(box: Box, region: Box, size: int = CROP_SIZE) -> np.ndarray:
    """The share of a face in each pixel of its crop (size, size) float32: 1 on it, 0 on what is around it.

    An ellipse around the detector's `box`, which reaches from the forehead to the chin and leaves out the
    ears, falls smoothly from OVAL[0] to OVAL[1] of the box's half sides.
    """
    x, y = ((np.arange(size) + 0.5) * (region.width / size) + start for start in (region.x0, region.y0))
    across, down = (x - box.centre[0]) / (box.width / 2), (y - box.centre[1]) / (box.height / 2)
    inner, outer = OVAL
    ramp = np.clip((outer - np.hypot(across[None], down[:, None])) / (outer - inner), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def sides_on_edge(region: Box, width: int, height: int) -> tuple[bool, bool, bool, bool]:
    """Which sides of a region lie on the edge of its picture, with nothing beyond for a seam to show against.

    Returns left, top, right, bottom.
    """
    return region.x0 <= 0, region.y0 <= 0, region.x1 >= width, region.y1 >= height


@dataclass(frozen=True, eq=False)
class Patch:
    """What to add to a picture in one place.

    Attributes:
        x0, y0: the pixel of its corner; all of it lies inside the picture.
        change: float32 (h, w, 3) in units of the picture (0-255), already weighted; maybe empty.
        weight: float32 (h, w) in [0, 1], the share of the restored face in each pixel.
    """

    x0: int
    y0: int
    change: np.ndarray
    weight: np.ndarray

    @classmethod
    def spread(cls, region: Box, residual: np.ndarray, mask: np.ndarray, width: int, height: int) -> Patch:
        """A crop's residual on its way back into the picture.

        Args:
            region: where the crop was taken; may reach beyond the picture.
            residual: float (s, s, 3), restored minus cropped, in units of the picture.
            mask: float (s, s) in [0, 1], its weight.
            width, height: of the picture in pixels.
        """
        x0, y0 = max(math.floor(region.x0), 0), max(math.floor(region.y0), 0)
        size = max(min(math.ceil(region.x1), width) - x0, 0), max(min(math.ceil(region.y1), height) - y0, 0)
        if not all(size):
            return cls(0, 0, np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32))
        weighted = np.concatenate([residual * mask[..., None], mask[..., None]], axis=2, dtype=np.float32)
        inverse = _Map.between(region, residual.shape[0]).inverse(x0, y0)
        spread = _resample(weighted, inverse, size, cv2.BORDER_REPLICATE)
        return cls(x0, y0, spread[..., :3], spread[..., 3].clip(0, 1))

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns of the picture."""
        height, width = self.weight.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def shared(patches: Sequence[Patch]) -> list[Patch]:
    """Patches that may be added one after the other: where some overlap, each has its share of the change."""
    if len(patches) < 2:
        return list(patches)
    width = max(patch.place[1].stop for patch in patches)
    total = np.zeros((max(patch.place[0].stop for patch in patches), width), np.float32)
    for patch in patches:
        total[patch.place] += patch.weight
    return [replace(patch, change=patch.change / np.maximum(total[patch.place], 1)[..., None])
            for patch in patches]


def paste(image: np.ndarray, patches: Sequence[Patch]) -> np.ndarray:
    """Adds patches to a picture uint8 (h, w, 3); returns a new one.

    Pixels outside of them, and those where they change nothing, keep their values bit by bit.
    """
    result = image.astype(np.float32)
    for patch in shared(patches):
        result[patch.place] += patch.change
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Map:
    """Where a resampled picture lies in its source: source = origin + step * target, both continuous."""

    x0: float
    y0: float
    step_x: float
    step_y: float

    @classmethod
    def between(cls, region: Box, size: int) -> _Map:
        return cls(region.x0, region.y0, region.width / size, region.height / size)

    def inverse(self, x: float, y: float) -> _Map:
        """From a picture whose corner lies at (x, y) of this map's source back into its target."""
        step_x, step_y = 1 / self.step_x, 1 / self.step_y
        return _Map((x - self.x0) * step_x, (y - self.y0) * step_y, step_x, step_y)


def _resample(image: np.ndarray, place: _Map, size: tuple[int, int], border: int) -> np.ndarray:
    """Takes `size` (width, height) pixels; where that reduces, averages over k x k samples a pixel."""
    k = max(math.ceil(max(place.step_x, place.step_y) - 1e-6), 1)
    step_x, step_y = place.step_x / k, place.step_y / k
    matrix = np.array([[step_x, 0, place.x0 + (step_x - 1) / 2], [0, step_y, place.y0 + (step_y - 1) / 2]])
    sampled = cv2.warpAffine(image, matrix, (size[0] * k, size[1] * k), borderMode=border,
                             flags=cv2.WARP_INVERSE_MAP | (cv2.INTER_CUBIC if k == 1 else cv2.INTER_LINEAR))
    return sampled if k == 1 else cv2.resize(sampled, size, interpolation=cv2.INTER_AREA)
