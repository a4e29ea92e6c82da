"""The people of the demo data: each one a repainted and reshaped copy of the neutral photograph."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from gavn.data.talking_face import (
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
from gavn.data.talking_warp import Bump, bell, bumps, grid, invert, sample, smoothstep
from gavn.utils.landmarks import FLIP


@dataclass(frozen=True)
class Identity:
    """What makes one person of the demo: shape, colours, details and voice. Colours are blue, green, red."""

    name: str
    shape: tuple[Bump, ...] = ()
    mirrored: bool = False
    skin: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain
    skin_gamma: float = 1.0
    hair: tuple[float, float, float] = (1.0, 0.0, 0.0)  # gain of lightness, shift of a* and b*
    wall: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain
    collar: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None  # two colours of a knitted pattern
    collar_wave: tuple[float, float] = (0.0, 0.6)  # waves across and down, radians a pixel
    lips: tuple[float, float, float] = (120.0, 118.0, 180.0)
    lip_strength: float = 0.45
    brows: float = 0.3
    freckles: int = 0
    moles: tuple[tuple[float, float, float], ...] = ()  # x, y, radius
    stubble: float = 0.0
    glasses: tuple[int, int, int] | None = None
    voice: tuple[float, float] = (190.0, 1.0)  # pitch in Hz; formant frequencies are multiplied by the second


@dataclass(frozen=True)
class Still:
    """A face at rest: its texture (uint8 BGR, ZOOM times the coordinates), landmarks (68, 2) and lip line y(x).

    Glasses are a picture of their own (uint8 BGR, premultiplied, and coverage): they turn with the head, not with the face.
    """

    texture: np.ndarray
    glasses: np.ndarray | None
    landmarks: np.ndarray
    lip_line: np.ndarray  # polynomial in x - x of the mouth's middle


def _shape(jaw: float = 1.0, eyes: float = 1.0, apart: float = 0.0, nose: float = 1.0, chin: float = 0.0, mouth: float = 1.0,
           hair: float = 1.0, long_nose: float = 0.0, brows: float = 0.0) -> tuple[Bump, ...]:
    """Usual differences between faces; factors of 1 and shifts of 0 change nothing."""
    return (
        Bump((223, 160), (62, 30), scale=(jaw, 1.0)),
        Bump((221, 180), (42, 20), shift=(0, chin)),
        Bump((203, 100), (16, 11), scale=(eyes, eyes), shift=(-apart, 0)),
        Bump((248, 100), (16, 11), scale=(eyes, eyes), shift=(apart, 0)),
        Bump((224, 124), (15, 16), scale=(nose, 1.0), shift=(0, long_nose)),
        Bump((223, 146), (30, 14), scale=(mouth, 1.0)),
        Bump((226, 52), (95, 42), scale=(hair, hair)),
        Bump((204, 88), (17, 7), shift=(0, brows)),
        Bump((247, 88), (17, 7), shift=(0, brows)),
    )


PEOPLE = {person.name: person for person in (
    Identity('ada', freckles=70, moles=((241, 152, 1.3),), hair=(0.95, 14, 10), wall=(0.86, 0.92, 0.84),
             collar=((60, 80, 30), (210, 215, 190)), collar_wave=(0.0, 1.0), brows=0.4, voice=(205, 1.12)),
    Identity('ben', _shape(jaw=1.10, eyes=0.95, nose=1.16, chin=4, mouth=1.06, hair=0.90, brows=1.5), mirrored=True,
             skin=(0.84, 0.90, 0.97), skin_gamma=1.15, hair=(0.34, -2, -12), wall=(0.95, 0.82, 0.70),
             collar=((120, 60, 30), (40, 30, 25)), collar_wave=(0.9, 0.0), lips=(105, 105, 150), lip_strength=0.35,
             brows=0.9, stubble=0.5, moles=((198, 128, 1.5),), voice=(112, 0.94)),
    Identity('cleo', _shape(jaw=0.95, eyes=1.10, apart=1.0, nose=1.08, mouth=1.04, hair=1.05), skin=(0.50, 0.58, 0.70),
             skin_gamma=1.25, hair=(0.24, 0, -16), wall=(0.72, 0.84, 0.95), collar=((40, 170, 225), (30, 40, 150)),
             collar_wave=(0.55, 0.55), lips=(62, 52, 128), lip_strength=0.6, brows=0.9, moles=((250, 128, 1.2),),
             voice=(178, 1.06)),
    Identity('dan', _shape(jaw=1.04, eyes=0.90, apart=-1.5, nose=0.92, long_nose=2, chin=2, mouth=0.95, hair=0.95),
             skin=(0.98, 0.97, 1.0), hair=(1.12, -6, -20), wall=(0.70, 0.66, 0.72), collar=((70, 70, 190), (225, 225, 225)),
             collar_wave=(0.0, 0.62), brows=0.2, glasses=(42, 34, 30), lip_strength=0.3, voice=(128, 0.98)),
    Identity('eva', _shape(jaw=0.92, eyes=1.06, apart=1.2, nose=0.90, chin=-2, mouth=1.0, hair=1.03, brows=-0.8),
             mirrored=True, skin=(0.93, 0.95, 1.02), hair=(0.55, 20, 8), wall=(0.80, 0.95, 0.92),
             collar=((150, 60, 140), (220, 200, 225)), collar_wave=(0.8, 0.8), lips=(70, 50, 190), lip_strength=0.65,
             brows=0.6, moles=((205, 150, 1.1), (236, 122, 0.8)), freckles=25, voice=(222, 1.16)),
)}


def _ink(painted: np.ndarray, mask: np.ndarray, colour: np.ndarray | tuple[float, ...], strength: float = 1.0) -> np.ndarray:
    weight = (mask * strength)[..., None]
    return painted * (1 - weight) + np.asarray(colour, np.float32) * weight


def _recolour(face: np.ndarray, masks: dict[str, np.ndarray], who: Identity) -> np.ndarray:
    """Skin tone, hair, wall and knitted collar."""
    painted = face.astype(np.float32)
    skin = 255 * (painted / 255) ** who.skin_gamma * np.asarray(who.skin, np.float32)
    painted = _ink(painted, masks['face'] * (1 - _eyes(who)), skin)
    lab = cv2.cvtColor(np.clip(painted, 0, 255) / 255, cv2.COLOR_BGR2LAB)
    dyed = lab * (who.hair[0], 1, 1) + np.array((0, who.hair[1], who.hair[2]), np.float32) * min(1.0, who.hair[0] + 0.3)
    hair = cv2.cvtColor(dyed.astype(np.float32), cv2.COLOR_LAB2BGR) * 255
    painted = _ink(painted, masks['hair'], hair)
    painted = painted * (1 + masks['wall'][..., None] * (np.asarray(who.wall, np.float32) - 1))
    if who.collar is not None:
        x, y = np.moveaxis(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM), -1, 0)
        sag = y - 0.0016 * (x - 224) ** 2
        wave = smoothstep(0.5 + 0.9 * np.sin(who.collar_wave[0] * x + who.collar_wave[1] * sag))[..., None]
        knit = wave * np.asarray(who.collar[0], np.float32) + (1 - wave) * np.asarray(who.collar[1], np.float32)
        ribs = 0.82 + 0.18 * np.sin(2.1 * x)
        fold = np.clip(0.45 + painted.mean(-1) / 45, 0.45, 1.15) * bell((x - 220) / 110)
        painted = _ink(painted, masks['collar'], knit * (ribs * fold)[..., None], 0.92)
    return painted


def _eyes(who: Identity) -> np.ndarray:
    """Soft mask of the eyeballs, which keep their colour."""
    _, points, _ = neutral_face()
    mask = np.zeros((SIDE * ZOOM, SIDE * ZOOM), np.float32)
    for eye in (points[36:42], points[42:48]):
        cv2.fillPoly(mask, [np.round(((eye + 0.5) * ZOOM - 0.5) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), 1.5)


def _lips(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Colour the lips inside their exact contours, keep the photograph's light and shade, darken the lip line."""
    x, y = np.moveaxis(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM), -1, 0)
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


