"""Motion of the demo face: expression (mouth, jaw, lids, brows), head and camera, with exact landmarks."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gavn.experiments.synthetic.face import MOUTH_HALF, ZOOM
from gavn.experiments.synthetic.people import Eye, Still
from gavn.experiments.synthetic.warp import bell, grid, invert, sample, smoothstep

JAW_DROP = 15.0  # lowering of the lower lip at opening 1, pixels of the photograph
LIP_RAISE = 3.2  # rise of the upper lip at opening or teeth 1
NECK = 55  # pixels from the middle of the face down to the centre of rotation
DEPTH = 62  # pixels from the axis of the head to the face
CAVITY, TEETH = np.array([34, 26, 62], np.float32), np.array([206, 226, 234], np.float32)
# side of a moving edge of each landmark: -1 above (upper lip, upper lid), +1 below
MOUTH_SIDE = np.array([-1] * 7 + [1] * 5 + [-1] * 5 + [1] * 3)
UPPER_LIDS, LOWER_LIDS = (36, 37, 38, 39, 42, 43, 44, 45), (40, 41, 46, 47)


@dataclass(frozen=True)
class Mouth:
    """State of the mouth: opening, teeth, rounding and press in [0, 1], width in [-1, 1]."""

    opening: float = 0.0
    width: float = 0.0
    rounding: float = 0.0
    teeth: float = 0.0
    press: float = 0.0


@dataclass(frozen=True)
class Pose:
    """State of the head: shifts in pixels of the photograph, angles in radians, blink and brows in [0, 1]."""

    x: float = 0.0
    y: float = 0.0
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    size: float = 1.0
    blink: float = 0.0
    brows: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Image = (photograph - centre) * zoom + middle of the image; `width` x `height` pixels."""

    centre: tuple[float, float]
    zoom: float
    width: int
    height: int

    def backward(self, points: np.ndarray) -> np.ndarray:
        """Converts image to photograph coordinates."""
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2], points.dtype)
        return (points - middle) / points.dtype.type(self.zoom) + np.asarray(self.centre, points.dtype)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Converts photograph to image coordinates."""
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        return (points - np.asarray(self.centre)) * self.zoom + middle


class MovingFace:
    """A `Still` with a mouth state and a pose: maps from posed to neutral coordinates, and the image.

    A posed point passes `head` (which removes the head's motion), then `expression`, into the texture.
    """

    def __init__(self, still: Still, mouth: Mouth, pose: Pose) -> None:
        self.still, self.mouth, self.pose = still, mouth, pose
        points = still.landmarks
        self.half = (points[54, 0] - points[48, 0]) / 2
        self.middle = (points[48] + points[54]) / 2
        self.unit = self.half / MOUTH_HALF
        self.centre = (points[0] + points[16] + points[30]) / 3
        self.lip_side = np.sign(points[:, 1] - np.polyval(still.lip_line, self._along(points[:, 0])))
        self.lip_side[48:] = MOUTH_SIDE
        self.lid_side = np.where(points[:, 1] < points[36:48, 1].mean(), -1, 1)
        self.lid_side[list(UPPER_LIDS)], self.lid_side[list(LOWER_LIDS)] = -1, 1

    def _along(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x - self.middle[0], -1.3 * self.half, 1.3 * self.half)

    def head(self, points: np.ndarray) -> np.ndarray:
        """Backward map of shift, roll, size, yaw and pitch; background and, partly, body do not move."""
        pose = self.pose
        pivot = np.array([self.centre[0], self.centre[1] + NECK], points.dtype)
        shift = np.array([pose.x, pose.y], points.dtype)
        from_centre = points - np.asarray(self.centre, points.dtype) - shift
        radius = np.hypot(from_centre[..., 0], from_centre[..., 1])
        weight = smoothstep((165 - radius) / 90)[..., None]
        cos, sin = np.cos(pose.roll) / pose.size, np.sin(pose.roll) / pose.size
        turned = (points - pivot - shift) @ np.array([[cos, -sin], [sin, cos]], points.dtype) + pivot
        nose = bell(from_centre[..., 0] / 15) * bell((from_centre[..., 1] - 8) / 18)
        depth = DEPTH * (bell(radius / 72) + 0.22 * nose)[..., None]
        return points + weight * (turned - points) - depth * np.array([pose.yaw, pose.pitch], points.dtype)

    def _lips(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Neutral x, lip line, and edges of the opening (upper, lower) at posed points."""
        mouth = self.mouth
        away = x - self.middle[0]
        narrow = 1 / (1 + 0.13 * mouth.width - 0.30 * mouth.rounding) - 1
        below = y - self.middle[1] - 0.3 * self.drop
        from_x = x + away * narrow * bell(away / (1.9 * self.half)) * bell(below / (24 * self.unit))
        line = np.polyval(self.still.lip_line, self._along(from_x)).astype(x.dtype)
        u = (from_x - self.middle[0]) / self.half
        lens = np.clip(1 - u * u, 0, 1)
        shape = lens * (1 + (0.2 + 0.5 * mouth.rounding) * (1 - lens))  # rounded lips open wider at the sides
        return from_x, line, line - self.rise * shape, line + self.drop * shape

    @property
    def drop(self) -> float:
        """Lowering of the lower lip, pixels."""
        return JAW_DROP * self.unit * self.mouth.opening

    @property
    def rise(self) -> float:
        """Rise of the upper lip, pixels."""
        return LIP_RAISE * self.unit * max(0.55 * min(1.0, 2.5 * self.mouth.opening), self.mouth.teeth)

    def expression(self, points: np.ndarray, lip_side: np.ndarray | None = None,
                   lid_side: np.ndarray | None = None) -> np.ndarray:
        """Backward map of mouth, jaw, lids and brows.

        `lip_side`, `lid_side` (n,): -1 treats points as upper, +1 as lower lip or lid, because landmarks are
        exactly on the edges. None: the nearer side.
        """
        x, y = points[..., 0], points[..., 1]
        from_x, line, top, bottom = self._lips(x, y)
        upper = y < (top + bottom) / 2 if lip_side is None else lip_side < 0
        chin = self.still.landmarks[8, 1] + 0.72 * self.drop
        fall = smoothstep((y - bottom) / (28 * self.unit)) * bell((x - self.middle[0]) / 46)
        jaw = 0.72 * self.drop * fall * bell(np.maximum(0, y - chin) / 30)
        up = y + (line - top) * bell((top - y) / (11 * self.unit))
        down = y - (bottom - line) * bell((y - bottom) / (15 * self.unit)) - jaw
        from_y = np.where(upper, up, down)
        away = from_y - line
        pressed = self.mouth.press * bell(away / 6) * bell((x - self.middle[0]) / self.half)
        from_y = from_y + 0.45 * away * pressed
        return self._lids(np.stack([from_x, from_y], axis=-1), lid_side)

    def _lids(self, points: np.ndarray, side: np.ndarray | None) -> np.ndarray:
        """Backward map of blinks and raised brows."""
        x, y = points[..., 0], points[..., 1]
        landmarks = self.still.landmarks
        offset = np.zeros_like(y)
        for eye, brow in zip(self.still.eyes, (landmarks[17:22], landmarks[22:27]), strict=True):
            edge, closing = self._lid(eye, x)
            above = y < edge if side is None else side < 0
            offset = offset - np.where(above, closing * bell((edge - y) / 9), 0)
            across, down = brow.mean(0)
            offset = offset + 2.4 * self.pose.brows * bell((x - across) / 24) * bell((y - down) / 8)
        return np.stack([x, y + offset], axis=-1).astype(points.dtype)

    def _lid(self, eye: Eye, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edge of the upper lid over x, and its lowering; none outside of the eye."""
        u = np.clip((x - eye.middle) / eye.half, -1, 1)
        top, bottom = np.polyval(eye.top, u), np.polyval(eye.bottom, u)
        closing = self.pose.blink * np.maximum(bottom - top, 0) * (np.abs(u) < 1)
        return top + closing, closing

    def landmarks(self) -> np.ndarray:
        """The 68 landmarks (float64) in photograph coordinates."""
        unposed = invert(lambda p: self.expression(p, self.lip_side, self.lid_side), self.still.landmarks)
        return invert(self.head, unposed)

    def image(self, camera: Camera) -> np.ndarray:
        """The frame (height, width, 3) uint8 BGR."""
        unposed = self.head(camera.backward(grid(camera.width, camera.height)))
        image = sample(self.still.texture, self.expression(unposed), ZOOM)
        if self.drop + self.rise > 0.05:
            self._paint_mouth(image, unposed, camera.zoom)
        return image

    def _paint_mouth(self, image: np.ndarray, unposed: np.ndarray, zoom: float) -> None:
        """Cavity and upper teeth behind the opening, blended over its antialiased edge."""
        box = _around(unposed, self.middle, (1.2 * self.half, self.drop + self.rise + 4))
        x, y = unposed[box][..., 0], unposed[box][..., 1]
        from_x, line, top, bottom = self._lips(x, y)
        cover = np.clip((y - top) * zoom + 0.5, 0, 1) * np.clip((bottom - y) * zoom + 0.5, 0, 1)
        cover = (cover * np.clip((bottom - top) * zoom, 0, 1))[..., None]
        inner = _mouth_inside(*np.stack([from_x - self.middle[0], y - line, y - top]) / np.float32(self.unit))
        image[box] = np.round(image[box] * (1 - cover) + np.clip(inner, 0, 255) * cover).astype(np.uint8)


def _mouth_inside(x: np.ndarray, y: np.ndarray, below_lip: np.ndarray) -> np.ndarray:
    """Colours inside the mouth; x, y from the middle of the lip line, in units of the neutral face."""
    above_edge = 2.2 - 0.006 * x * x - y  # distance from the biting edge of the upper teeth
    teeth = (smoothstep(above_edge / 0.9 + 0.5) * smoothstep((15 - np.abs(x)) / 3))[..., None]
    colour = CAVITY * (0.5 + 0.5 * bell(x / 14))[..., None] * (1 - teeth) + TEETH * teeth
    shadow = (0.52 + 0.48 * smoothstep(below_lip / 4)) * (0.35 + 0.65 * bell(x / 17))
    return colour * shadow[..., None]


def _around(points: np.ndarray, centre: tuple[float, float] | np.ndarray, reach: tuple[float, float]
            ) -> tuple[slice, slice]:
    """The smallest box of a grid (h, w, 2) with all points within `reach` of `centre`; may be empty."""
    near = (np.abs(points - np.asarray(centre, np.float32)) < np.asarray(reach, np.float32)).all(-1)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not rows.size:
        return np.s_[:0, :0]
    return np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
