"""SyncNet (Chung and Zisserman 2016), which measures whether lips and audio are in sync."""
from itertools import pairwise

from torch import Tensor, nn

from gavn.audio.mfcc import N_MFCC, WINDOW_COLUMNS, WINDOW_FRAMES
from gavn.registry import ARCH_REGISTRY

SIDE = 224  # pixels of the face crop
FEATURES = 1024

_AUDIO_CHANNELS = (1, 64, 192, 384, 256, 256, 512)  # input and output channels of the convolutions
_VIDEO_CHANNELS = (3, 96, 256, 256, 256, 256, 512)


def _conv2d(channels: int, out_channels: int, kernel: int | tuple[int, int], padding: int = 0
            ) -> list[nn.Module]:
    return [nn.Conv2d(channels, out_channels, kernel, 1, padding), nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True)]


def _conv3d(channels: int, out_channels: int, kernel: tuple[int, int, int], stride: int = 1,
            padding: int = 0) -> list[nn.Module]:
    """A convolution with padding and stride in space only."""
    return [nn.Conv3d(channels, out_channels, kernel, (1, stride, stride), (0, padding, padding)),
            nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)]


def _pool3d(padding: int = 0) -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, padding, padding))


def _audio_layers() -> nn.Sequential:
    """MFCCs (n, 1, 13, 20) -> (n, 512, 1, 1)."""
    first, second, third, fourth, fifth, last = pairwise(_AUDIO_CHANNELS)
    return nn.Sequential(
        *_conv2d(*first, 3, 1), nn.MaxPool2d(1, 1),
        *_conv2d(*second, 3, 1), nn.MaxPool2d(3, (1, 2)),  # 11 x 9
        *_conv2d(*third, 3, 1), *_conv2d(*fourth, 3, 1), *_conv2d(*fifth, 3, 1), nn.MaxPool2d(3, 2),  # 5 x 4
        *_conv2d(*last, (5, 4)))


def _video_layers() -> nn.Sequential:
    """Frames (n, 3, t, 224, 224) -> (n, 512, t - 4, 1, 1). Only the first layer is temporal."""
    first, second, third, fourth, fifth, last = pairwise(_VIDEO_CHANNELS)
    return nn.Sequential(
        *_conv3d(*first, (WINDOW_FRAMES, 7, 7), 2), _pool3d(),  # 109, then 54
        *_conv3d(*second, (1, 5, 5), 2, 1), _pool3d(1),  # 26, then 13
        *_conv3d(*third, (1, 3, 3), 1, 1), *_conv3d(*fourth, (1, 3, 3), 1, 1),
        *_conv3d(*fifth, (1, 3, 3), 1, 1), _pool3d(),  # 6
        *_conv3d(*last, (1, 6, 6)))


def _projection() -> nn.Sequential:
    """(n, 512) -> (n, 1024)."""
    width = _AUDIO_CHANNELS[-1]
    return nn.Sequential(nn.Linear(width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, FEATURES))


@ARCH_REGISTRY.register()
class SyncNet(nn.Module):
    """Embeds five frames and the audio of the same 0.2 s in one space (13,631,616 parameters).

    Layers and names are those of the published model `syncnet_v2.model`, so that its weights load. It is used
    for evaluation, not trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _audio_layers()
        self.netfcaud = _projection()
        self.netfclip = _projection()
        self.netcnnlip = _video_layers()
        self.eval()

    def embed_audio(self, windows: Tensor) -> Tensor:
        """Embeds raw MFCCs (n, 1, 13, 20) of 0.2 s each -> (n, 1024).

        Raises:
            ValueError: the shape is wrong.
        """
        if windows.shape[1:] != (1, N_MFCC, WINDOW_COLUMNS):
            raise ValueError(f'expected MFCCs (n, 1, {N_MFCC}, {WINDOW_COLUMNS}), '
                             f'got {tuple(windows.shape)}')
        return self.netfcaud(self.netcnnaud(windows).flatten(1))

    def embed_video(self, frames: Tensor) -> Tensor:
        """Embeds consecutive frames (t, 3, 224, 224) -> (t - 4, 1024), one for every five frames.

        Args:
            frames: face crops in **BGR** order, 0..255, without normalisation; t >= 5.

        Raises:
            ValueError: the shape is wrong.
        """
        if frames.shape[1:] != (3, SIDE, SIDE) or len(frames) < WINDOW_FRAMES:
            raise ValueError(f'expected frames (t >= {WINDOW_FRAMES}, 3, {SIDE}, {SIDE}), '
                             f'got {tuple(frames.shape)}')
        features = self.netcnnlip(frames.transpose(0, 1).unsqueeze(0))  # (1, 512, t - 4, 1, 1)
        return self.netfclip(features[0, :, :, 0, 0].T)

    def forward(self, frames: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds the frames and the audio of a clip."""
        return self.embed_video(frames), self.embed_audio(windows)
