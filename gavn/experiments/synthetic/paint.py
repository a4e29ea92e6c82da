"""The people of the demo data: colours and shapes on the neutral photograph."""
from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from gavn.experiments.synthetic.face import (
    LIP_BOTTOM,
    LIP_TOP,
    MOUTH,
    MOUTH_HALF,
    SIDE,
    ZOOM,
    lip_curves,
    neutral_face,
    seam,
)
from gavn.experiments.synthetic.people import PEOPLE, Identity
from gavn.experiments.synthetic.warp import bell, bumps, grid, invert, sample, smoothstep
from gavn.faces.landmarks import FLIP

LENS = 1.1  # blur of the camera, sigma in texture pixels; video is softer than a studio photograph
MIDDLE = 224  # x of the face's middle
_FRACTION = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class Eye:
    """The edges of the lids, cubic polynomials y((x - middle) / half)."""

    middle: float
    half: float
    top: np.ndarray
    bottom: np.ndarray

    @classmethod
    def through(cls, points: np.ndarray) -> Eye:
        """Makes the eye from its six landmarks (6, 2), in iBUG order from the left corner."""
        middle, half = (points[3, 0] + points[0, 0]) / 2, (points[3, 0] - points[0, 0]) / 2
        edges = (points[:4], points[[0, 5, 4, 3]])
        return cls(middle, half, *(np.polyfit((edge[:, 0] - middle) / half, edge[:, 1], 3) for edge in edges))


@dataclass(frozen=True)
class Still:
    """A neutral face.

    Glasses are a separate image, because they move with the head but not with blinks.
    """

    texture: np.ndarray  # uint8 BGR, ZOOM times as large as the coordinates
    glasses: np.ndarray | None  # uint8: BGR times coverage, coverage
    landmarks: np.ndarray  # (68, 2)
    lip_line: np.ndarray  # polynomial y(x - middle of the mouth)
    eyes: tuple[Eye, Eye]  # left and right of the image


@cache
def still(name: str) -> Still:
    """Returns the neutral face of a person. Raises KeyError with all known names."""
    if name not in PEOPLE:
        raise KeyError(f'no demo identity {name!r}; there are: {", ".join(PEOPLE)}')
    who = PEOPLE[name]
    _, points, _ = neutral_face()
    layers = [_portrait(who)]
    if who.glasses is not None:
        layers.append(_glasses(points)[..., None] * np.array([*who.glasses, 255], np.float32))
    where = bumps(_plane(), who.shape)
    layers = [_reshaped(layer, where, who.mirrored) for layer in layers]
    x = MOUTH[0] + np.linspace(-1.3, 1.3, 27) * MOUTH_HALF
    line = np.stack([x, seam(x)], axis=-1)
    moved = invert(lambda p: bumps(p, who.shape), np.concatenate([points, line]))
    if who.mirrored:
        moved[:, 0] = SIDE - 1 - moved[:, 0]
        moved[:68] = moved[:68][FLIP]
    line = moved[68:] - (moved[[48, 54], 0].mean(), 0)
    lip_line = np.polyfit(line[:, 0], line[:, 1], 6)
    eyes = Eye.through(moved[36:42]), Eye.through(moved[42:48])
    return Still(layers[0], layers[1] if len(layers) > 1 else None, moved[:68], lip_line, eyes)


def _reshaped(layer: np.ndarray, where: np.ndarray, mirrored: bool) -> np.ndarray:
    image = np.clip(np.round(cv2.GaussianBlur(layer, (0, 0), LENS)), 0, 255).astype(np.uint8)
    image = sample(image, where, ZOOM, cv2.INTER_LANCZOS4)
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image


def _portrait(who: Identity) -> np.ndarray:
    """The recoloured neutral face, float32 BGR."""
    face, _, masks = neutral_face()
    painted = _recolour(face.astype(np.float32), masks, who)
    painted = _knitted(painted, masks['collar'], who)
    return _hairs(_dots(_lips(painted, who), who), who)


def _plane() -> np.ndarray:
    """Coordinates (h, w, 2) of the texture's pixels."""
    return grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM)


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """x and y (h, w) of the texture's pixels."""
    plane = _plane()
    return plane[..., 0], plane[..., 1]


def _ink(painted: np.ndarray, mask: np.ndarray, colour: np.ndarray | tuple[float, ...], strength: float = 1.0
         ) -> np.ndarray:
    weight = (mask * strength)[..., None]
    return painted * (1 - weight) + np.asarray(colour, np.float32) * weight


