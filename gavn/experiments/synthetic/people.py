"""The people of the demo data: shapes and colours on the neutral photograph, and voices."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from gavn.experiments.synthetic.face import MOUTH, MOUTH_HALF, SIDE, ZOOM, lip_curves, neutral_face, seam
from gavn.experiments.synthetic.warp import Bump, bell, bumps, grid, invert, sample, smoothstep
from gavn.faces.landmarks import FLIP

LENS = 0.6  # blur of the camera, sigma in texture pixels; video is softer than a studio photograph
Colour = tuple[float, float, float]  # blue, green, red


@dataclass(frozen=True)
class Identity:
    """One person of the demo: shape, colours and voice."""

    name: str
    shape: tuple[Bump, ...] = ()
    mirrored: bool = False
    skin: Colour = (1.0, 1.0, 1.0)  # gain
    skin_gamma: float = 1.0
    hair: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)  # gains of L*, of a*b*; shifts of a*, b*
    lips: Colour = (120, 118, 180)
    lip_strength: float = 0.45
    voice: tuple[float, float] = (190.0, 1.0)  # pitch in Hz; factor of the formant frequencies


def _shape(jaw: float = 1.0, eyes: float = 1.0, apart: float = 0.0, nose: float = 1.0, long_nose: float = 0.0,
           mouth: float = 1.0, chin: float = 0.0, brows: float = 0.0, hair: float = 1.0) -> tuple[Bump, ...]:
    """Differences between faces. Factors of 1 and shifts of 0 change nothing."""
    return (
        Bump((223, 160), (62, 30), scale=(jaw, 1.0)),
        Bump((221, 180), (42, 20), shift=(0, chin)),
        Bump((203, 100), (16, 11), scale=(eyes, eyes), shift=(-apart, 0)),
        Bump((248, 100), (16, 11), scale=(eyes, eyes), shift=(apart, 0)),
        Bump((224, 124), (15, 16), scale=(nose, 1.0), shift=(0, long_nose)),
        Bump((223, 146), (30, 14), scale=(mouth, 1.0)),
        Bump((204, 88), (17, 7), shift=(0, brows)),
        Bump((247, 88), (17, 7), shift=(0, brows)),
        Bump((226, 52), (95, 42), scale=(hair, hair)),
    )


PEOPLE = {person.name: person for person in (
    Identity('ada', hair=(0.95, 1.0, 14, 10), voice=(205, 1.12)),
    Identity('ben', _shape(jaw=1.10, eyes=0.95, nose=1.16, chin=4, mouth=1.06, hair=0.90, brows=1.5),
             mirrored=True, skin=(0.84, 0.90, 0.97), skin_gamma=1.15, hair=(0.42, 0.30, 3, 2),
             lips=(105, 105, 150), lip_strength=0.35, voice=(112, 0.94)),
    Identity('cleo', _shape(jaw=0.95, eyes=1.10, apart=1.0, nose=1.08, mouth=1.04, hair=1.05),
             skin=(0.50, 0.58, 0.70), skin_gamma=1.25, hair=(0.32, 0.22, 2, 1), lips=(62, 52, 128),
             lip_strength=0.6, voice=(178, 1.06)),
    Identity('dan', _shape(jaw=1.04, eyes=0.90, apart=-1.5, nose=0.92, long_nose=2, chin=2, mouth=0.95,
                           hair=0.95),
             skin=(0.78, 0.84, 0.92), hair=(1.06, 0.12, 0, 1), lip_strength=0.3, voice=(128, 0.98)),
    Identity('eva', _shape(jaw=0.92, eyes=1.06, apart=1.2, nose=0.90, chin=-2, hair=1.03, brows=-0.8),
             mirrored=True, skin=(0.93, 0.95, 1.02), hair=(0.58, 0.8, 18, 8), lips=(70, 50, 190),
             lip_strength=0.65, voice=(222, 1.16)),
)}


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
    """A neutral face."""

    texture: np.ndarray  # uint8 BGR, ZOOM times as large as the coordinates
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
    soft = np.clip(np.round(cv2.GaussianBlur(_portrait(who), (0, 0), LENS)), 0, 255).astype(np.uint8)
    texture = sample(soft, bumps(_plane(), who.shape), ZOOM, cv2.INTER_LANCZOS4)
    x = MOUTH[0] + np.linspace(-1.3, 1.3, 27) * MOUTH_HALF
    line = np.stack([x, seam(x)], axis=-1)
    moved = invert(lambda p: bumps(p, who.shape), np.concatenate([points, line]))
    if who.mirrored:
        texture = np.ascontiguousarray(texture[:, ::-1])
        moved[:, 0] = SIDE - 1 - moved[:, 0]
        moved[:68] = moved[:68][FLIP]
    line = moved[68:] - (moved[[48, 54], 0].mean(), 0)
    eyes = Eye.through(moved[36:42]), Eye.through(moved[42:48])
    return Still(texture, moved[:68], np.polyfit(line[:, 0], line[:, 1], 6), eyes)


def _plane() -> np.ndarray:
    """Coordinates (h, w, 2) of the texture's pixels."""
    return grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM)


