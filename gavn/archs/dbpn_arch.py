"""DBPN, the deep back-projection network in its dense form (Haris, Shakhnarovich and Ukita, CVPR 2018)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.blocks import SMALL, fill_bias
from gavn.archs.initialisation import LAST
from gavn.archs.padding import pad_to_multiple
from gavn.registry import ARCH_REGISTRY
from gavn.runtime.windows import Layout

KERNELS = {2: (6, 2, 2), 4: (8, 4, 2), 8: (12, 8, 2)}  # scale -> kernel, stride, padding (section 4.1)
SLOPE = 0.25  # initial slope of PReLU


class ConvBlock(nn.Module):
    """Convolution and PReLU."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, cin, h, w) -> (n, cout, h', w')."""
        return self.act(self.conv(x))


class DeconvBlock(nn.Module):
    """Transposed convolution and PReLU."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(cin, cout, kernel, stride, padding)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, cin, h, w) -> (n, cout, s h, s w)."""
        return self.act(self.deconv(x))


class LastConv(nn.Module):
    """The output convolution, without activation."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, cin, h, w) -> (n, cout, h, w)."""
        return self.conv(x)


class UpUnit(nn.Module):
    """Up-projection (section 3.1): upscales, projects back, upscales the residual and adds it.

    Args:
        num_feat: channels.
        inputs: number of concatenated inputs of `num_feat` channels. More than one are fused first.
        scale: 2, 4 or 8.
    """

    def __init__(self, num_feat: int, inputs: int, scale: int) -> None:
        super().__init__()
        self.conv = ConvBlock(inputs * num_feat, num_feat, 1) if inputs > 1 else None
        self.up_conv1 = DeconvBlock(num_feat, num_feat, *KERNELS[scale])
        self.up_conv2 = ConvBlock(num_feat, num_feat, *KERNELS[scale])
        self.up_conv3 = DeconvBlock(num_feat, num_feat, *KERNELS[scale])

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs c, h, w) -> (n, c, s h, s w)."""
        low = x if self.conv is None else self.conv(x)
        high = self.up_conv1(low)
        return high + self.up_conv3(self.up_conv2(high) - low)


class DownUnit(nn.Module):
    """Down-projection (section 3.1), the mirror image of `UpUnit`."""

    def __init__(self, num_feat: int, inputs: int, scale: int) -> None:
        super().__init__()
        self.conv = ConvBlock(inputs * num_feat, num_feat, 1) if inputs > 1 else None
        self.down_conv1 = ConvBlock(num_feat, num_feat, *KERNELS[scale])
        self.down_conv2 = DeconvBlock(num_feat, num_feat, *KERNELS[scale])
        self.down_conv3 = ConvBlock(num_feat, num_feat, *KERNELS[scale])

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs c, s h, s w) -> (n, c, h, w)."""
        high = x if self.conv is None else self.conv(x)
        low = self.down_conv1(high)
        return low + self.down_conv3(self.down_conv2(low) - high)


@ARCH_REGISTRY.register()
class DBPN(nn.Module):
    """Restores single frames by densely connected up- and down-projections (D-DBPN).

    The published form upscales. The same-size form (not in the paper) first folds blocks of `scale_factor` x
    `scale_factor` pixels into channels, so that the published kernels return to the frame's size, and adds
    the frame to the result.

    Parameters have the names and shapes of the authors' released weights.

    Args:
        num_channels: of the image.
        base_filter: channels of the projections.
        feat: channels of the first layer.
        num_stages: number T of up-projections, 2 or more, with T - 1 down-projections between them.
        scale_factor: 2, 4 or 8.
        same_size: the output has the size of the input.

    Raises:
        ValueError: `num_stages` or `scale_factor` is invalid.
    """

    def __init__(
        self,
        num_channels: int = 3,
        base_filter: int = 64,
        feat: int = 256,
        num_stages: int = 7,
        scale_factor: int = 4,
        same_size: bool = False,
    ) -> None:
        super().__init__()
        if num_stages < 2 or scale_factor not in KERNELS:
            raise ValueError(f'need num_stages >= 2 and scale_factor among {", ".join(map(str, KERNELS))}, '
                             f'got {num_stages} and {scale_factor}')
        self.num_stages, self.scale_factor, self.same_size = num_stages, scale_factor, same_size
        folded = num_channels * scale_factor**2 if same_size else num_channels
        self.feat0 = ConvBlock(folded, feat, 3, 1, 1)
        self.feat1 = ConvBlock(feat, base_filter, 1)
        for stage in range(1, num_stages + 1):
            self.add_module(f'up{stage}', UpUnit(base_filter, max(1, stage - 1), scale_factor))
            if stage < num_stages:
                self.add_module(f'down{stage}', DownUnit(base_filter, stage, scale_factor))
        self.output_conv = LastConv(num_stages * base_filter, num_channels)
        _he(self)
        if same_size:
            _init_near_input(self)

    @property
    def layout(self) -> Layout:
        """Window layout: single frames."""
        return Layout(1, 0, 'frame')

    def forward(self, lq: Tensor) -> Tensor:
        """Restores or upscales frames.

        Args:
            lq: (n, 3, h, w), RGB in [0, 1]. Any size: in the same-size form, sides are padded to
                multiples of `scale_factor` and the result is cropped.

        Returns:
            (n, 3, h, w) in the same-size form, else (n, 3, s h, s w); RGB, not clamped.
        """
        if not self.same_size:
            return self._project(lq)
        height, width = lq.shape[-2:]
        folded = F.pixel_unshuffle(pad_to_multiple(lq, self.scale_factor), self.scale_factor)
        return lq + self._project(folded)[..., :height, :width]

    def _project(self, x: Tensor) -> Tensor:
        """Back-projection stages (section 3.3). Inputs of a unit are all results of the other kind."""
        low = self.feat1(self.feat0(x))
        lows: list[Tensor] = []
        highs: list[Tensor] = []
        for stage in range(1, self.num_stages + 1):
            highs.insert(0, self.get_submodule(f'up{stage}')(torch.cat(lows, dim=1) if lows else low))
            if stage < self.num_stages:
                lows.insert(0, self.get_submodule(f'down{stage}')(torch.cat(highs, dim=1)))
        return self.output_conv(torch.cat(highs, dim=1))


def _he(network: nn.Module) -> None:
    """Sets He's normal weights and zero biases, as the authors do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
            fill_bias(module)


def _init_near_input(network: DBPN) -> None:
    """Preserves the variance of signals through all stages, with first outputs close to the input.

    He's rule counts `stride`^2 times too many inputs of a transposed convolution, so each up-projection would
    shrink its signal. The second halves of the projections, which would double it, are small. The first
    layer ignores brightness.
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            inputs = module.weight[:, 0].numel() / math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 / (1 + SLOPE**2) / inputs))
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
    for module in network.modules():
        if isinstance(module, UpUnit):
            module.up_conv3.deconv.weight.data *= SMALL
        elif isinstance(module, DownUnit):
            module.down_conv3.conv.weight.data *= SMALL
    colours = network.feat0.conv.weight.data.unflatten(1, (-1, network.scale_factor**2))
    colours -= colours.mean(dim=(2, 3, 4), keepdim=True)
    network.output_conv.conv.weight.data *= LAST