def _dots(painted: np.ndarray, who: Identity, seed: int) -> np.ndarray:
    """Freckles over nose and cheeks, moles and stubble."""
    draw = np.random.default_rng(seed)
    points = grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM)
    shade = np.ones(points.shape[:2], np.float32)
    spots = [(draw.normal(224, 17), draw.normal(121, 7), draw.uniform(0.5, 0.9), draw.uniform(0.06, 0.16))
             for _ in range(who.freckles)]
    for x, y, radius, strength in [*spots, *((*mole, 0.62) for mole in who.moles)]:
        away = np.hypot(points[..., 0] - x, points[..., 1] - y)
        shade *= 1 - strength * smoothstep((radius - away) / 0.7 + 0.5)
    if who.stubble:
        grain = cv2.GaussianBlur(draw.standard_normal(shade.shape).astype(np.float32), (0, 0), 0.8) * 2.0
        shade *= 1 - who.stubble * _beard() * np.clip(0.45 + 0.16 * grain, 0, 1)
    tint = np.array([1.0, 0.9, 0.72], np.float32)
    return painted * (1 - (1 - shade[..., None]) * tint)


def _beard() -> np.ndarray:
    """Where stubble grows: jaw, chin and upper lip, not the lips."""
    _, points, masks = neutral_face()
    x, y = np.moveaxis(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM), -1, 0)
    top, bottom = lip_curves(np.clip((x - MOUTH[0]) / MOUTH_HALF, -1, 1))
    lips = smoothstep((y - top + 1) / 2) * smoothstep((bottom - y + 1) / 2) * (np.abs(x - MOUTH[0]) < MOUTH_HALF)
    arch = 137 - 0.004 * (x - MOUTH[0]) ** 2 + 16 * smoothstep((np.abs(x - MOUTH[0]) - 16) / 12)
    arch = arch - 30 * smoothstep((np.abs(x - MOUTH[0]) - 32) / 12)
    jaw = np.interp(x[0], *points[2:15].T)[None] - y
    return masks['face'] * smoothstep((y - arch) / 6) * smoothstep((jaw + 5) / 9) * (1 - lips)


