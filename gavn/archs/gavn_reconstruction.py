"""The reconstruction module (figure 4): temporal and identity features become an image."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.blocks import SMALL, ResidualBlockNoBN, conv3, fill_bias, lrelu, make_layer


class FeatureTransform(nn.Module):
    """Scales and shifts features by maps of others: x * Conv(I) + Conv(I), inside eqs. 17 and 18.

    Initially it is near the identity (scale 1, shift 0), so that stage 2 continues stage 1's result.
    """

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        self.gamma, self.beta = conv3(num_feat, num_feat), conv3(num_feat, num_feat)
        self.init_near_identity()

    def init_near_identity(self) -> None:
        """Shrinks the weights; the biases are a scale of 1 and a shift of 0."""
        for conv, bias in ((self.gamma, 1.0), (self.beta, 0.0)):
            conv.weight.data *= SMALL
            fill_bias(conv, bias)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        """Both (k, c, h, w)."""
        return x * self.gamma(identity) + self.beta(identity)


class UpBlock(nn.Module):
    """Phi_UP: residual blocks, then pixel shuffle to twice the size."""

    def __init__(self, num_feat: int, num_blocks: int) -> None:
        super().__init__()
        self.body = make_layer(ResidualBlockNoBN, num_blocks, num_feat=num_feat)
        self.conv = conv3(num_feat, 4 * num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """(k, c, h, w) -> (k, c, 2 h, 2 w)."""
        return lrelu(F.pixel_shuffle(self.conv(self.body(x)), 2))


class Reconstruction(nn.Module):
    """Reconstruction module, eqs. 17 and 18 and the last convolutions of eq. 3.

    Without identity features it is the head of training stage 1, with the same parameter names.

    Args:
        num_feat: channels.
        num_blocks: residual blocks at a quarter and at half of the frame's size.
        use_identity: build the two feature transforms.
    """

    def __init__(
        self, num_feat: int = 64, num_blocks: Sequence[int] = (10, 5), use_identity: bool = True
    ) -> None:
        super().__init__()
        self.sft2 = FeatureTransform(num_feat) if use_identity else None
        self.up2 = UpBlock(num_feat, num_blocks[0])
        self.sft1 = FeatureTransform(num_feat) if use_identity else None
        self.up1 = UpBlock(num_feat, num_blocks[1])
        self.hr = conv3(num_feat, num_feat)
        self.last = conv3(num_feat, 3)

    def forward(self, temporal: Tensor, identity: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Returns the residual of the frames.

        Args:
            temporal: T (k, c, h/4, w/4).
            identity: I^1 (k, c, h/2, w/2) and I^2 (k, c, h/4, w/4); None in stage 1.

        Returns:
            (k, 3, h, w).
        """
        half, quarter = (None, None) if identity is None else identity
        x = self.up2(_transformed(temporal, self.sft2, quarter))  # (17)
        x = self.up1(_transformed(x, self.sft1, half))  # (18)
        return self.last(lrelu(self.hr(x)))


def _transformed(x: Tensor, transform: FeatureTransform | None, identity: Tensor | None) -> Tensor:
    """Transforms features; stage 1 has no identity features and leaves them unchanged."""
    if identity is None:
        return x
    assert transform is not None, 'the network was built without use_identity'
    return transform(x, identity)
