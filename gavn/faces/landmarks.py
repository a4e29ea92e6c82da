"""The 68 iBUG facial landmarks: mirroring, error, drawing and head pose.

There are two coordinate systems: pixels, with integers at pixel centres (as in OpenCV and the landmark
detectors), and the unit square, with 0 and 1 at the edges of the frame. Mirroring an image is exactly
`x -> 1 - x` in the unit square. The last axis is always (x, y), x to the right and y down.
"""
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

Points = TypeVar('Points', np.ndarray, Tensor)

N_POINTS = 68
MOUTH = slice(48, 68)
EYE_CORNERS = (36, 45)
BOX_ASPECT = 2  # width / height of a box around eyes or mouth
_BOX_SCALE = 1.6  # width of such a box, relative to the width of its points

# Chains of points, and whether they are closed.
_LINES = ((range(0, 17), False), (range(17, 22), False), (range(22, 27), False), (range(27, 31), False),
          (range(31, 36), False), (range(36, 42), True), (range(42, 48), True), (range(48, 60), True),
          (range(60, 68), True))

# Index of each point after mirroring: jaw, brows, nose ridge, nostrils, eyes, lips.
FLIP = np.array([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
                 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
                 *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)])

# A generic adult face in millimetres (own measurement): x to the right of the image, y down, z away from the
# camera, origin between the eyes. Left half of the image and midline; the right half is its mirror image.
_LEFT_HALF = {
    0: (-72, 0, 70), 1: (-71, 19, 68), 2: (-69, 38, 64), 3: (-65, 57, 57), 4: (-58, 75, 46), 5: (-47, 91, 34),
    6: (-33, 105, 23), 7: (-17, 115, 15), 8: (0, 118, 12),
    17: (-58, -17, 22), 18: (-50, -24, 11), 19: (-39, -26, 4), 20: (-27, -24, 0), 21: (-15, -19, -2),
    27: (0, 0, 0), 28: (0, 12, -8), 29: (0, 24, -15), 30: (0, 36, -22),
    31: (-15, 46, -3), 32: (-8, 48, -8), 33: (0, 50, -11),
    36: (-43, 2, 14), 37: (-36, -4, 7), 38: (-26, -4, 6), 39: (-18, 3, 9), 40: (-26, 6, 7), 41: (-36, 6, 9),
    48: (-26, 72, 6), 49: (-16, 66, -3), 50: (-6, 63, -8), 51: (0, 64, -8),
    57: (0, 82, -5), 58: (-9, 81, -4), 59: (-17, 78, 0),
    60: (-22, 72, 4), 61: (-8, 70, -5), 62: (0, 71, -6), 66: (0, 73, -5), 67: (-8, 73, -4),
}
# Brow ends, eye corners, nostrils, mouth corners, lower lip and chin, as PFLD estimates its pose.
_POSE_POINTS = (17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8)
# A face crop (box plus 40 % on every side) is about 270 mm wide; the origin is above its centre.
_CROP_MILLIMETRES = 270
_BETWEEN_EYES = (0.5, 0.27)
# Focal length of the camera, relative to the side of the crop.
_FOCAL_SIDES = 4


def _whole_face() -> np.ndarray:
    """Returns the generic face (68, 3) in millimetres."""
    right_half = {int(FLIP[i]): (-x, y, z) for i, (x, y, z) in _LEFT_HALF.items()}
    points = right_half | _LEFT_HALF
    return np.array([points[i] for i in range(N_POINTS)], dtype=np.float64)


FACE_3D = _whole_face()
# Frontal view in a face crop, unit square (68, 2).
MEAN_FACE = FACE_3D[:, :2] / _CROP_MILLIMETRES + _BETWEEN_EYES
_POSE_MODEL = FACE_3D[list(_POSE_POINTS)]
for _constant in (FACE_3D, MEAN_FACE):
    _constant.setflags(write=False)


def to_unit(points: Points, width: int, height: int) -> Points:
    """Converts pixel coordinates (..., 2) of a `width` x `height` image to the unit square."""
    return _stack((points[..., 0] + 0.5) / width, (points[..., 1] + 0.5) / height)


def to_pixels(points: Points, width: int, height: int) -> Points:
    """Converts unit-square coordinates (..., 2) to pixels of a `width` x `height` image."""
    return _stack(points[..., 0] * width - 0.5, points[..., 1] * height - 0.5)


