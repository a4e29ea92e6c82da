"""The neutral face of the demo data, made from one public-domain photograph.

The photograph is the NASA portrait of Eileen Collins (public domain) in scikit-image's wheel,
`skimage.data.astronaut()`. Its smile and its head tilt are removed by warps. `synthetic.people` makes several
people from it. All coordinates are pixels of the 512x512 photograph; textures are `ZOOM` times larger so that
resampling loses no detail.
"""
from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from gavn.experiments.synthetic.warp import bell, grid, invert, sample, smoothstep
from gavn.runtime.optional_packages import optional_package

ZOOM = 2
SIDE = 512

# iBUG points 0-47 of the photograph: jaw, brows, nose and eyes; the mouth has the lip curves below
PHOTO_POINTS = np.array([
    (179.6, 103.4), (179.8, 115.1), (180.7, 126.6), (182.0, 138.0), (184.8, 149.4), (191.0, 159.7),
    (199.7, 168.2), (208.9, 175.2), (220.4, 178.2), (232.0, 176.6), (243.2, 170.9), (253.2, 163.0),
    (260.7, 153.7), (265.2, 142.7), (268.2, 130.9), (270.4, 119.4), (271.6, 107.6), (187.2, 93.6),
    (192.2, 88.6), (200.4, 87.4), (208.8, 89.2), (216.4, 92.4), (236.2, 92.9), (244.0, 91.2),
    (252.2, 90.8), (259.6, 92.3), (264.9, 97.2), (225.9, 102.1), (225.7, 110.4), (225.4, 118.7),
    (225.2, 127.2), (214.2, 130.8), (219.2, 132.5), (224.2, 134.2), (229.6, 132.9), (234.4, 131.6),
    (195.0, 101.5), (200.4, 97.7), (206.9, 98.3), (212.6, 103.2), (206.4, 104.2), (199.7, 103.9),
    (237.6, 104.9), (243.7, 100.3), (250.2, 100.4), (256.6, 104.0), (250.4, 106.6), (243.9, 106.3),
])

# smile of the photograph: the edges of the opening between the lips, from corner to corner
SMILE_X = (202.3, 206.0, 210.0, 214.0, 218.0, 222.5, 227.0, 231.0, 235.0, 240.0, 244.5)
SMILE_TOP = (139.6, 140.3, 141.0, 141.8, 142.5, 143.1, 142.8, 142.3, 141.7, 141.1, 140.7)
SMILE_BOTTOM = (139.6, 143.6, 146.6, 148.5, 149.5, 150.0, 149.7, 149.3, 147.8, 144.9, 140.7)
SMILE_HALF, MOUTH_HALF = 21.1, 18.0
MOUTH = (223.4, 146.0)
LIP_TOP, LIP_BOTTOM = 5.2, 7.0  # pixels at the middle of the neutral lips
TILT = np.deg2rad(2.8)  # roll of the head in the photograph
TILT_CENTRE = (224.0, 130.0)

HAIRLINE = ((270, 98), (264, 90), (254, 85), (240, 83), (226, 79), (216, 81), (200, 79), (188, 71), (184, 86),
            (180, 104))
NECK = ((184, 150), (186, 176), (192, 187), (230, 190), (254, 186), (260, 172), (262, 152))
LEFT_EAR = ((169, 116), (182, 112), (183, 134), (175, 130))
RIGHT_EAR = ((266, 134), (270, 118), (282, 124), (276, 136))
HEAD = ((150, 90), (158, 55), (180, 28), (205, 14), (250, 12), (282, 28), (302, 60), (304, 90), (294, 112),
        (284, 128), (270, 132), (182, 132), (166, 122))


def _photograph() -> np.ndarray:
    data = optional_package('skimage.data', 'demo', 'drawing the faces of the demo')
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def seam(x: np.ndarray) -> np.ndarray:
    """Lip line of the neutral face, y over x."""
    return MOUTH[1] + 0.54 * ((x - MOUTH[0]) / MOUTH_HALF) ** 2


def _to_upright(points: np.ndarray) -> np.ndarray:
    """Backward map that removes the head's roll; collar and background are unchanged."""
    centre = np.asarray(TILT_CENTRE, points.dtype)
    away = points - centre
    weight = smoothstep((162 - np.hypot(away[..., 0], away[..., 1])) / 77)[..., None]
    turn = np.array([[np.cos(TILT), np.sin(TILT)], [-np.sin(TILT), np.cos(TILT)]], points.dtype)
    return points + weight * (away @ turn - away)


