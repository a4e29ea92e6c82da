"""SpyNet, an optical flow network (Ranjan and Black, CVPR 2017), for images of any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.checkpoints.checkpoint import PathLike, load_state, load_strict
from gavn.ops.deform_conv import without_autocast

LEVELS = 6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
CHANNELS = (8, 32, 64, 32, 16, 2)  # of one level; inputs are two images and a flow, the output is a flow


class Level(nn.Module):
    """Residual of the flow of the coarser level."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin, cout in pairwise(CHANNELS):
            layers += [nn.Conv2d(cin, cout, 7, 1, 3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """An image, its warped neighbour and the flow of the coarser level (n, 8, h, w) -> (n, 2, h, w)."""
        return self.basic_module(x)


class FlowNetwork(nn.Module):
    """The six levels of SpyNet, with BasicSR's parameter names."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(Level() for _ in range(LEVELS))
        self.register_buffer('mean', torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(STD).view(1, 3, 1, 1))

    def pyramid(self, image: Tensor, levels: int = LEVELS) -> list[Tensor]:
        """Returns a normalised image (n, 3, h, w) at its size and at halved sizes, coarsest first."""
        images = [(image - self.mean) / self.std]
        for _ in range(levels - 1):
            images.insert(0, F.avg_pool2d(images[0], 2))
        return images

    def refine(self, refs: Sequence[Tensor], supps: Sequence[Tensor]) -> list[Tensor]:
        """Returns the flow (n, 2, h, w) of each level of two pyramids, coarsest first.

        Each level adds its residual to the flow of the coarser one.
        """
        flows: list[Tensor] = []
        for level, ref, supp in zip(self.basic_module[-len(refs):], refs, supps, strict=True):
            if flows:
                coarse = 2 * F.interpolate(flows[-1], scale_factor=2, mode='bilinear', align_corners=True)
            else:
                coarse = ref.new_zeros(len(ref), 2, *ref.shape[2:])
            warped = warp(supp, coarse, padding_mode='border')
            flows.append(coarse + level(torch.cat([ref, warped, coarse], dim=1)))
        return flows


class SpyNet(FlowNetwork):
    """SpyNet with BasicSR's results. Small images use the finer levels only.

    Each of the six levels halves the image, and the coarsest needs two pixels per side, so BasicSR's fails
    below 33 pixels. Skipped levels are not trained: training on such small images in several processes needs
    `find_unused_parameters: true`.
    """

    def forward(self, ref: Tensor, supp: Tensor) -> Tensor:
        """Computes the flow from one image to another, in float32 also inside autocast.

        Args:
            ref: (n, 3, h, w), RGB in [0, 1].
            supp: of the same size.

        Returns:
            (n, 2, h, w) in pixels, x before y. The content of `ref` at p is at p + flow(p) in `supp`.
        """
        levels = min(max(1, (min(ref.shape[-2:]) - 1).bit_length()), LEVELS)
        with without_autocast(ref.device.type):
            return self._flow(ref.float(), supp.float(), levels)

    def _flow(self, ref: Tensor, supp: Tensor, levels: int) -> Tensor:
        height, width = ref.shape[-2:]
        block = 2 ** (levels - 1)
        size = -(-height // block) * block, -(-width // block) * block
        pyramids = (self.pyramid(F.interpolate(image, size, mode='bilinear', align_corners=False), levels)
                    for image in (ref, supp))
        finest = self.refine(*pyramids)[-1]
        flow = F.interpolate(finest, (height, width), mode='bilinear', align_corners=False)
        return flow * flow.new_tensor([width / size[1], height / size[0]])[:, None, None]


def warp(x: Tensor, flow: Tensor, padding_mode: str = 'zeros') -> Tensor:
    """Warps images (k, c, h, w) by flow (k, 2, h, w), bilinearly."""
    grid = sampling_grid(target_positions(flow), flow)
    return F.grid_sample(x, grid, 'bilinear', padding_mode, align_corners=True)


def target_positions(flow: Tensor) -> Tensor:
    """Returns the target position in pixels of each value of flow (k, 2, h, w): (k, h, w, 2), x before y."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    return torch.stack([flow[:, 0] + x, flow[:, 1] + y[:, None]], dim=-1)


def sampling_grid(positions: Tensor, image: Tensor) -> Tensor:
    """Converts positions in pixels to the grid of `F.grid_sample` with `align_corners`.

    -1 and 1 are the centres of the first and the last pixel.

    Args:
        positions: (..., 2), x before y.
        image: (..., h, w); only its size is used.
    """
    height, width = image.shape[-2:]
    return 2 * positions / positions.new_tensor([max(width - 1, 1), max(height - 1, 1)]) - 1


def init_spynet(network: FlowNetwork, weights: PathLike | None) -> None:
    """Loads published weights, or sets the flow to zero, since random weights give random flow.

    Published files lack the constant normalisation buffers; checkpoints have them.

    Raises:
        CheckpointError: `weights` are absent, unreadable or not those of SpyNet.
    """
    if weights is not None:
        load_strict(network, {**dict(network.named_buffers()), **load_state(weights)}, str(weights))
        return
    last = f'basic_module.{2 * (len(CHANNELS) - 2)}'
    for level in network.basic_module:
        for parameter in level.get_submodule(last).parameters():
            nn.init.zeros_(parameter)
