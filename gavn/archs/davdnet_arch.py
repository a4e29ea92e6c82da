"""DAVDNet: a re-creation of an audio-visual decompression network (Zhang et al., CVPR 2020)."""

import torch
from torch import Tensor, nn

from gavn.archs.blocks import SMALL, ResidualBlockNoBN, conv3, lrelu, make_layer
from gavn.archs.gavn_identity import AudioMapDecoder
from gavn.archs.gavn_reconstruction import Reconstruction
from gavn.archs.gavn_temporal import Align, Pyramid
from gavn.archs.initialisation import (
    Init,
    average_parts,
    check_init,
    ignore_brightness,
    variance_preserving_init,
)
from gavn.archs.padding import pad_to_multiple, padded_region
from gavn.ops.deform_align import use_backend
from gavn.ops.deform_conv import Backend
from gavn.registry import ARCH_REGISTRY
from gavn.runtime.windows import Layout

MULTIPLE = 16  # of padded sides: the coarsest level of the alignment has 1/16 of the frame's size


class FrameExtractor(nn.Module):
    """Features of a frame at a quarter, an eighth and a sixteenth of its size."""

    def __init__(self, num_feat: int = 64, num_blocks: int = 5) -> None:
        super().__init__()
        self.conv_first = conv3(3, num_feat)
        self.down1, self.down2 = conv3(num_feat, num_feat, 2), conv3(num_feat, num_feat, 2)
        self.body = make_layer(ResidualBlockNoBN, num_blocks, num_feat=num_feat)
        self.conv_l2_1, self.conv_l2_2 = conv3(num_feat, num_feat, 2), conv3(num_feat, num_feat)
        self.conv_l3_1, self.conv_l3_2 = conv3(num_feat, num_feat, 2), conv3(num_feat, num_feat)

    def forward(self, frames: Tensor) -> Pyramid:
        """Frames (n, 3, h, w), sides divisible by 16 -> three levels, the finest (n, c, h/4, w/4)."""
        l1 = self.body(lrelu(self.down2(lrelu(self.down1(lrelu(self.conv_first(frames)))))))
        l2 = lrelu(self.conv_l2_2(lrelu(self.conv_l2_1(l1))))
        return [l1, l2, lrelu(self.conv_l3_2(lrelu(self.conv_l3_1(l2))))]


