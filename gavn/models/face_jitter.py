"""Random rotation, shift and scale of the faces that a landmark detector is trained on."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_CENTRE = 0.5  # of the unit square: centre of rotation and scale


@dataclass(frozen=True)
class Jitter:
    """Limits of random similarity transforms of faces. Zeros: no transform.

    Tracked faces have the same position in all crops. Without jitter the detector learns one mean face.
    """

    rotation: float = 0  # largest angle in degrees, 0 to 180, in both directions
    shift: float = 0  # largest shift as a share of the crop's side, 0 to below 1, in each direction
    scale: float = 0  # largest share by which a face grows or shrinks, 0 to below 1

    def __post_init__(self) -> None:
        if not (0 <= self.rotation <= 180 and 0 <= self.shift < 1 and 0 <= self.scale < 1):
            raise ValueError(f'{self}: rotation must be 0 to 180 degrees, shift and scale 0 to below 1')

    def __bool__(self) -> bool:
        return any((self.rotation, self.shift, self.scale))

    def draw(self, count: int, generator: np.random.Generator) -> Tensor:
        """Random similarity matrices (count, 2, 3), which map points of the unit square."""
        angle, scale, x, y = generator.uniform(-1, 1, (4, count))
        angle, scale = np.deg2rad(self.rotation * angle), 1 + self.scale * scale
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        rotate = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        shift = _CENTRE + self.shift * np.stack((x, y), -1) - rotate.sum(-1) * _CENTRE
        return torch.from_numpy(np.concatenate((rotate, shift[..., None]), -1)).float()


def transform(faces: Tensor, points: Tensor, similarities: Tensor) -> tuple[Tensor, Tensor]:
    """Transforms faces and their points. Pixels from outside repeat the image's border.

    Args:
        faces: (n, 3, s, s).
        points: (n, p, 2) in the unit square.
        similarities: (n, 2, 3), see `Jitter.draw`.
    """
    moved = points @ similarities[:, :, :2].mT + similarities[:, None, :, 2]
    last_row = torch.tensor([0.0, 0.0, 1.0]).to(similarities).expand(len(similarities), 1, 3)
    inverse = torch.linalg.inv(torch.cat((similarities, last_row), 1))  # sampling maps output to input pixels
    unit = torch.tensor([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]]).to(faces)  # maps [-1, 1] to [0, 1]
    theta = (torch.linalg.inv(unit) @ inverse @ unit)[:, :2]
    grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, padding_mode='border', align_corners=False), moved
