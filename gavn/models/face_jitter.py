"""Turning, shifting and resizing the faces that a landmark detector is trained on."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_MIDDLE = 0.5  # of the unit square, about which faces turn and grow


@dataclass(frozen=True)
class Jitter:
    """How far faces are moved at most, to either side; zeros: not at all.

    Tracked faces all sit alike in their crops, and a detector that saw no other learns one mean face.

    rotation: degrees. shift: sides of the crop, each way. scale: share by which a face grows or shrinks.
    """

    rotation: float = 0
    shift: float = 0
    scale: float = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rotation <= 180 and 0 <= self.shift < 1 and 0 <= self.scale < 1):
            raise ValueError(f'{self}: rotation lies in 0 to 180 degrees, shift and scale in 0 to below 1')

    def __bool__(self) -> bool:
        return any((self.rotation, self.shift, self.scale))

    def draw(self, count: int, generator: np.random.Generator) -> Tensor:
        """Similarities (count, 2, 3) of the unit square: where a moved point comes to lie."""
        angle, scale, x, y = generator.uniform(-1, 1, (4, count))
        angle, scale = np.deg2rad(self.rotation * angle), 1 + self.scale * scale
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        shift = _MIDDLE + self.shift * np.stack((x, y), -1) - turn.sum(-1) * _MIDDLE
        return torch.from_numpy(np.concatenate((turn, shift[..., None]), -1)).float()


def move(faces: Tensor, points: Tensor, similarities: Tensor) -> tuple[Tensor, Tensor]:
    """Square faces (n, 3, s, s) and their points (n, p, 2), unit square, moved by similarities (n, 2, 3).

    What comes in from outside repeats the edge of the picture.
    """
    moved = points @ similarities[:, :, :2].mT + similarities[:, None, :, 2]
    back = torch.linalg.inv(_square(similarities))  # sampling asks where a pixel comes from
    unit = torch.tensor([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]]).to(faces)  # from [-1, 1]
    theta = (torch.linalg.inv(unit) @ back @ unit)[:, :2]
    grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, padding_mode='border', align_corners=False), moved


def _square(similarities: Tensor) -> Tensor:
    last = torch.tensor([0.0, 0.0, 1.0]).to(similarities).expand(len(similarities), 1, 3)
    return torch.cat((similarities, last), 1)
