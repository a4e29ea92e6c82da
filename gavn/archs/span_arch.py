"""SPAN, a network for super-resolution, alone and as a part of GAVN.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution" (CVPRW 2024). Convolutions
are the merged ones of its inference. Here it takes frames that were upscaled by four with bicubic
interpolation, as all networks of gavn keep the size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.blocks import conv3
from gavn.archs.padding import pad_to_multiple
from gavn.ops.deform_conv import without_autocast
from gavn.registry import ARCH_REGISTRY
from gavn.runtime.windows import Layout

SCALE = 4
_WIDTH = 48
_BLOCKS = 6
_MEAN = 0.4488, 0.4371, 0.4040  # of DIV2K, RGB
_REACH = 2  # cells of 4 x 4 pixels: of the interpolation, and of its inverse
_NOISE = 3e-5  # variance of 8-bit rounding, relative to that of images
_BORDER = 2 * SCALE * _REACH  # pixels
_REPEATS = 4
_ROUNDING = 0.75 / 255  # larger differences are not due to rounding
_DIFFERING = 0.01  # their share: at most 0.006 in enlargements by 4, at least 0.03 in other frames


def _upscaling() -> Tensor:
    """Bicubic interpolation (a = -0.5) of a line by four: (phase, tap), taps from -2 to 2."""
    centres = (torch.arange(SCALE) + 0.5) / SCALE - 0.5
    x = (centres[:, None] - torch.arange(-_REACH, _REACH + 1)).abs()
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, 0.0))


def _inverse(upscaling: Tensor) -> Tensor:
    """Least-squares inverse of the interpolation, from 5 cells: (cell, phase)."""
    cells = 2 * _REACH + 1
    matrix = torch.zeros(cells, SCALE, 4 * _REACH + 1)
    for cell in range(cells):
        matrix[cell, :, cell:cell + cells] = upscaling
    matrix = matrix.flatten(0, 1)
    squares = matrix @ matrix.T + _NOISE * torch.eye(len(matrix))
    return torch.linalg.solve(squares, matrix[:, 2 * _REACH]).unflatten(0, (cells, SCALE))


class EnlargementDetector(nn.Module):
    """Recovers small images from bicubic enlargements by four. Both filters are fixed."""

    up: Tensor
    down: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = _upscaling()
        up = torch.einsum('ai,bj->abij', line, line).flatten(0, 1)[:, None]
        inverse = _inverse(line)
        down = torch.einsum('ia,jb->abij', inverse, inverse).flatten(0, 1)[None]
        self.register_buffer('up', up.repeat(3, 1, 1, 1), persistent=False)
        self.register_buffer('down', down.repeat(3, 1, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Recovers the small images that frames were enlarged from, and tells which frames are enlargements.

        Args:
            frames: (n, 3, h, w), RGB in [0, 1] of 8 bits, sides divisible by 4.

        Returns:
            Small images (n, 3, h/4, w/4), and the share of values of each frame that differ from their
            enlargement by more than rounding (n,). A part of a frame does not tell what lies beyond it, so 16
            pixels at each side do not count; the share is 1 if no others are left.
        """
        with without_autocast(frames.device.type):  # a bfloat16 does not hold 8 bits
            frames = frames.float()
            small = self._reduced(frames)
            for _ in range(_REPEATS):
                enlarged = self._enlarged(small)
                cut = ((frames <= 0) & (enlarged < 0)) | ((frames >= 1) & (enlarged > 1))
                small = self._reduced(torch.where(cut, enlarged, frames))
            wrong = (self._enlarged(small).clamp(0, 1) - frames).abs() > _ROUNDING
        inner = slice(_BORDER, -_BORDER)
        share = wrong[..., inner, inner].flatten(1).float().mean(1)
        return small, share.nan_to_num(1.0)

    def _reduced(self, frames: Tensor) -> Tensor:
        cells = F.pixel_unshuffle(_mirrored(frames, SCALE * _REACH), SCALE)
        small = F.conv2d(cells, self.down.float(), groups=3)
        return (small.clamp(0, 1) * 255).round() / 255

    def _enlarged(self, small: Tensor) -> Tensor:
        cells = F.conv2d(_mirrored(small, _REACH), self.up.float(), groups=3)
        return F.pixel_shuffle(cells, SCALE)


def _mirrored(x: Tensor, border: int) -> Tensor:
    """Adds a border that repeats the outermost pixels, as bicubic interpolation by MATLAB does."""
    for dim in (-2, -1):
        size = x.shape[dim]
        index = torch.arange(-border, size + border, device=x.device) % (2 * size)
        x = x.index_select(dim, torch.minimum(index, 2 * size - 1 - index))
    return x


class AttentionBlock(nn.Module):
    """Three convolutions; an odd function of their result is the attention."""

    def __init__(self) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = (conv3(_WIDTH, _WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) -> the result and the features of the first convolution, of the same shape."""
        first = F.silu(self.c1_r(x))
        last = self.c3_r(F.silu(self.c2_r(first)))
        return (last + x) * (torch.sigmoid(last) - 0.5), first


class SPAN(nn.Module):
    """Enlarges images by four, with the names of the authors' parameters without `eval_conv`."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.conv_1 = conv3(3, _WIDTH)
        self.blocks = nn.ModuleList(AttentionBlock() for _ in range(_BLOCKS))
        self.conv_2 = conv3(_WIDTH, _WIDTH)
        self.conv_cat = nn.Conv2d(4 * _WIDTH, _WIDTH, 1)
        self.upsampler = conv3(_WIDTH, 3 * SCALE**2)

    def forward(self, small: Tensor) -> Tensor:
        """(n, 3, h, w), RGB in [0, 1] -> (n, 3, 4 h, 4 w), not clamped."""
        x = features = self.conv_1(small - self.mean)
        results = []
        for block in self.blocks:
            x, first = block(x)
            results.append(x)
        x = self.conv_cat(torch.cat([features, self.conv_2(x), results[0], first], dim=1))
        return F.pixel_shuffle(self.upsampler(x), SCALE)


@ARCH_REGISTRY.register()
class EnlargementRestorer(nn.Module):
    """Replaces frames that are enlargements of small images by 4 with SPAN's result for these images.

    SPAN spoils other frames. They stay as they are. Crops of enlargements are enlargements too if they begin
    at multiples of 4 (`crop_step: 4` of `AVClipDataset`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.detector, self.network = EnlargementDetector(), SPAN()

    @property
    def layout(self) -> Layout:
        """Window layout: single frames."""
        return Layout(1, 0, 'frame')

    def forward(self, lq: Tensor) -> Tensor:
        """Restores enlargements by 4.

        Args:
            lq: (n, 3, h, w), RGB in [0, 1] of 8 bits. Any size: sides are padded to multiples of 4.

        Returns:
            (n, 3, h, w), RGB in [0, 1].
        """
        height, width = lq.shape[-2:]
        frames = pad_to_multiple(lq, SCALE)
        small, differing = self.detector(frames)
        enlarged = (differing < _DIFFERING).view(-1, 1, 1, 1)
        with without_autocast(frames.device.type):  # in bfloat16, SPAN gains 0.07 dB less
            restored = torch.where(enlarged, self.network(small).clamp(0, 1), frames.float())
        return restored[..., :height, :width]
