"""Faces that are turned, shifted and resized for the landmark detector, and their points with them."""
import numpy as np
import pytest
import torch

from gavn.models.face_jitter import Jitter, transform

SIZE = 112
DOT = torch.tensor([0.6, 0.35])


def dotted(point: torch.Tensor) -> torch.Tensor:
    """A dark image (1, 3, 112, 112) with a soft bright dot at `point`, unit square."""
    centres = (torch.arange(SIZE) + 0.5) / SIZE
    distance = (centres[None, :] - point[0]) ** 2 + (centres[:, None] - point[1]) ** 2
    return torch.exp(-distance / 2 / 0.02 ** 2).expand(1, 3, SIZE, SIZE)


def centre(image: torch.Tensor) -> torch.Tensor:
    """Centre of brightness (2,) of an image (3, h, w) in its unit square."""
    centres = (torch.arange(SIZE) + 0.5) / SIZE
    weight = image[0] / image[0].sum()
    return torch.stack(((weight.sum(0) * centres).sum(), (weight.sum(1) * centres).sum()))


def test_points_stay_on_what_they_mark() -> None:
    moves = Jitter(rotation=30, shift=0.1, scale=0.2).draw(16, np.random.default_rng(0))
    faces, points = transform(dotted(DOT).repeat(16, 1, 1, 1), DOT.expand(16, 1, 2), moves)
    assert torch.stack([centre(face) for face in faces]) == pytest.approx(points[:, 0], abs=1e-3)
    assert (points[:, 0] - DOT).norm(dim=-1).max() > 0.1


def test_a_quarter_turn_by_hand() -> None:
    clockwise = torch.tensor([[[0.0, -1.0, 1.0], [1.0, 0.0, 0.0]]])  # x right, y down: right goes to below
    face = torch.rand(1, 3, SIZE, SIZE)
    moved, points = transform(face, torch.tensor([[[1.0, 0.5]]]), clockwise)
    assert points.flatten().tolist() == [0.5, 1.0]
    assert torch.allclose(moved, face.rot90(-1, (2, 3)), atol=1e-4)


def test_no_jitter_is_none_and_limits_are_held() -> None:
    assert not Jitter()
    still = Jitter().draw(2, np.random.default_rng(0))
    assert torch.allclose(still, torch.eye(3)[:2].expand(2, 2, 3), atol=1e-6)
    moves = Jitter(rotation=10, scale=0.1).draw(500, np.random.default_rng(0))
    scale = moves[:, :, :2].det().sqrt()
    assert 0.9 <= scale.min() < 0.92 and 1.08 < scale.max() <= 1.1
    angle = torch.atan2(moves[:, 1, 0], moves[:, 0, 0]).rad2deg().abs().max()
    assert 9.5 < angle <= 10
    with pytest.raises(ValueError, match='rotation'):
        Jitter(rotation=-1)
