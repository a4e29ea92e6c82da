"""Loss of the landmark detector, registered in BasicSR's LOSS_REGISTRY."""
import math

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from gavn.faces.geometry import DETECTOR_SIZE


@LOSS_REGISTRY.register()
class PFLDLoss(nn.Module):
    """Landmark loss weighted by the error of the head pose (PFLD, arXiv:1902.10859, eq. 2), plus that error.

    With the pose error e = sum of 1 - cos(difference) over pitch, yaw and roll, the loss of a face is (1 + e)
    times its landmark error. PFLD uses the weight e times a weight of attribute classes. Then the landmark
    loss vanishes once the pose is learned. Without attributes there are no classes, hence the constant 1.

    Args:
        pose_weight: weight of the mean pose error, which trains the auxiliary net.
        wing: whether the landmark error is the wing loss (arXiv:1711.06753, eq. 5) in pixels of the
            detector's input, averaged over coordinates, instead of the squared distance in the unit square,
            summed over points.
    """

    _WING_WIDTH, _WING_CURVE = 10.0, 2.0  # w and epsilon of the paper, in pixels

    def __init__(self, pose_weight: float = 0.1, wing: bool = False) -> None:
        super().__init__()
        self.pose_weight = pose_weight
        self.wing = wing

    def forward(self, points: Tensor, angles: Tensor, true_points: Tensor, true_angles: Tensor
                ) -> tuple[Tensor, Tensor]:
        """Points (n, p, 2) in the unit square, angles (n, 3) in radians -> loss of points, loss of pose."""
        pose = (1 - torch.cos(angles - true_angles)).sum(1)
        difference = points - true_points
        cost = self._wing_loss(difference) if self.wing else difference.square().sum((1, 2))
        return ((1 + pose) * cost).mean(), self.pose_weight * pose.mean() / angles.shape[1]

    def _wing_loss(self, difference: Tensor) -> Tensor:
        width, curve = self._WING_WIDTH, self._WING_CURVE
        pixels = DETECTOR_SIZE * difference.abs()
        near = width * torch.log1p(pixels / curve)
        far = pixels - (width - width * math.log1p(width / curve))
        return torch.where(pixels < width, near, far).mean((1, 2))
