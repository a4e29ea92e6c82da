"""The intra-frame identity module (figure 3b): features of a frame, its landmarks and its audio.

Level 1 has half of the frame's size, level 2 a quarter. The paper gives no sizes of this module; layers and
widths are chosen here.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.archs.blocks import ResidualBlockNoBN, conv3, double, lrelu, make_layer
from gavn.faces.landmarks import N_POINTS

AudioMap = Literal['decode', 'tile']
Gate = Literal['channel', 'pixel']
Levels = tuple[Tensor, Tensor]  # (k, c, h/2, w/2) and (k, c, h/4, w/4) for k frames of h x w
AUDIO_GRID = 7  # side of the map that audio is decoded to; a cell is 32 of the paper's 224 pixels
STEM_WIDTH = 32  # channels of an extractor's first layer, at most
HEATMAP_SIGMA = 2 / 112  # sigma of a landmark's Gaussian as a fraction of the full frame's width


def region_positions(low: Tensor, high: Tensor, count: int) -> Tensor:
    """Centres of `count` pixels between two edges (k,) -> (k, count), in the unit of the edges."""
    centres = (torch.arange(count, dtype=low.dtype, device=low.device) + 0.5) / count
    return low[:, None] + (high - low)[:, None] * centres


def render_heatmaps(landmarks: Tensor, region: Tensor, size: tuple[int, int]) -> Tensor:
    """Renders a Gaussian of height 1 for each landmark.

    Args:
        landmarks: (k, p, 2), x and y in [0, 1] of the full frame.
        region: (k, 4), x0 y0 x1 y1 in [0, 1]: part of the full frame that the maps show.
        size: height and width of the maps.

    Returns:
        (k, p, height, width). The standard deviation is 2 pixels at a full frame of 112 pixels.
    """
    x0, y0, x1, y1 = region.unbind(1)
    # the same number of pixels in both directions, also for a full frame that is not square
    sigma_y = HEATMAP_SIGMA * (size[1] / (x1 - x0)) / (size[0] / (y1 - y0))

    def profile(point: Tensor, low: Tensor, high: Tensor, count: int, sigma: Tensor | float) -> Tensor:
        distance = region_positions(low, high, count)[:, None] - point[..., None]
        return torch.exp(-0.5 * (distance / sigma) ** 2)

    across = profile(landmarks[..., 0], x0, x1, size[1], HEATMAP_SIGMA)
    down = profile(landmarks[..., 1], y0, y1, size[0], sigma_y[:, None, None])
    return down[..., :, None] * across[..., None, :]


def sample_region(maps: Tensor, region: Tensor, size: tuple[int, int]) -> Tensor:
    """Samples a region (k, 4) of maps (k, c, h, w) of the full frame bilinearly -> (k, c, *size).

    The result of a region equals that part of the result of the full frame.
    """
    x0, y0, x1, y1 = region.unbind(1)
    across, down = region_positions(x0, x1, size[1]), region_positions(y0, y1, size[0])
    grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), dim=-1)
    grid = (2 * grid - 1).to(maps.dtype)
    return F.grid_sample(maps, grid, mode='bilinear', padding_mode='border', align_corners=False)


class FrameFeatures(nn.Module):
    """H_frame, eq. 11. The first layers have the full size of the frame."""

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        stem = min(STEM_WIDTH, num_feat)
        self.conv_first, self.res_first = conv3(3, stem), ResidualBlockNoBN(stem)
        self.down1 = conv3(stem, num_feat, 2)
        self.res1 = make_layer(ResidualBlockNoBN, 3, num_feat=num_feat)
        self.down2 = conv3(num_feat, num_feat, 2)
        self.res2 = make_layer(ResidualBlockNoBN, 3, num_feat=num_feat)

    def forward(self, frames: Tensor) -> Levels:
        """Frames (k, 3, h, w) -> both levels."""
        full = self.res_first(lrelu(self.conv_first(frames)))
        level1 = self.res1(lrelu(self.down1(full)))
        return level1, self.res2(lrelu(self.down2(level1)))


class LandmarkFeatures(nn.Module):
    """H_landmark, eq. 12, from heat maps rendered at level 1."""

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.conv_first, self.res1 = conv3(N_POINTS, num_feat), ResidualBlockNoBN(num_feat)
        self.down2, self.res2 = conv3(num_feat, num_feat, 2), ResidualBlockNoBN(num_feat)

    def forward(self, landmarks: Tensor, region: Tensor, size: tuple[int, int]) -> Levels:
        """Landmarks (k, 68, 2) of the full frame and the restored region of it -> both levels."""
        level1 = self.res1(lrelu(self.conv_first(render_heatmaps(landmarks, region, size))))
        return level1, self.res2(lrelu(self.down2(level1)))


class AudioMapDecoder(nn.Module):
    """The layers that decode audio features to a map.

    Faces are roughly registered in their crops, so a position in the frame is a position in the face.
    """

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.encoder = AudioEncoder()
        self.base = min(STEM_WIDTH, num_feat)
        self.fc = nn.Linear(AudioEncoder.out_features, self.base * AUDIO_GRID**2)
        self.conv16, self.conv8 = conv3(self.base, num_feat), conv3(num_feat, num_feat)
        self.conv4, self.conv2 = conv3(num_feat, num_feat), conv3(num_feat, num_feat)

    def quarter(self, audio: Tensor, region: Tensor, size: tuple[int, int]) -> Tensor:
        """MFCC windows (k, 1, 13, 20) and the level-1 size of the region -> level 2."""
        face = lrelu(self.fc(self.encoder(audio))).unflatten(1, (self.base, AUDIO_GRID, AUDIO_GRID))
        sixteenth = sample_region(face, region, (size[0] // 8, size[1] // 8))
        eighth = double(lrelu(self.conv16(sixteenth)))
        return lrelu(self.conv4(double(lrelu(self.conv8(eighth)))))


class SpatialAudioFeatures(AudioMapDecoder):
    """H_audio, eq. 13, decoded to a map, because eq. 15 weights regions of the audio features."""

    def forward(self, audio: Tensor, region: Tensor, size: tuple[int, int]) -> Levels:
        """MFCC windows (k, 1, 13, 20) and the level-1 size of the region -> both levels."""
        level2 = self.quarter(audio, region, size)
        return lrelu(self.conv2(double(level2))), level2


class TiledAudioFeatures(nn.Module):
    """H_audio, eq. 13, as one vector for all positions."""

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.encoder = AudioEncoder()
        self.fc = nn.Linear(AudioEncoder.out_features, num_feat)
        self.conv2, self.conv4 = conv3(num_feat, num_feat), conv3(num_feat, num_feat)

    def forward(self, audio: Tensor, region: Tensor, size: tuple[int, int]) -> Levels:
        """MFCC windows (k, 1, 13, 20) and the level-1 size of the region -> both levels."""
        vector = lrelu(self.fc(self.encoder(audio)))[:, :, None, None]
        level1 = vector.expand(-1, -1, *size)
        level2 = vector.expand(-1, -1, size[0] // 2, size[1] // 2)
        return lrelu(self.conv2(level1)), lrelu(self.conv4(level2))


class IdentityFusion(nn.Module):
    """Weights landmark and audio features by attention and fuses them with the frame's (eqs. 14 to 16)."""

    def __init__(self, num_feat: int, use_landmark: bool, use_audio: bool, gate: Gate = 'channel') -> None:
        super().__init__()
        weights = num_feat if gate == 'channel' else 1
        self.attend_landmark = conv3(2 * num_feat, weights) if use_landmark else None
        self.attend_audio = conv3(2 * num_feat, weights) if use_audio else None
        self.conv = conv3((1 + use_landmark + use_audio) * num_feat, num_feat)
        self.res = make_layer(ResidualBlockNoBN, 2, num_feat=num_feat)

    def forward(self, frame: Tensor, landmark: Tensor | None, audio: Tensor | None) -> Tensor:
        """Features of one level, (k, c, h, w) each -> I^k (k, c, h, w)."""
        parts = [frame]
        if landmark is not None:
            parts.insert(0, _attended(landmark, frame, self.attend_landmark))  # (14)
        if audio is not None:
            parts.append(_attended(audio, frame, self.attend_audio))  # (15)
        return self.res(lrelu(self.conv(torch.cat(parts, dim=1))))  # (16)


