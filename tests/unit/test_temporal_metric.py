"""Flicker: stills, motion, noise and light whose warping error is known."""
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage import data

from gavn.metrics.missing import UndefinedMetricError
from gavn.metrics.temporal import WarpingError

Frames = Sequence[np.ndarray]


@pytest.fixture(scope='module')
def photograph() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture(scope='module')
def moving(photograph: np.ndarray) -> list[np.ndarray]:
    """Five frames of a texture that moves by 3 and 2 pixels."""
    return [np.ascontiguousarray(photograph[2 * t:128 + 2 * t, 150 + 3 * t:278 + 3 * t]) for t in range(5)]


def error(frames: Frames, truths: Frames | None = None) -> float | None:
    measure = WarpingError()
    for i, frame in enumerate(frames):
        measure.update(frame, truths[i] if truths else None)
    return measure.result()


def noisy(frames: Frames, deviation: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(frame + rng.normal(0, deviation, frame.shape)).clip(0, 255).astype(np.uint8) for frame in frames]


def lit(frames: Frames, step: int) -> list[np.ndarray]:
    """Every second frame darker by `step`, in steps of 8 bits, without clipping."""
    return [frame // 2 + np.uint8(step * (t % 2)) for t, frame in enumerate(frames)]


def test_a_still_does_not_flicker(moving: Frames) -> None:
    assert error(moving[:1] * 3) == 0


def test_motion_is_not_flicker(moving: Frames) -> None:
    unwarped = 1000 * np.mean([np.mean((a / 255. - b / 255.) ** 2)
                               for a, b in pairwise(moving)])
    assert error(moving) < 0.02 < unwarped / 100


def test_flicker_of_known_strength(moving: Frames) -> None:
    """A change of light by 10 of 255 along the truth's motion: its square, in thousandths."""
    dim = [frame // 2 for frame in moving]
    assert error(lit(moving, 10), dim) == pytest.approx(1000 * (10 / 255) ** 2, rel=0.03)


def test_it_rises_with_noise(moving: Frames) -> None:
    """Independent noise of two frames adds up; linear interpolation may dampen one of them."""
    values = [error(noisy(moving, deviation), moving) for deviation in (0, 3, 6, 12)]
    assert values == sorted(values)
    assert 0.6 < values[3] / (1000 * 2 * (12 / 255) ** 2) < 1.05


def test_what_it_cannot_see(moving: Frames) -> None:
    """A blurred clip scores better than the sharp truth, and a still best of all."""
    truth = noisy(moving, 2)
    blurred = [cv2.GaussianBlur(frame, (15, 15), 0) for frame in truth]
    assert error(blurred, truth) < error(truth, truth)


def test_motion_is_taken_from_the_truth(moving: Frames) -> None:
    """A restoration that stands still while the truth moves is an error along the truth's motion."""
    still = moving[:1] * len(moving)
    assert error(still, moving) > 10 * error(moving, moving)


def test_what_was_covered_does_not_count(photograph: np.ndarray) -> None:
    """A square moves before a still photograph: the strip that it uncovers is in one frame only."""
    def scene(x: int) -> np.ndarray:
        image = np.ascontiguousarray(photograph[:128, 150:278])
        image[40:90, x:x + 50] = photograph[300:350, 200:250]
        return image

    strip = np.abs(scene(30) / 255. - scene(38) / 255.)[40:90, 30:38]
    share = 1000 * np.square(strip).sum() / (128 * 128 * 3)
    assert error([scene(30), scene(38)]) < 0.5 * share


def test_the_mean_over_pairs(moving: Frames) -> None:
    truth = [frame // 2 for frame in moving[:1] * 3]
    frames = [truth[0], truth[0] + np.uint8(6), truth[0] + np.uint8(6)]
    assert error(frames, truth) == pytest.approx(1000 * (6 / 255) ** 2 / 2, rel=1e-4)


def test_pairs_without_a_pixel_that_both_show_are_left_out(moving: Frames, monkeypatch) -> None:
    """They have no error; to count them as none would make a clip of cuts a perfect one."""
    class Flow:
        @staticmethod
        def calc(one: np.ndarray, other: np.ndarray, _: None) -> np.ndarray:
            black = not one.any() or not other.any()
            return np.full((*one.shape, 2), 1000 if black else 0, np.float32)  # out of the image, or still

    monkeypatch.setattr(cv2, 'DISOpticalFlow', SimpleNamespace(create=lambda _: Flow))
    dark, odd = moving[0] // 4 + 10, np.zeros_like(moving[0])
    lighter = dark + np.uint8(6)
    assert error([dark, lighter]) == pytest.approx(1000 * (6 / 255) ** 2, rel=1e-4)
    assert error([dark, lighter, odd]) == error([dark, lighter])
    with pytest.raises(UndefinedMetricError, match='no pair of frames'):
        error([dark, odd, dark])


def test_too_little_to_measure(moving: Frames) -> None:
    for frames in ([], moving[:1]):
        with pytest.raises(UndefinedMetricError, match='it needs two frames'):
            error(frames)
    with pytest.raises(UndefinedMetricError, match='16 pixels per side, got 128 x 15'):
        error([moving[0][:15]])
    assert error([frame[:16, :16] for frame in moving]) >= 0
    with pytest.raises(ValueError, match='different shapes'):
        error([moving[0], moving[0][:64]])
    with pytest.raises(ValueError, match='different shapes'):
        error(moving[:1], [moving[0][:64]])