def flip(points: Points) -> Points:
    """Returns the points (..., 68, 2) of the mirrored image, in the unit square."""
    mirrored = points[..., FLIP, :]
    return _stack(1 - mirrored[..., 0], mirrored[..., 1])


def box_around(points: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Returns a box with aspect ratio 2 around points (n, 2) in pixels, inside an image of width x height.

    Returns:
        Left, top, width and height in pixels.
    """
    low, high = points.min(0), points.max(0)
    wide = max((high[0] - low[0]) * _BOX_SCALE, (high[1] - low[1]) * _BOX_SCALE * BOX_ASPECT, 2 * BOX_ASPECT)
    wide = min(wide, width, height * BOX_ASPECT)
    size = np.array([int(wide), int(wide / BOX_ASPECT)])
    left, top = np.clip(np.rint((low + high) / 2 - (size - 1) / 2), 0, np.array([width, height]) - size)
    return int(left), int(top), int(size[0]), int(size[1])


def nme(pred: Points, true: Points, points: slice | Sequence[int] = slice(None)) -> Points:
    """Computes the normalised mean error (...,) in percent of the distance of the outer eye corners.

    Args:
        pred, true: (..., 68, 2) in the same coordinate system with square units.
        points: the points to average over, such as MOUTH.

    Returns:
        The error; infinite if the outer eye corners of `true` coincide.
    """
    distance = _norm(pred[..., points, :] - true[..., points, :]).mean(-1)
    left, right = EYE_CORNERS
    return 100 * distance / _norm(true[..., left, :] - true[..., right, :])


def draw(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draws points (68, 2), in pixels, as lines and dots on a copy of an image (h, w, 3) uint8 BGR."""
    canvas = np.ascontiguousarray(image).copy()
    fraction_bits = 4  # OpenCV uses fixed-point coordinates for subpixel drawing
    fixed = np.rint(np.asarray(points) * 2**fraction_bits).astype(np.int32)
    for chain, closed in _LINES:
        cv2.polylines(canvas, [fixed[list(chain)]], closed, (80, 200, 80), 1, cv2.LINE_AA, fraction_bits)
    for x, y in fixed.tolist():
        cv2.circle(canvas, (x, y), 2**fraction_bits, (40, 40, 255), -1, cv2.LINE_AA, fraction_bits)
    return canvas


def euler_angles(points: np.ndarray, size: float) -> np.ndarray:
    """Estimates the head pose by fitting a generic 3-D face to fourteen points (solvePnP).

    The rotation is Rz(roll) Ry(yaw) Rx(pitch) with axes x right, y down, z away from the camera. It takes
    about 0.06 ms per face.

    Args:
        points: (..., 68, 2) in pixels of a square crop.
        size: side of the crop in pixels.

    Returns:
        Pitch, yaw and roll (..., 3) in radians, float32.

    Raises:
        ValueError: points are not finite, or coincide.
    """
    points = np.asarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError('landmarks hold values that are not finite; drop such frames before training')
    seen = np.ascontiguousarray(points[..., _POSE_POINTS, :]).reshape(-1, len(_POSE_POINTS), 2)
    angles = [_pose(face, size) for face in seen]
    return np.array(angles, dtype=np.float32).reshape(*points.shape[:-2], 3)


def _pose(seen: np.ndarray, size: float) -> tuple[float, float, float]:
    """Returns pitch, yaw and roll of a face from fourteen points (14, 2) in pixels."""
    focal, middle = _FOCAL_SIDES * size, size / 2 - 0.5
    camera = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    # Iterative solvers are slower and, without an initial guess, return some faces upside down.
    try:
        _, rotation, _ = cv2.solvePnP(_POSE_MODEL, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error as error:
        raise ValueError('landmarks that coincide have no pose; drop such frames before training') from error
    r = cv2.Rodrigues(rotation)[0]
    return np.arctan2(r[2, 1], r[2, 2]), np.arcsin(np.clip(-r[2, 0], -1, 1)), np.arctan2(r[1, 0], r[0, 0])


def _stack(x: Points, y: Points) -> Points:
    return torch.stack((x, y), -1) if isinstance(x, Tensor) else np.stack((x, y), -1)


def _norm(vectors: Points) -> Points:
    return (vectors ** 2).sum(-1) ** 0.5
