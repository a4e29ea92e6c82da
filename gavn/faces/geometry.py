"""Face geometry: boxes, crop regions, cropping and pasting.

Coordinates are continuous, in pixels, from the edge of the image: 0 is the left edge of the first pixel, 0.5
its centre, and the width is the right edge of the last pixel.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

CROP_SIZE = 224  # pixels; size of the training crops
CROP_MARGIN = 0.4  # as in the crops of SyncNet and VoxCeleb2
OVAL = 1.1, 1.35  # inner and outer oval, relative to the face box; the inner one covers the hairline
FEATHER = 0.1  # width of the transition at the edge of a crop, relative to its side
DETECTOR_SIZE = 112  # pixels; input of the landmark detector


def detector_view(image: np.ndarray) -> np.ndarray:
    """Resizes a face crop (h, w, 3) to the landmark detector input (112, 112, 3)."""
    return cv2.resize(image, (DETECTOR_SIZE, DETECTOR_SIZE), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)  # long videos have many
class Box:
    """An axis-aligned rectangle, x0 < x1 and y0 < y1; it may exceed the image."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def intersection(self, other: Box) -> float:
        """Returns the intersection area in square pixels."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0) * max(height, 0)

    def iou(self, other: Box) -> float:
        """Returns the intersection over union, in [0, 1]."""
        common = self.intersection(other)
        return common / (self.area + other.area - common)

    def scaled(self, factor: float) -> Box:
        """Returns the box scaled by a factor."""
        return Box(self.x0 * factor, self.y0 * factor, self.x1 * factor, self.y1 * factor)


def crop_box(box: Box, margin: float = CROP_MARGIN) -> Box:
    """Returns the square crop region of a face box, as in SyncNet and VoxCeleb2.

    With s half of the longer side, it is 2 s (1 + margin) wide and horizontally centred. It extends from s
    above the centre to s (1 + 2 margin) below it.
    """
    half = max(box.width, box.height) / 2
    x, y = box.centre
    reach = half * (1 + margin)
    return Box(x - reach, y - half, x + reach, y + half * (1 + 2 * margin))


def inside(region: Box, width: int, height: int) -> Box:
    """Shifts, and if necessary reduces, a square so that it lies inside an image of width x height.

    So crops have no padding.
    """
    side = min(region.width, width, height)
    x, y = region.centre
    x0 = min(max(x - side / 2, 0), width - side)
    y0 = min(max(y - side / 2, 0), height - side)
    return Box(x0, y0, x0 + side, y0 + side)


def crop(image: np.ndarray, region: Box, size: int = CROP_SIZE) -> np.ndarray:
    """Crops the square `region` of an image (h, w, 3) to (size, size, 3); replicates border pixels outside.

    Sampling is at subpixel positions, so that slow motion does not jitter, and without aliasing. A region of
    whole pixels and side `size` is copied exactly.
    """
    return _resample(image, _Map.between(region, size), (size, size), cv2.BORDER_REPLICATE)


def feather_mask(free: tuple[bool, bool, bool, bool] = (False, False, False, False)) -> np.ndarray:
    """Returns the mask of a crop, float32: 1 inside, falling smoothly to 0 at the edge.

    Args:
        free: sides (left, top, right, bottom) without a transition; see `sides_on_edge`.
    """
    ramp = np.clip((np.arange(CROP_SIZE) + 0.5) / (FEATHER * CROP_SIZE), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    left, top, right, bottom = (np.ones(CROP_SIZE) if is_free else ramp for is_free in free)
    return np.outer(np.minimum(top, bottom[::-1]), np.minimum(left, right[::-1])).astype(np.float32)


def oval_mask(box: Box, region: Box) -> np.ndarray:
    """Returns an elliptic mask of a face in its crop, float32: 1 on the face, 0 around it.

    The mask falls smoothly between OVAL[0] and OVAL[1] times the half sides of the face `box`, which extends
    from the forehead to the chin, without the ears.
    """
    centres = (np.arange(CROP_SIZE) + 0.5) * (region.width / CROP_SIZE)
    x, y = centres + region.x0, centres + region.y0
    across, down = (x - box.centre[0]) / (box.width / 2), (y - box.centre[1]) / (box.height / 2)
    inner, outer = OVAL
    ramp = np.clip((outer - np.hypot(across[None], down[:, None])) / (outer - inner), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def sides_on_edge(region: Box, width: int, height: int) -> tuple[bool, bool, bool, bool]:
    """Returns which sides of a region (left, top, right, bottom) lie on the edge of the image.

    These sides need no transition, because there are no pixels beyond them.
    """
    return region.x0 <= 0, region.y0 <= 0, region.x1 >= width, region.y1 >= height


@dataclass(frozen=True, eq=False)
class Patch:
    """A local change of an image."""

    # x0, y0: top left pixel; the patch is inside the image
    x0: int
    y0: int
    change: np.ndarray  # float32 (h, w, 3) in units of 0-255, already weighted; may be empty
    weight: np.ndarray  # float32 (h, w) in [0, 1]: weight of the restored face

    @classmethod
    def spread(cls, region: Box, residual: np.ndarray, mask: np.ndarray, width: int, height: int) -> Patch:
        """Maps the residual of a crop to the image.

        Args:
            region: the crop region; may exceed the image.
            residual: float (s, s, 3): restored minus input crop, in units of 0-255.
            mask: float (s, s) in [0, 1]: weight of the residual.
            width, height: of the image in pixels.
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
        """Rows and columns in the image."""
        height, width = self.weight.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def divide_overlaps(patches: Sequence[Patch]) -> list[Patch]:
    """Divides the change of overlapping patches by their total weight, so that they can be added."""
    if len(patches) < 2:
        return list(patches)
    width = max(patch.place[1].stop for patch in patches)
    total = np.zeros((max(patch.place[0].stop for patch in patches), width), np.float32)
    for patch in patches:
        total[patch.place] += patch.weight
    return [replace(patch, change=patch.change / np.maximum(total[patch.place], 1)[..., None])
            for patch in patches]