def _portrait(who: Identity) -> np.ndarray:
    """The neutral face with a person's skin, hair and lips, float32 BGR."""
    face, _, masks = neutral_face()
    painted = face.astype(np.float32)
    skin = 255 * (painted / 255) ** who.skin_gamma * np.asarray(who.skin, np.float32)
    painted = _blend(painted, masks['face'] * (1 - _eyeballs()), skin)
    lab = cv2.cvtColor(np.clip(painted, 0, 255) / 255, cv2.COLOR_BGR2LAB)
    gain, colour, a, b = who.hair
    dyed = lab * (gain, colour, colour) + np.array((0, a, b))
    hair = cv2.cvtColor(dyed.astype(np.float32), cv2.COLOR_LAB2BGR) * 255
    return _lips(_blend(painted, masks['hair'], hair), who)


def _blend(painted: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return painted * (1 - mask[..., None]) + np.asarray(colour, np.float32) * mask[..., None]


def _eyeballs() -> np.ndarray:
    """Soft mask of the eyeballs, which keep their colour."""
    _, points, _ = neutral_face()
    mask = np.zeros((SIDE * ZOOM, SIDE * ZOOM), np.float32)
    for eye in (points[36:42], points[42:48]):
        inner = eye.mean(0) + (eye - eye.mean(0)) * (0.92, 0.8)
        fixed = np.round(((inner + 0.5) * ZOOM - 0.5) * 16).astype(np.int32)  # 4 fractional bits
        cv2.fillPoly(mask, [fixed], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), 1.0)


def _lips(painted: np.ndarray, who: Identity) -> np.ndarray:
    """Colours the lips inside their exact contours, with the photograph's shading and a dark lip line."""
    x, y = np.moveaxis(_plane(), -1, 0)
    u = (x - MOUTH[0]) / MOUTH_HALF
    top, bottom = lip_curves(np.clip(u, -1, 1))
    ends = smoothstep((1.02 - np.abs(u)) / 0.12)
    mask = smoothstep((y - top + 0.7) / 1.4) * smoothstep((bottom - y + 0.9) / 1.8) * ends
    light = np.clip(0.35 + 0.65 * painted.mean(-1) / 165, 0.5, 1.3) * np.where(y < seam(x), 0.86, 0.98)
    lips = np.asarray(who.lips, np.float32)
    painted = _blend(painted, mask * who.lip_strength, lips * light[..., None])
    line = bell((y - seam(x)) / 0.75) * smoothstep((1.04 - np.abs(u)) / 0.1)
    return _blend(painted, 0.75 * line, lips * 0.42 * who.skin[1])
