"""Building blocks that GAVN shares with EDVR (Wang et al., CVPRW 2019).

Parameter names and results equal BasicSR's, so weights are interchangeable. Restoring works without BasicSR.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of LeakyReLU
SMALL = 0.1  # factor of initial weights of layers with little effect at first, as in residual blocks


def lrelu(x: Tensor) -> Tensor:
    """LeakyReLU, in place."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def conv3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Returns a 3x3 convolution that keeps the size, or halves it with stride 2."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1)


def fill_bias(layer: nn.Linear | nn.modules.conv._ConvNd, value: float = 0.0) -> None:
    """Sets all values of the bias, if the layer has one."""
    if layer.bias is not None:
        nn.init.constant_(layer.bias, value)


def double(x: Tensor) -> Tensor:
    """Interpolates bilinearly to twice the size."""
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


def make_layer(block: Callable[..., nn.Module], count: int, **options: int) -> nn.Sequential:
    """Returns a sequence of `count` blocks, each built with `options`."""
    return nn.Sequential(*(block(**options) for _ in range(count)))


class ResidualBlockNoBN(nn.Module):
    """x + Conv(ReLU(Conv(x))), without normalisation."""

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(num_feat, num_feat), conv3(num_feat, num_feat)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= SMALL
            fill_bias(conv)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> the same."""
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class PredeblurModule(nn.Module):
    """EDVR's pre-deblur module: three levels, the finest at a quarter of the frame's size, fused upwards."""

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.conv_first = conv3(3, num_feat)
        self.stride_conv_hr1 = conv3(num_feat, num_feat, 2)
        self.stride_conv_hr2 = conv3(num_feat, num_feat, 2)
        self.stride_conv_l2 = conv3(num_feat, num_feat, 2)
        self.stride_conv_l3 = conv3(num_feat, num_feat, 2)
        self.resblock_l3 = ResidualBlockNoBN(num_feat)
        self.resblock_l2_1, self.resblock_l2_2 = ResidualBlockNoBN(num_feat), ResidualBlockNoBN(num_feat)
        self.resblock_l1 = nn.ModuleList(ResidualBlockNoBN(num_feat) for _ in range(5))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (n, 3, h, w), sides divisible by 16 -> (n, c, h/4, w/4)."""
        l1 = lrelu(self.conv_first(frames))
        l1 = lrelu(self.stride_conv_hr2(lrelu(self.stride_conv_hr1(l1))))
        l2 = lrelu(self.stride_conv_l2(l1))
        l3 = lrelu(self.stride_conv_l3(l2))
        l2 = self.resblock_l2_1(l2) + double(self.resblock_l3(l3))
        first, second, *rest = self.resblock_l1
        l1 = second(first(l1)) + double(self.resblock_l2_2(l2))
        for block in rest:
            l1 = block(l1)
        return l1