def _recolour(painted: np.ndarray, masks: dict[str, np.ndarray], who: Identity) -> np.ndarray:
    """Changes skin tone, hair and wall."""
    skin = 255 * (painted / 255) ** who.skin_gamma * np.asarray(who.skin, np.float32)
    painted = _ink(painted, masks['face'] * (1 - _eyes()), skin)
    lab = cv2.cvtColor(np.clip(painted, 0, 255) / 255, cv2.COLOR_BGR2LAB)
    gain, colour, a, b = who.hair
    dyed = lab * (gain, colour, colour) + np.array((0, a, b))
    hair = cv2.cvtColor(dyed.astype(np.float32), cv2.COLOR_LAB2BGR) * 255
    painted = _ink(painted, masks['hair'], _calm(hair))
    return painted * (1 + masks['wall'][..., None] * (np.asarray(who.wall, np.float32) - 1))


def _knitted(painted: np.ndarray, collar: np.ndarray, who: Identity) -> np.ndarray:
    """Paints a striped collar of two colours with the shading of the black one in the photograph."""
    x, y = _axes()
    sag = y - 0.0016 * (x - MIDDLE) ** 2
    stripes = smoothstep(0.5 + 0.6 * np.sin(who.collar_wave[0] * x + who.collar_wave[1] * sag))[..., None]
    first, second = np.asarray(who.collar, np.float32)
    ribs = 0.93 + 0.07 * np.sin(1.9 * x)
    folds = np.clip(0.45 + painted.mean(-1) / 45, 0.45, 1.15) * bell((x - MIDDLE + 4) / 110)
    wool = (stripes * first + (1 - stripes) * second) * (ribs * folds)[..., None]
    return _ink(painted, collar, wool, 0.92)


def _calm(hair: np.ndarray) -> np.ndarray:
    """Reduces the highest contrasts of hair, which are hard to encode."""
    strands, mass = cv2.GaussianBlur(hair, (0, 0), 0.9), cv2.GaussianBlur(hair, (0, 0), 16)
    return mass + 0.72 * (strands - mass)


def _eyes() -> np.ndarray:
    """Soft mask of the eyeballs, which keep their colour."""
    _, points, _ = neutral_face()
    mask = np.zeros((SIDE * ZOOM, SIDE * ZOOM), np.float32)
    for eye in (points[36:42], points[42:48]):
        eye = eye.mean(0) + (eye - eye.mean(0)) * (0.92, 0.8)
        cv2.fillPoly(mask, [_fixed(eye)], 1.0, cv2.LINE_AA, _FRACTION)
    return cv2.GaussianBlur(mask, (0, 0), 1.0)


