"""Losses of our own, registered in BasicSR's LOSS_REGISTRY."""
import math

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from gavn.faces.geometry import DETECTOR_SIZE


@LOSS_REGISTRY.register()
class PFLDLoss(nn.Module):
    """How far points are off, counted more where the head's pose is hard, plus how far that pose is off.

    With the pose's error e = sum of 1 - cos(difference) over pitch, yaw and roll, a face costs (1 + e) times
    its point error. PFLD weighs by e alone and by class; then the cost of the points vanishes as the pose is
    learned, and without attributes there are no classes, so a constant 1 takes their place.

    Args:
        pose_weight: of the mean pose error, by which the auxiliary net learns. wing: the wing loss of
        |difference| in pixels of the detector's input, averaged over coordinates, in the place
            of the squared distance in the unit square, summed over points.
    """

    _WING_WIDTH, _WING_CURVE = 10.0, 2.0  # pixels: logarithmic within the first, bent at the second

    def __init__(self, pose_weight: float = 0.1, wing: bool = False) -> None:
        super().__init__()
        self.pose_weight = pose_weight
        self.wing = wing

    def forward(self, points: Tensor, angles: Tensor, true_points: Tensor, true_angles: Tensor
                ) -> tuple[Tensor, Tensor]:
        """Points (n, p, 2) in the unit square, angles (n, 3) in radians -> costs of points and of pose."""
        pose = (1 - torch.cos(angles - true_angles)).sum(1)
        cost = self._wing(points - true_points) if self.wing else (points - true_points).square().sum((1, 2))
        return ((1 + pose) * cost).mean(), self.pose_weight * pose.mean() / angles.shape[1]

    def _wing(self, difference: Tensor) -> Tensor:
        width, curve = self._WING_WIDTH, self._WING_CURVE
        pixels = DETECTOR_SIZE * difference.abs()
        near = width * torch.log1p(pixels / curve)
        far = pixels - (width - width * math.log1p(width / curve))
        return torch.where(pixels < width, near, far).mean((1, 2))