def _attended(features: Tensor, frame: Tensor, attend: nn.Module | None) -> Tensor:
    assert attend is not None, 'the network was built without these features'
    return features * torch.sigmoid(attend(torch.cat([features, frame], 1)))


class IdentityModule(nn.Module):
    """Intra-frame identity module, eqs. 2 and 11 to 16. Frames are independent.

    Args:
        num_feat: channels.
        use_audio: use audio features in eq. 16.
        use_landmark: use landmark features in eq. 16.
        audio_map: `decode` (a map of 7x7 cells, upsampled) or `tile` (one vector for all positions).
        gate: attention of eqs. 14 and 15 has a weight for each `channel`, or one for each `pixel`.
    """

    def __init__(
        self,
        num_feat: int = 64,
        use_audio: bool = True,
        use_landmark: bool = True,
        audio_map: AudioMap = 'decode',
        gate: Gate = 'channel',
    ) -> None:
        super().__init__()
        audio_features = {'decode': SpatialAudioFeatures, 'tile': TiledAudioFeatures}[audio_map]
        self.frame = FrameFeatures(num_feat)
        self.landmark = LandmarkFeatures(num_feat) if use_landmark else None
        self.audio = audio_features(num_feat) if use_audio else None
        self.fuse1 = IdentityFusion(num_feat, use_landmark, use_audio, gate)
        self.fuse2 = IdentityFusion(num_feat, use_landmark, use_audio, gate)

    def forward(
        self, frames: Tensor, audio: Tensor | None, landmarks: Tensor | None, region: Tensor
    ) -> Levels:
        """Computes identity features of k frames.

        Args:
            frames: (k, 3, h, w), sides divisible by 16.
            audio: (k, 1, 13, 20) raw MFCC windows; ignored without `use_audio`.
            landmarks: (k, 68, 2) in [0, 1] of the full frame; ignored without `use_landmark`.
            region: (k, 4), x0 y0 x1 y1: the part of the full frame that `frames` show.

        Returns:
            I^1 (k, c, h/2, w/2) and I^2 (k, c, h/4, w/4).
        """
        size = (frames.shape[-2] // 2, frames.shape[-1] // 2)
        f1, f2 = self.frame(frames)  # (11)
        l1, l2 = (None, None) if self.landmark is None else self.landmark(landmarks, region, size)  # (12)
        a1, a2 = (None, None) if self.audio is None else self.audio(audio, region, size)  # (13)
        return self.fuse1(f1, l1, a1), self.fuse2(f2, l2, a2)  # (14) to (16)