def _lips(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Colours the lips inside their exact contours, with the photograph's shading and a dark lip line."""
    x, y = _axes()
    u = (x - MOUTH[0]) / MOUTH_HALF
    top, bottom = lip_curves(np.clip(u, -1, 1))
    ends = smoothstep((1.02 - np.abs(u)) / 0.12)
    mask = smoothstep((y - top + 0.7) / 1.4) * smoothstep((bottom - y + 0.9) / 1.8) * ends
    light = painted.mean(-1) / 165
    depth = np.where(y < seam(x), (seam(x) - y) / LIP_TOP, (y - seam(x)) / LIP_BOTTOM)
    creases = 1 + 0.05 * np.sin(3.1 * x + 1.3 * np.sin(0.9 * x)) * bell((depth - 0.45) / 0.4)
    shade = np.where(y < seam(x), 0.80 + 0.12 * depth, 0.90 + 0.16 * bell((depth - 0.45) / 0.3)) * creases
    colour = np.asarray(who.lips, np.float32) * (np.clip(0.35 + 0.65 * light, 0.5, 1.3) * shade)[..., None]
    painted = _ink(painted, mask, colour, who.lip_strength)
    line = bell((y - seam(x)) / 0.75) * smoothstep((1.04 - np.abs(u)) / 0.1)
    painted = _ink(painted, line, np.asarray(who.lips, np.float32) * 0.42 * who.skin[1], 0.75)
    under = bell((y - seam(x) - LIP_BOTTOM - 2.2) / 2.0) * bell(u / 0.6)
    return painted * (1 - 0.10 * under[..., None])


def _dots(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Paints freckles over nose and cheeks, moles and stubble."""
    draw = np.random.default_rng(zlib.crc32(who.name.encode()))
    points = _plane()
    shade = np.ones(points.shape[:2], np.float32)
    spots = [(draw.normal(MIDDLE, 17), draw.normal(121, 7), draw.uniform(0.5, 0.9), draw.uniform(0.06, 0.16))
             for _ in range(who.freckles)]
    for x, y, radius, strength in [*spots, *((*mole, 0.62) for mole in who.moles)]:
        left, top = round((x - 4) * ZOOM), round((y - 4) * ZOOM)
        around = np.s_[top:top + 8 * ZOOM, left:left + 8 * ZOOM]
        away = np.hypot(points[around][..., 0] - x, points[around][..., 1] - y)
        shade[around] *= 1 - strength * smoothstep((radius - away) / 0.7 + 0.5)
    if who.stubble:
        grain = cv2.GaussianBlur(draw.standard_normal(shade.shape).astype(np.float32), (0, 0), 0.8) * 2.0
        shade *= 1 - who.stubble * _beard() * np.clip(0.45 + 0.16 * grain, 0, 1)
    tint = np.array([1.0, 0.9, 0.72], np.float32)
    return painted * (1 - (1 - shade[..., None]) * tint)


def _beard() -> np.ndarray:
    """Mask of stubble: jaw, chin and upper lip without the lips."""
    _, points, masks = neutral_face()
    x, y = _axes()
    top, bottom = lip_curves(np.clip((x - MOUTH[0]) / MOUTH_HALF, -1, 1))
    lips = smoothstep((y - top + 1) / 2) * smoothstep((bottom - y + 1) / 2)
    lips = lips * (np.abs(x - MOUTH[0]) < MOUTH_HALF)
    arch = 137 - 0.004 * (x - MOUTH[0]) ** 2 + 16 * smoothstep((np.abs(x - MOUTH[0]) - 16) / 12)
    arch = arch - 30 * smoothstep((np.abs(x - MOUTH[0]) - 32) / 12)
    jaw = np.interp(x[0], *points[2:15].T)[None] - y
    return masks['face'] * smoothstep((y - arch) / 6) * smoothstep((jaw + 5) / 9) * (1 - lips)


def _hairs(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Paints eyebrows stroke by stroke, and the shadow of glasses."""
    _, points, _ = neutral_face()
    draw = np.random.default_rng(zlib.crc32(who.name.encode()))
    ink = np.zeros(painted.shape[:2], np.float32)
    for brow in (points[17:22], points[22:27]):
        spread = 1.0 + 1.3 * who.brows
        for t in draw.uniform(0, 4, int(170 * who.brows)):
            x, y = (np.interp(t, range(5), brow[:, k]) for k in (0, 1))
            start = np.array([x, y + 0.6]) + draw.normal(0, 0.36 * spread, 2)
            lean = np.sign(x - MIDDLE) * draw.uniform(1.2, 2.6)
            hair = np.stack([start, start + np.array([lean, draw.uniform(-1.6, -0.2)])])
            cv2.polylines(ink, [_fixed(hair)], False, 1.0, 1, cv2.LINE_AA, _FRACTION)
    painted = _ink(painted, cv2.GaussianBlur(ink, (0, 0), 0.8), painted * (0.34, 0.38, 0.42), 0.85)
    if who.glasses is None:
        return painted
    shadow = cv2.GaussianBlur(np.roll(_glasses(points), 5, 0), (0, 0), 3)
    return painted * (1 - 0.25 * shadow[..., None])


def _glasses(points: np.ndarray) -> np.ndarray:
    """Coverage of two rounded rims, a bridge and temples around the eyes of `points`."""
    x, y = _axes()
    gap = np.full(x.shape, np.inf, np.float32)  # distance from the middle of the frame's wire
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    for centre in eyes:
        across, down = (x - centre[0]) / 15.5, (y - centre[1] - 2.5) / 11.5
        gap = np.minimum(gap, np.abs((np.abs(across) ** 2.8 + np.abs(down) ** 2.8) ** (1 / 2.8) - 1) * 12.5)
        along = (x - centre[0]) * np.sign(centre[0] - MIDDLE)
        temple = np.abs(y - centre[1] + 1.5 + 0.12 * (along - 15)) + 99 * ((along < 15) | (along > 29))
        gap = np.minimum(gap, temple)
    middle = (eyes[0] + eyes[1]) / 2
    bridge = np.abs(y - middle[1] + 1.2 - 0.03 * (x - middle[0]) ** 2) + 99 * (np.abs(x - middle[0]) > 7.5)
    return smoothstep((1.15 - np.minimum(gap, bridge)) / 0.8)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Converts texture pixels to OpenCV's fixed-point drawing coordinates."""
    return np.round(((points + 0.5) * ZOOM - 0.5) * 2**_FRACTION).astype(np.int32)