def _to_smile(points: np.ndarray) -> np.ndarray:
    """Backward map from closed, relaxed lips to the smile of the photograph."""
    x, y = points[..., 0], points[..., 1]
    away = x - MOUTH[0]
    from_x = x + away * (SMILE_HALF / MOUTH_HALF - 1) * bell(away / 34) * bell((y - MOUTH[1]) / 20)
    edge = np.clip(from_x, SMILE_X[0], SMILE_X[-1])
    fade = bell((from_x - edge) / 16)
    line = seam(np.clip(x, MOUTH[0] - 30, MOUTH[0] + 30))
    drop = y - line
    inside = smoothstep((1 - np.abs(away) / MOUTH_HALF) / 0.35)
    top = (np.polyval(np.polyfit(SMILE_X, SMILE_TOP, 4), edge) - line) * fade
    bottom = (np.polyval(np.polyfit(SMILE_X, SMILE_BOTTOM, 4), edge) - line) * fade
    up = top * bell(drop / 15) - drop * 0.30 * bell(drop / 5) * inside
    down = bottom * bell(drop / 19) - drop * 0.28 * bell(drop / 7) * inside
    return np.stack([from_x, y + np.where(drop < 0, up, down)], axis=-1)


def _neutral_to_photo(points: np.ndarray) -> np.ndarray:
    return _to_upright(_to_smile(points))


def lip_curves(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neutral outer lip contours (y above and below) at u = -1 .. 1 from corner to corner."""
    line = seam(MOUTH[0] + u * MOUTH_HALF)
    arch = np.sqrt(np.clip(1 - u * u, 0, 1))
    bow = 1.0 - 0.22 * bell(u / 0.16) + 0.06 * bell((np.abs(u) - 0.3) / 0.2)
    top = line - LIP_TOP * (0.45 * arch + 0.55 * arch**2) * bow
    return top, line + LIP_BOTTOM * (0.3 * arch + 0.7 * arch**2)


def _neutral_mouth() -> np.ndarray:
    """Points 48-67 of the neutral face; the inner contour is the lip line."""
    outer = (-1, -0.62, -0.25, 0, 0.25, 0.62, 1, 0.6, 0.27, 0, -0.27, -0.6)
    u = np.array([*outer, -0.9, -0.4, 0, 0.4, 0.9, 0.4, 0, -0.4])
    x = MOUTH[0] + u * MOUTH_HALF
    y = seam(x)
    top, bottom = lip_curves(u)
    y[1:6], y[7:12] = top[1:6], bottom[7:12]
    return np.stack([x, y], axis=-1)


@cache
def neutral_face() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The photograph with closed lips: texture (uint8 BGR), landmarks (68, 2), masks in [0, 1]."""
    photo = _photograph()
    where = _neutral_to_photo(grid(SIDE * ZOOM, SIDE * ZOOM, ZOOM))
    texture = sample(photo, where, 1, cv2.INTER_LANCZOS4)
    masks = {name: sample(mask, where, 1, cv2.INTER_LINEAR) for name, mask in _photo_masks(photo).items()}
    still = invert(_neutral_to_photo, PHOTO_POINTS)
    return texture, np.concatenate([still, _neutral_mouth()]), masks


def _polygon(points: tuple[tuple[float, float], ...] | np.ndarray, blur: float) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(mask, [np.round(np.asarray(points, np.float64) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _photo_masks(photo: np.ndarray) -> dict[str, np.ndarray]:
    """Soft masks of face (with neck and ears) and hair, from outlines and colour."""
    lab = cv2.cvtColor(photo, cv2.COLOR_BGR2LAB).astype(np.float32)
    lightness, _, yellow = (cv2.GaussianBlur(lab[..., i], (0, 0), 0.8) for i in range(3))
    outline = np.concatenate([PHOTO_POINTS[:17], np.array(HAIRLINE)])
    warm = smoothstep((yellow - 133) / 5)
    ears = np.maximum(_polygon(LEFT_EAR, 1.0), _polygon(RIGHT_EAR, 1.0))
    face = np.maximum(_polygon(outline, 1.2), np.maximum(_polygon(NECK, 1.2), ears) * warm)
    coloured = smoothstep((yellow - 0.15 * (lightness - 128) - 134) / 10)
    dark = smoothstep((150 - lightness) / 40)
    core = _polygon((np.array(HEAD) - TILT_CENTRE) * 0.92 + TILT_CENTRE, 2.0)
    hair = np.maximum(_polygon(HEAD, 2.5) * np.maximum(coloured, dark), core) * (1 - face)
    return {'face': face, 'hair': hair}
