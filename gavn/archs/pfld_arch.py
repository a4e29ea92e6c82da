"""The audio-visual landmark detector: PFLD (Guo et al. 2019) with audio, and its auxiliary pose net."""
import torch
from torch import Tensor, nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.archs.blocks import SLOPE
from gavn.faces.geometry import DETECTOR_SIZE
from gavn.faces.landmarks import MEAN_FACE, N_POINTS
from gavn.registry import ARCH_REGISTRY

_LAST_SIZE = DETECTOR_SIZE // 16  # 7 x 7 remain for the last convolution


def _scaled(channels: int, width: float) -> int:
    """Returns `channels` times `width`, rounded to a multiple of 8."""
    return max(8, 8 * round(channels * width / 8))


def _conv_bn_relu(channels: int, out_channels: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out_channels, kernel, stride, padding, bias=False),
                         nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expansion, depthwise convolution, projection; `skip` adds the input."""

    def __init__(self, channels: int, out_channels: int, expansion: int, stride: int = 1, skip: bool = False
                 ) -> None:
        super().__init__()
        hidden = channels * expansion
        self.skip = skip
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, out_channels, h / stride, w / stride)."""
        return x + self.conv(x) if self.skip else self.conv(x)


@ARCH_REGISTRY.register()
class PFLDAV(nn.Module):
    """Finds landmarks from an image and its audio.

    The visual branch is PFLD's (table 1 of its paper; the second convolution is a full one, as in the
    published models): it concatenates features of three scales. The audio branch is the encoder of the
    restoration network. Two linear layers fuse both, so that the opening of the mouth can depend on pose and
    scale. The network has 2,009,640 parameters, 1,254,056 without audio. The paper gives no widths of the
    audio branch and the fusion.

    For 68 points the last layer initially returns a mean face (`landmarks.MEAN_FACE`) with small weights.

    Args:
        num_points: number of landmarks.
        use_audio: use audio. Without it, `audio` is ignored.
        width: factor of all channels except the audio encoder's.
        published_form: layout of the published 98-point models. Their last convolution has a bias, and their
            weights contain an unused normalisation `bn8`.
    """

    thread_safe = True  # several threads may call it at the same time
    SHALLOW = ('conv3_1', 'block3_2', 'block3_3', 'block3_4', 'block3_5')
    DEEP = ('conv4_1', 'conv5_1', 'block5_2', 'block5_3', 'block5_4', 'block5_5', 'block5_6')

    def __init__(self, num_points: int = N_POINTS, use_audio: bool = True, width: float = 1.0,
                 published_form: bool = False) -> None:
        super().__init__()
        self.num_points = num_points
        self.use_audio = use_audio
        self.published_form = published_form
        c16, c32, c64, c128 = (_scaled(channels, width) for channels in (16, 32, 64, 128))
        self.tap_channels = c64
        self._build_shallow(c64)
        self._build_deep(c64, c128)
        self.conv6_1 = InvertedResidual(c128, c16, 2)
        self.conv7 = _conv_bn_relu(c16, c32, 3, 2, 1)
        self.conv8 = nn.Conv2d(c32, c128, _LAST_SIZE, bias=published_form)
        self.bn8 = nn.BatchNorm2d(c128)
        self.relu = nn.ReLU(inplace=True)
        self._build_head(c16 + c32 + c128, audio=c128, joint=_scaled(256, width))

    def _build_shallow(self, channels: int) -> None:
        self.conv1 = nn.Conv2d(3, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        first, *others = self.SHALLOW
        self.add_module(first, InvertedResidual(channels, channels, 2, stride=2))
        for name in others:
            self.add_module(name, InvertedResidual(channels, channels, 2, skip=True))

    def _build_deep(self, channels: int, deep: int) -> None:
        reduction, first, *others = self.DEEP
        self.add_module(reduction, InvertedResidual(channels, deep, 2, stride=2))
        self.add_module(first, InvertedResidual(deep, deep, 4))
        for name in others:
            self.add_module(name, InvertedResidual(deep, deep, 4, skip=True))

    def _build_head(self, visual: int, audio: int, joint: int) -> None:
        if self.use_audio:
            self.audio = AudioEncoder()
            self.audio_fc = nn.Linear(AudioEncoder.out_features, audio)
            self.joint = nn.Linear(visual + audio, joint)
            self.lrelu = nn.LeakyReLU(SLOPE)
        self.fc = nn.Linear(joint if self.use_audio else visual, 2 * self.num_points)
        if self.num_points == N_POINTS:
            with torch.no_grad():
                self.fc.weight.mul_(0.1)
                self.fc.bias.copy_(torch.tensor(MEAN_FACE).flatten())

    def forward(self, face: Tensor, audio: Tensor | None = None, with_features: bool = False
                ) -> Tensor | tuple[Tensor, Tensor]:
        """Finds the landmarks of faces.

        Args:
            face: (n, 3, 112, 112), RGB in [0, 1]: the whole square face crop, downscaled by area.
            audio: (n, 1, 13, 20), raw MFCC windows.
            with_features: also return the features for `AuxiliaryPoseNet`.

        Returns:
            (n, num_points, 2): x and y in [0, 1] of the crop, not clamped. With `with_features` a pair of
            that and features (n, 64 width, 28, 28).

        Raises:
            ValueError: the size is wrong, or audio is missing.
        """
        side = DETECTOR_SIZE
        if face.shape[1:] != (3, side, side):
            raise ValueError(f'expected faces (n, 3, {side}, {side}), got {tuple(face.shape)}')
        if self.use_audio and audio is None:
            raise ValueError('this detector needs `audio`; use_audio: false builds one without it')
        features = self._features(face)
        visual = self._pool(features)
        points = self.fc(visual if audio is None or not self.use_audio else self._fuse(visual, audio))
        points = points.unflatten(1, (self.num_points, 2))
        return (points, features) if with_features else points

    def _features(self, face: Tensor) -> Tensor:
        """(n, 3, 112, 112) -> (n, 64, 28, 28)."""
        x = self.relu(self.bn1(self.conv1(face)))
        x = self.relu(self.bn2(self.conv2(x)))
        for name in self.SHALLOW:
            x = getattr(self, name)(x)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        """(n, 64, 28, 28) -> (n, 176): means at 14 x 14 and 7 x 7, and a convolution of the whole map."""
        for name in self.DEEP:
            x = getattr(self, name)(x)
        fine = self.conv6_1(x)
        coarse = self.conv7(fine)
        whole = self.conv8(coarse)
        whole = self.relu(whole if self.published_form else self.bn8(whole))
        return torch.cat((fine.mean((2, 3)), coarse.mean((2, 3)), whole.flatten(1)), 1)

    def _fuse(self, visual: Tensor, audio: Tensor) -> Tensor:
        """(n, 176) and MFCC windows -> (n, 256)."""
        features = self.lrelu(self.audio_fc(self.audio(audio)))
        return self.lrelu(self.joint(torch.cat((visual, features), 1)))


@ARCH_REGISTRY.register()
class AuxiliaryPoseNet(nn.Module):
    """Estimates head pose from the detector's early features, in training only (463,811 parameters).

    The layers are those of the published models: the maximum of 3 x 3 positions, and no activation between
    the last two layers.

    Args:
        channels: of the features, `PFLDAV.tap_channels`.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.conv1 = _conv_bn_relu(channels, 128, 3, 2, 1)
        self.conv2 = _conv_bn_relu(128, 128, 3, 1, 1)
        self.conv3 = _conv_bn_relu(128, 32, 3, 2, 1)
        self.conv4 = _conv_bn_relu(32, 128, _LAST_SIZE, 1, 1)
        self.fc1 = nn.Linear(128, 32)
        self.fc2 = nn.Linear(32, 3)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, 28, 28) -> pitch, yaw and roll (n, 3) in radians."""
        x = self.conv4(self.conv3(self.conv2(self.conv1(features))))  # (n, 128, 3, 3)
        return self.fc2(self.fc1(x.amax((2, 3))))
