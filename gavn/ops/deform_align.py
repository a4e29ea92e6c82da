"""Deformable convolution layers whose offsets are predicted from other features."""

import math

import torch
from torch import Tensor, nn

from gavn.ops.deform_conv import modulated_deform_conv2d, without_autocast


class DeformableAlignPack(nn.Module):
    """DCNv2 whose offsets and masks are predicted from a second input (as in EDVR's alignment).

    Parameters have the names of basicsr's and mmcv's packs (`weight`, `bias`, `conv_offset.*`), so weights
    are interchangeable. Offsets start at zero and masks at one half.

    In training mode the layer stores the largest mean offset of its calls as a tensor, without synchronising
    with the device; `offset_magnitudes` reads it. Offsets are then predicted without autocast, because
    bfloat16 rounds an offset of 10 pixels by up to 0.03. Restoring with rounded offsets costs no PSNR
    (docs/performance.md) and a tenth of the time.

    Args:
        in_channels: channels of the sampled features, and of those that predict the offsets.
        deformable_groups: groups of input channels that share offsets and masks.
        backend: see `modulated_deform_conv2d`.
        slope: of a LeakyReLU at the end, fused with the convolution if the backend can. None: no LeakyReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: int = 0,
        deformable_groups: int = 1,
        backend: str | None = None,
        slope: float | None = None,
    ) -> None:
        super().__init__()
        self.padding, self.deformable_groups = padding, deformable_groups
        self.backend, self.slope = backend, slope
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        bound = 1 / math.sqrt(in_channels * kernel_size**2)
        nn.init.uniform_(self.weight, -bound, bound)
        self.conv_offset: nn.Module = _zeroed(nn.Conv2d(
            in_channels, deformable_groups * 3 * kernel_size**2, kernel_size, padding=padding))
        self.offset_magnitudes: dict[torch.device, Tensor] = {}  # shared by all DataParallel replicas

    def forward(self, x: Tensor, feat: Tensor) -> Tensor:
        """Samples x (n, c, h, w) at offsets predicted from feat (n, c, h, w) -> (n, out, oh, ow)."""
        return self.sample(x, *split_offset(self._predict(self.conv_offset, feat)))

    def _predict(self, conv: nn.Module, feat: Tensor) -> Tensor:
        if not self.training:
            return conv(feat)
        with without_autocast(feat.device.type):
            return conv(feat.to(conv.get_parameter('weight').dtype))

    def sample(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolves with given offsets in pixels and masks before their sigmoid."""
        if self.training:
            self._store_magnitude(offset.detach().abs().mean())
        return modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, padding=self.padding,
            deform_groups=self.deformable_groups, backend=self.backend, sigmoid=True, slope=self.slope)

    def _store_magnitude(self, magnitude: Tensor) -> None:
        old = self.offset_magnitudes.get(magnitude.device)
        self.offset_magnitudes[magnitude.device] = magnitude if old is None else torch.maximum(old, magnitude)


class FlowGuidedAlignPack(DeformableAlignPack):
    """Deformable alignment whose offsets are optical flow and a predicted residual.

    It aligns one frame (parallel warping of VRT, Liang et al. 2024), or the frames at distances one and two
    (eqs. 5 and 6 of BasicVSR++, Chan et al. 2022).

    Args:
        in_channels: sum of the channels of all aligned frames.
        out_channels: channels of one frame and of the result.
        max_residue_magnitude: largest residual in pixels.
        deformable_groups: groups of input channels that share offsets and masks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        max_residue_magnitude: float = 10,
        padding: int = 0,
        deformable_groups: int = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=padding, deformable_groups=deformable_groups)
        self.max_residue_magnitude = max_residue_magnitude
        frames = in_channels // out_channels
        last = _zeroed(nn.Conv2d(out_channels, 3 * self.deformable_groups * kernel_size**2, 3, 1, 1))
        layers: list[nn.Module] = []
        for channels in ((frames + 1) * out_channels + 2 * frames, out_channels, out_channels):
            layers += [nn.Conv2d(channels, out_channels, 3, 1, 1), nn.LeakyReLU(0.1)]
        self.conv_offset = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, extra_feat: Tensor, *flows: Tensor) -> Tensor:
        """Aligns the features of m frames.

        Args:
            x: (n, m c, h, w), features of the frames.
            extra_feat: (n, (m + 1) c, h, w), their warped features and those of the current frame.
            *flows: flow from the current frame to each frame, (n, 2, h, w) in pixels, x before y.

        Returns:
            (n, c, h, w).
        """
        *layers, last = self.conv_offset.children()
        feat = torch.cat([extra_feat, *flows], dim=1)
        for layer in layers:
            feat = layer(feat)
        residue, mask = split_offset(self._predict(last, feat))
        residue = self.max_residue_magnitude * torch.tanh(residue)
        # each frame has an equal number of groups; offsets have y before x
        points = residue.shape[1] // (2 * len(flows))
        flow_offset = torch.cat([flow.flip(1).repeat(1, points, 1, 1) for flow in flows], dim=1)
        return self.sample(x, residue + flow_offset, mask)


def use_backend(network: nn.Module, backend: str | None) -> None:
    """Sets the backend of all deformable layers of a network (see `modulated_deform_conv2d`)."""
    for layer in network.modules():
        if isinstance(layer, DeformableAlignPack):
            layer.backend = backend


def _zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def split_offset(predicted: Tensor) -> tuple[Tensor, Tensor]:
    """Splits the result of an offset convolution (n, 3 k, h, w) into offsets (n, 2 k, h, w) and raw masks."""
    taps = predicted.shape[1] // 3
    offset, mask = torch.split(predicted, [2 * taps, taps], dim=1)
    return offset, mask


def offset_magnitudes(network: nn.Module) -> dict[str, Tensor]:
    """Reads the largest mean |offset| in pixels of each deformable layer since the last call, by layer name.

    A training with offsets above some tens of pixels has diverged (EDVR's authors warn at 50). The values
    stay on their device. Layers without a call in training mode are omitted.
    """
    magnitudes = {}
    for name, layer in network.named_modules():
        if isinstance(layer, DeformableAlignPack) and layer.offset_magnitudes:
            first, *others = layer.offset_magnitudes.values()
            magnitudes[name] = torch.stack([first, *(other.to(first.device) for other in others)]).max()
            layer.offset_magnitudes.clear()
    return magnitudes
