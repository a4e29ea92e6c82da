"""Initial weights that preserve the variance of signals and gradients through the network.

With PyTorch's default weights the network of the paper does not learn. A convolution passes on a third of the
mean square of its input. A deformable one, whose masks are initially one half, passes on a quarter of that,
and the longest chain of eqs. 4 to 7 has eight of these at N = 1. At eq. 10 the signal is a hundredth of the
biases, and its gradients are as small as epsilon in Adam's denominator.

Preserving the mean square is not enough. Images in [0, 1] are mostly brightness, which layers transmit better
than detail. Adam's first steps follow it in all weights at once, overshoot and shrink the features. So the
first layers initially ignore brightness. docs/initialisation.md has the measurements.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch import nn

from gavn.archs.blocks import SLOPE, SMALL, ResidualBlockNoBN, fill_bias
from gavn.archs.gavn_identity import FrameFeatures, SpatialAudioFeatures, TiledAudioFeatures
from gavn.archs.gavn_reconstruction import FeatureTransform, Reconstruction
from gavn.archs.gavn_temporal import Align, PyramidExtractor, TemporalFusion
from gavn.archs.spynet import FlowNetwork
from gavn.ops import DeformableAlignPack

Init = Literal['scaled', 'ordinary']
Initialisers = Mapping[type, Callable[[Any], object]]  # class -> changes of its initial weights
GATE = 0.5  # sigmoid of zero
LAST = 0.03  # factor of the last layer, so that the first outputs are close to the input


def check_init(init: str) -> None:
    """Raises ValueError if `init` is not a valid choice."""
    if init not in get_args(Init):
        raise ValueError(f'init: {init!r} is not one of {", ".join(get_args(Init))}')


def variance_preserving_init(network: nn.Module, further: Initialisers | None = None,
                             kept: tuple[type[nn.Module], ...] = ()) -> None:
    """Sets the weights of a GAVN, or of a network of its parts.

    Layers have He's normal weights and zero biases, with exceptions: first layers ignore brightness;
    alignments pass on their neighbour; the fusion averages; products of eq. 9 stay where the sigmoid is
    steep; audio features have the scale of the frame's; feature transforms and residual blocks are near the
    identity; the last layer is small.

    Args:
        network: changed in place.
        further: exceptions for classes that GAVN does not have.
        kept: classes whose weights stay unchanged.
    """
    _he(network, (ResidualBlockNoBN, FlowNetwork, *kept))
    initialisers = {**_GAVN_INITIALISERS, **(further or {})}
    for module in network.modules():
        if type(module) in initialisers:
            initialisers[type(module)](module)


def _he(module: nn.Module, kept: tuple[type[nn.Module], ...]) -> None:
    """Sets all convolutions and linear layers, except offsets (already small) and `kept` classes."""
    for name, child in module.named_children():
        if isinstance(child, kept) or name == 'conv_offset':
            continue
        if isinstance(child, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(child.weight, a=SLOPE)
            fill_bias(child)
        _he(child, kept)


def ignore_brightness(conv: nn.Conv2d | nn.Conv3d) -> None:
    """Makes each channel's kernel sum to zero."""
    conv.weight.data -= conv.weight.data.mean(dim=(-2, -1), keepdim=True)


def init_linear(conv: nn.Conv2d | nn.Conv3d) -> None:
    """Initialises a layer without an activation."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity='linear')


def init_dot_embedding(conv: nn.Conv2d) -> None:
    """Initialises one of two layers whose results have a dot product over channels before a sigmoid."""
    init_linear(conv)
    conv.weight.data *= conv.out_channels**-0.25  # the sum then has a mean square near 1


def _init_extractor(extractor: PyramidExtractor) -> None:
    ignore_brightness(extractor.predeblur.conv_first)
    init_linear(extractor.conv_1x1)


def init_align(align: Align) -> None:
    """Makes an alignment of GAVN or EDVR pass on the neighbour unchanged on each level."""
    for dcn in (*align.dcn_pack.values(), align.cas_dcnpack):
        weight = dcn.get_parameter('weight').data
        nn.init.dirac_(weight)
        weight /= GATE
    for conv in align.feat_conv.values():
        aligned, coarser = conv.get_parameter('weight').data.chunk(2, dim=1)
        nn.init.dirac_(aligned)
        coarser *= SMALL
    for conv in (getattr(align, 'inject', None) or {}).values():
        average_parts(conv, parts=2)


def _init_fusion(fusion: TemporalFusion) -> None:
    average_parts(fusion.fusion, parts=5)
    fusion.fusion.weight.data /= GATE
    init = init_dot_embedding if fusion.attention == 'dot' else init_linear
    for emb in (fusion.emb_ref, fusion.emb_nbr):
        init(emb)


def average_parts(conv: nn.Conv2d | DeformableAlignPack, parts: int) -> None:
    """Makes a layer average `parts` concatenated features, channel by channel."""
    for part in conv.weight.data.chunk(parts, dim=1):
        nn.init.dirac_(part)
        part /= parts


_GAVN_INITIALISERS: Initialisers = {
    PyramidExtractor: _init_extractor,
    FrameFeatures: lambda module: ignore_brightness(module.conv_first),
    SpatialAudioFeatures: lambda module: module.fc.weight.data.mul_(SMALL),
    TiledAudioFeatures: lambda module: module.fc.weight.data.mul_(SMALL),
    Align: init_align,
    TemporalFusion: _init_fusion,
    FeatureTransform: FeatureTransform.init_near_identity,
    Reconstruction: lambda module: module.last.weight.data.mul_(LAST),
}