def paste(image: np.ndarray, patches: Sequence[Patch]) -> np.ndarray:
    """Adds patches to an image uint8 (h, w, 3); returns a new image.

    Pixels without a change keep their exact values.
    """
    result = image.astype(np.float32)
    for patch in divide_overlaps(patches):
        result[patch.place] += patch.change
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Map:
    """Maps target to source coordinates: source = origin + step * target, both continuous."""

    x0: float
    y0: float
    step_x: float
    step_y: float

    @classmethod
    def between(cls, region: Box, size: int) -> _Map:
        return cls(region.x0, region.y0, region.width / size, region.height / size)

    def inverse(self, x: float, y: float) -> _Map:
        """Returns the inverse map, for a source whose origin is at (x, y)."""
        step_x, step_y = 1 / self.step_x, 1 / self.step_y
        return _Map((x - self.x0) * step_x, (y - self.y0) * step_y, step_x, step_y)


def _resample(image: np.ndarray, place: _Map, size: tuple[int, int], border: int) -> np.ndarray:
    """Resamples to `size` (width, height); averages k x k samples per pixel for a reduction."""
    k = max(math.ceil(max(place.step_x, place.step_y) - 1e-6), 1)
    step_x, step_y = place.step_x / k, place.step_y / k
    matrix = np.array([[step_x, 0, place.x0 + (step_x - 1) / 2], [0, step_y, place.y0 + (step_y - 1) / 2]])
    sampled = cv2.warpAffine(image, matrix, (size[0] * k, size[1] * k), borderMode=border,
                             flags=cv2.WARP_INVERSE_MAP | (cv2.INTER_CUBIC if k == 1 else cv2.INTER_LINEAR))
    return sampled if k == 1 else cv2.resize(sampled, size, interpolation=cv2.INTER_AREA)