def _hairs(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Eyebrows, stroke by stroke, and the shadow of glasses."""
    _, points, _ = neutral_face()
    draw = np.random.default_rng(len(who.name) + who.freckles)
    ink = np.zeros(painted.shape[:2], np.float32)
    for brow in (points[17:22], points[22:27]):
        spread = 1.0 + 1.3 * who.brows
        for t in draw.uniform(0, 4, int(170 * who.brows)):
            x, y = (np.interp(t, range(5), brow[:, k]) for k in (0, 1))
            start = np.array([x, y + 0.6]) + draw.normal(0, 0.36 * spread, 2)
            lean = np.sign(x - 224) * draw.uniform(1.2, 2.6)
            _stroke(ink, [start, start + (lean, draw.uniform(-1.6, -0.2))], 1)
    painted = _ink(painted, cv2.GaussianBlur(ink, (0, 0), 0.8), painted * (0.34, 0.38, 0.42), 0.85)
    if who.glasses is None:
        return painted
    shadow = cv2.GaussianBlur(np.roll(_glasses(points), 5, 0), (0, 0), 3)
    return painted * (1 - 0.25 * shadow[..., None])


def _glasses(points: np.ndarray) -> np.ndarray:
    """Coverage of two rounded rims, a bridge and temples around the eyes of `points`."""
    x, y = np.moveaxis(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM), -1, 0)
    gap = np.full(x.shape, np.inf, np.float32)  # distance from the middle of the frame's wire
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    for centre in eyes:
        across, down = (x - centre[0]) / 15.5, (y - centre[1] - 2.5) / 11.5
        gap = np.minimum(gap, np.abs((np.abs(across) ** 2.8 + np.abs(down) ** 2.8) ** (1 / 2.8) - 1) * 12.5)
        along = (x - centre[0]) * np.sign(centre[0] - 224)
        temple = np.abs(y - centre[1] + 1.5 + 0.12 * (along - 15)) + 99 * ((along < 15) | (along > 29))
        gap = np.minimum(gap, temple)
    middle = (eyes[0] + eyes[1]) / 2
    bridge = np.abs(y - middle[1] + 1.2 - 0.03 * (x - middle[0]) ** 2) + 99 * (np.abs(x - middle[0]) > 7.5)
    return smoothstep((1.15 - np.minimum(gap, bridge)) / 0.8)


def _stroke(mask: np.ndarray, points: list[np.ndarray] | np.ndarray, width: int) -> None:
    corners = np.round(((np.asarray(points) + 0.5) * ZOOM - 0.5) * 16).astype(np.int32)
    cv2.polylines(mask, [corners], False, 1.0, width, cv2.LINE_AA, 4)


@cache
def still(name: str) -> Still:
    """The person `name` at rest; raises KeyError naming the known people."""
    if name not in PEOPLE:
        raise KeyError(f'no demo identity {name!r}; there are: {", ".join(PEOPLE)}')
    who = PEOPLE[name]
    face, points, masks = neutral_face()
    painted = _recolour(face, masks, who)
    painted = _hairs(_dots(_lips(painted, who), who, seed=sum(map(ord, name))), who)
    where = bumps(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM), who.shape)
    layers = [np.clip(np.round(painted), 0, 255).astype(np.uint8)]
    if who.glasses is not None:
        cover = _glasses(points)[..., None]
        layers.append(np.round(cover * (*who.glasses, 255)).astype(np.uint8))
    layers = [sample(layer, where, ZOOM, cv2.INTER_LANCZOS4) for layer in layers]
    x = MOUTH[0] + np.linspace(-1.3, 1.3, 27) * MOUTH_HALF
    line = np.stack([x, seam(x)], axis=-1)
    moved = invert(lambda p: bumps(p, who.shape), np.concatenate([points, line]))
    if who.mirrored:
        layers = [np.ascontiguousarray(layer[:, ::-1]) for layer in layers]
        moved[:, 0] = SIDE - 1 - moved[:, 0]
        moved[:68] = moved[:68][FLIP]
    line = moved[68:] - (moved[[48, 54], 0].mean(), 0)
    return Still(layers[0], layers[1] if len(layers) > 1 else None, moved[:68], np.polyfit(line[:, 0], line[:, 1], 6))
