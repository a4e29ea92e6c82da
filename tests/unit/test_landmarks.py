"""The 68 points: mirror image, error, drawing, head pose."""
import numpy as np
import pytest
import torch

from gavn.faces import landmarks
from gavn.faces.landmarks import (
    FACE_3D,
    FLIP,
    MEAN_FACE,
    MOUTH,
    draw,
    euler_angles,
    flip,
    nme,
    to_pixels,
    to_unit,
)


def project(angles: tuple[float, float, float], size: int) -> np.ndarray:
    """The generic face turned by pitch, yaw, roll and seen by a camera four crops away, in pixels."""
    (cp, cy, cr), (sp, sy, sr) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned = FACE_3D @ (about_z @ about_y @ about_x).T + [5, -40, 1000]
    return 4 * size * turned[:, :2] / turned[:, 2:] + size / 2 - 0.5


POSES = [(0, 0, 0), (20, 0, 0), (0, -35, 0), (0, 0, 25), (-15, 40, 10), (10, -60, -20)]


@pytest.mark.parametrize('degrees', POSES)
def test_pose_of_the_projected_model_is_recovered(degrees: tuple[float, float, float]) -> None:
    angles = np.radians(degrees)
    found = euler_angles(project(angles, 224), 224)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, angles, atol=1e-3)


def test_pose_keeps_leading_axes_and_rejects_holes() -> None:
    faces = np.stack([project((0.1 * i, 0, 0), 112) for i in range(6)]).reshape(2, 3, 68, 2)
    angles = euler_angles(faces, 112)
    np.testing.assert_allclose(angles[..., 0], [[0, 0.1, 0.2], [0.3, 0.4, 0.5]], atol=1e-3)
    faces[1, 2, 8] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        euler_angles(faces, 112)
    with pytest.raises(ValueError, match='coincide'):
        euler_angles(np.zeros((68, 2)), 112)


def test_mirrored_head_turns_the_other_way() -> None:
    seen = project((0.1, 0.4, -0.2), 224)
    mirrored = to_pixels(flip(to_unit(seen, 224, 224)), 224, 224)
    np.testing.assert_allclose(euler_angles(mirrored, 224), [0.1, -0.4, 0.2], atol=1e-3)


def test_flip_index_swaps_sides() -> None:
    assert sorted(FLIP) == list(range(68))
    np.testing.assert_array_equal(FLIP[FLIP], np.arange(68))
    # left to right: jaw ends, brow ends, nostrils, outer and inner eye corners, lids, mouth corners, lips
    pairs = {0: 16, 8: 8, 17: 26, 21: 22, 30: 30, 31: 35, 36: 45, 39: 42, 37: 44, 41: 46,
             48: 54, 59: 55, 60: 64, 67: 65, 57: 57, 66: 66}
    assert {i: int(FLIP[i]) for i in pairs} == pairs
    np.testing.assert_allclose(flip(MEAN_FACE), MEAN_FACE, atol=1e-12)


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_flip_agrees_with_the_mirrored_image(kind) -> None:
    image = np.zeros((20, 30), dtype=np.uint8)
    points = np.tile([[12.0, 7.0]], (68, 1))
    points[36] = 3, 4
    image[4, 3] = 255
    before = points.copy()
    x, y = np.asarray(to_pixels(flip(to_unit(kind(points), 30, 20)), 30, 20))[45]
    assert image[:, ::-1][round(float(y)), round(float(x))] == 255
    np.testing.assert_array_equal(points, before)
    np.testing.assert_allclose(flip(flip(kind(points))), points)


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_nme_by_hand(kind) -> None:
    true = np.zeros((2, 68, 2))
    true[:, 45] = 30, 40  # 50 from point 36
    pred = true.copy()
    pred[0, MOUTH] += 3, 4  # 20 of 68 points are off by 5
    error, mouth = nme(kind(pred), kind(true)), nme(kind(pred), kind(true), MOUTH)
    np.testing.assert_allclose(error, [10 * 20 / 68, 0])
    np.testing.assert_allclose(mouth, [10, 0])
    assert type(error) is type(kind(pred))


def test_draw_marks_the_points_on_a_copy() -> None:
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    points = to_pixels(MEAN_FACE, 224, 224)
    drawn = draw(image, points)
    assert not image.any() and drawn.dtype == np.uint8
    columns, rows = np.rint(points).astype(int).T
    assert (drawn[rows, columns, 2] > 150).all()
    assert not drawn[:20].any() and not drawn[-20:].any()


def test_constants_are_protected() -> None:
    assert MEAN_FACE.shape == (landmarks.N_POINTS, 2) and ((MEAN_FACE > 0) & (MEAN_FACE < 1)).all()
    with pytest.raises(ValueError, match='read-only'):
        MEAN_FACE[0] = 0