class QuarterAudioFeatures(AudioMapDecoder):
    """GAVN's map of audio features, with the last layer at a quarter of the frame's size, not at half."""

    def forward(self, audio: Tensor, region: Tensor, size: tuple[int, int]) -> Tensor:
        """MFCC windows (n, 1, 13, 20) and the frame's size (h, w) -> (n, c, h/4, w/4)."""
        return lrelu(self.conv2(self.quarter(audio, region, (size[0] // 2, size[1] // 2))))


@ARCH_REGISTRY.register()
class DAVDNet(nn.Module):
    """Restores the middle frame of five with its audio.

    The network follows DAVD-Net ("Deep audio-aided video decompression of talking heads"). Neither its code
    nor its full text was available, so layers and widths are chosen here. Neighbours are aligned to the
    middle frame and fused; audio features are gated by visual features and fused with them. Two parts are
    omitted because they are undefined for blur and low resolution: the codec's side information, and the
    projection of the result onto the constraints of the compressed stream.

    It has 5,122,243 parameters at the default width.

    Args:
        num_feat: channels, a multiple of `deformable_groups`.
        num_frame: frames of a window, odd.
        num_extract_block: residual blocks before the alignment.
        num_reconstruct_block: residual blocks after the fusion with audio.
        deformable_groups: groups of channels with separate offsets.
        init: `scaled` preserves the variance of signals and gradients. `ordinary` is PyTorch's default.
        dcn_backend: see `gavn.ops.modulated_deform_conv2d`.

    Raises:
        ValueError: an option is not a valid choice, or numbers do not fit together.
    """

    def __init__(
        self,
        num_feat: int = 64,
        num_frame: int = 5,
        num_extract_block: int = 5,
        num_reconstruct_block: int = 20,
        deformable_groups: int = 8,
        init: Init = 'scaled',
        dcn_backend: Backend | None = None,
    ) -> None:
        super().__init__()
        if num_frame % 2 == 0 or num_feat % deformable_groups:
            raise ValueError(
                f'need an odd num_frame and num_feat divisible by deformable_groups, got num_frame '
                f'{num_frame}, num_feat {num_feat}, deformable_groups {deformable_groups}'
            )
        check_init(init)
        self.num_frame = num_frame
        self.layout = Layout(1, num_frame // 2, 'centre')
        self.extractor = FrameExtractor(num_feat, num_extract_block)
        self.align = Align(num_feat, deformable_groups)
        use_backend(self.align, dcn_backend)
        self.fusion = nn.Conv2d(num_frame * num_feat, num_feat, 1)
        self.audio = QuarterAudioFeatures(num_feat)
        self.attend = conv3(2 * num_feat, num_feat)
        self.join = conv3(2 * num_feat, num_feat)
        self.reconstruction = Reconstruction(num_feat, (num_reconstruct_block, 0), use_identity=False)
        if init == 'scaled':
            variance_preserving_init(self, _INITIALISERS)

    def forward(self, lq: Tensor, audio: Tensor, region: Tensor | None = None) -> Tensor:
        """Restores the middle frame.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t = `num_frame`. Any size: sides are padded
                to multiples of 16 and the result is cropped.
            audio: (n, 1, 1, 13, 20), raw MFCC window of the middle frame.
            region: (n, 4), x0 y0 x1 y1 in [0, 1]: part of the full frame that `lq` shows. None: all of it.

        Returns:
            (n, 3, h, w), RGB, not clamped.

        Raises:
            ValueError: the shape of an input is wrong.
        """
        self._check_inputs(lq, audio)
        height, width = lq.shape[-2:]
        frames = pad_to_multiple(lq, MULTIPLE)
        region = padded_region(region, lq, frames)

        visual = lrelu(self.fusion(self._aligned(frames)))
        features = self.audio(audio.squeeze(1), region, frames.shape[-2:])
        gate = torch.sigmoid(self.attend(torch.cat([features, visual], dim=1)))
        fused = lrelu(self.join(torch.cat([visual, gate * features], dim=1)))
        restored = self.reconstruction(fused) + frames[:, self.num_frame // 2]
        return restored[..., :height, :width]

    def _aligned(self, frames: Tensor) -> Tensor:
        """Frames (n, t, 3, h, w) -> features aligned to the middle frame, (n, t c, h/4, w/4)."""
        levels = self.extractor(frames.flatten(0, 1))
        per_frame = [level.unflatten(0, frames.shape[:2]).unbind(1) for level in levels]
        pyramids = list(zip(*per_frame, strict=True))
        middle = pyramids[self.num_frame // 2]
        return torch.cat([self.align(middle, pyramid)[0] for pyramid in pyramids], dim=1)

    def _check_inputs(self, lq: Tensor, audio: Tensor) -> None:
        if lq.shape[1] != self.num_frame:
            raise ValueError(f'got {lq.shape[1]} frames, the network has num_frame: {self.num_frame}')
        if audio.shape[:2] != (len(lq), 1):
            raise ValueError(f'audio has the shape {tuple(audio.shape)}, expected ({len(lq)}, 1, ...)')


def _init_network(network: DAVDNet) -> None:
    """The fusions average frames and pass on visual features."""
    average_parts(network.fusion, network.num_frame)
    visual, _audio = network.join.weight.data.chunk(2, dim=1)
    nn.init.dirac_(visual)


_INITIALISERS = {
    FrameExtractor: lambda module: ignore_brightness(module.conv_first),
    QuarterAudioFeatures: lambda module: module.fc.weight.data.mul_(SMALL),
    DAVDNet: _init_network,
}
