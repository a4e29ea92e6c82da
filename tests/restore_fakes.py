"""Tiny networks with known answers for the tests of restoration, under names of their own in the registry."""
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from gavn.utils.windows import Layout


@ARCH_REGISTRY.register()
class FakeRestorer(nn.Module):
    """Adds `gain` (8-bit levels) everywhere, plus sound and landmarks when they are given."""

    def __init__(self, gain: float = 0., radius: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain / 255))
        self.layout = Layout(2 * radius + 1, 2, 'sequence')

    def forward(self, lq: Tensor, audio: Tensor | None = None, landmarks: Tensor | None = None) -> Tensor:
        frames = lq[:, 2:-2]
        assert frames.shape[1] == self.layout.outputs
        if audio is not None:
            frames = frames + audio.mean((2, 3, 4))[:, :, None, None, None] / 255
        if landmarks is not None:
            frames = frames + landmarks.mean((2, 3))[:, :, None, None, None]
        return frames + self.gain


@ARCH_REGISTRY.register()
class FakeDetector(nn.Module):
    """Every point is at the mean brightness of the face."""

    def __init__(self, num_points: int = 68) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_points, 2))

    def forward(self, face: Tensor, audio: Tensor | None = None) -> Tensor:
        assert face.shape[1:] == (3, 112, 112) and audio.shape[1:] == (1, 13, 20)
        assert not self.training and not torch.is_grad_enabled()
        return face.mean((1, 2, 3))[:, None, None] * self.scale


@ARCH_REGISTRY.register()
class FakePerFrame(nn.Module):
    """A network of single pictures without a layout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, lq: Tensor) -> Tensor:
        return lq + self.bias
