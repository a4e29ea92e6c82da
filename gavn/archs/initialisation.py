"""Initial weights that keep the size of signals and gradients from one end of the network to the other.

With the libraries' own weights the network of the paper does not begin to learn. A convolution passes on a
third of the mean square that it gets, a deformable one, whose masks start at one half, a quarter of that, and
at N = 1 the longest chain of eqs. 4 to 7 has eight of these. What is left of the picture at eq. 10 is a
hundredth of the biases, and the gradients behind it are as small as the constant in Adam's denominator.
Keeping the mean square alone is not enough: pictures in [0, 1] are mostly brightness, which says nothing
about what is missing; layers pass it on better than what varies, Adam's first steps answer to it in all
weights at once, overshoot and shrink the features away. So it is left out at the start.
docs/initialisation.md has the measurements.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch import nn

from gavn.archs.blocks import ResidualBlockNoBN, fill_bias
from gavn.archs.gavn_identity import FrameFeatures, SpatialAudioFeatures, TiledAudioFeatures
from gavn.archs.gavn_reconstruction import FeatureTransform, Reconstruction
from gavn.archs.gavn_temporal import Align, PyramidExtractor, TemporalFusion
from gavn.archs.spynet import FlowNetwork
from gavn.ops import DeformableAlignPack

Init = Literal['scaled', 'ordinary']
Starts = Mapping[type, Callable[[Any], object]]  # what a class does beside He's weights
SLOPE = 0.1  # of the LeakyReLU behind most convolutions
GATE = 0.5  # what a sigmoid of zero lets through
SMALL = 0.1  # of weights that should hardly act at first
LAST = 0.03  # of the last layer: the first outputs are close to the input


def check_init(init: str) -> None:
    """Raises ValueError for an option `init` that is neither."""
    if init not in get_args(Init):
        raise ValueError(f'init: {init!r} is not one of {", ".join(get_args(Init))}')


def variance_preserving_init(network: nn.Module, further: Starts | None = None,
                             kept: tuple[type[nn.Module], ...] = ()) -> None:
    """Set the weights of a GAVN, or of a network made of its parts; equations and sizes stay what they are.

    He's normal weights and zero biases, except: the first layers see differences, not brightness; alignments
    pass their neighbour on as it is; the fusion averages; products of eq. 9 stay where the sigmoid is steep;
    audio features start as small as the frame's; feature transforms and residual blocks start near the
    identity; the last layer starts small. `further` says the like of classes that GAVN does not have; the
    weights of `kept` classes stay as they are.
    """
    _he(network, (ResidualBlockNoBN, FlowNetwork, *kept))
    starts = {**_GAVN_STARTS, **(further or {})}
    for module in network.modules():
        if type(module) in starts:
            starts[type(module)](module)


def _he(module: nn.Module, kept: tuple[type[nn.Module], ...]) -> None:
    """All plain layers but those of residual blocks and offsets, which start small already, and of flow."""
    for name, child in module.named_children():
        if isinstance(child, kept) or name == 'conv_offset':
            continue
        if isinstance(child, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(child.weight, a=SLOPE)
            fill_bias(child)
        _he(child, kept)


def ignore_brightness(conv: nn.Conv2d) -> None:
    """Kernels that sum to zero for each colour."""
    conv.weight.data -= conv.weight.data.mean(dim=(2, 3), keepdim=True)


def start_linear(conv: nn.Conv2d) -> None:
    """For a layer that no activation follows."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity='linear')


def embed_for_dot(conv: nn.Conv2d) -> None:
    """For one of two layers whose results are multiplied and summed over channels, then squashed."""
    start_linear(conv)
    conv.weight.data *= conv.out_channels**-0.25  # the sum then has a mean square near 1


def _pyramid_extractor(extractor: PyramidExtractor) -> None:
    ignore_brightness(extractor.predeblur.conv_first)
    start_linear(extractor.conv_1x1)


def start_align(align: Align) -> None:
    """The neighbour passes level by level as it is; so does the one of EDVR's alignment."""
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


def _fusion(fusion: TemporalFusion) -> None:
    average_parts(fusion.fusion, parts=5)
    fusion.fusion.weight.data /= GATE
    start = embed_for_dot if fusion.attention == 'dot' else start_linear
    for emb in (fusion.emb_ref, fusion.emb_nbr):
        start(emb)


def average_parts(conv: nn.Conv2d | DeformableAlignPack, parts: int) -> None:
    """The mean of so many features that come in together, channel by channel."""
    for part in conv.weight.data.chunk(parts, dim=1):
        nn.init.dirac_(part)
        part /= parts


def _feature_transform(transform: FeatureTransform) -> None:
    transform.gamma.weight.data *= SMALL
    transform.beta.weight.data *= SMALL
    fill_bias(transform.gamma, 1.0)


_GAVN_STARTS: Starts = {
    PyramidExtractor: _pyramid_extractor,
    FrameFeatures: lambda module: ignore_brightness(module.conv_first),
    SpatialAudioFeatures: lambda module: module.fc.weight.data.mul_(SMALL),
    TiledAudioFeatures: lambda module: module.fc.weight.data.mul_(SMALL),
    Align: start_align,
    TemporalFusion: _fusion,
    FeatureTransform: _feature_transform,
    Reconstruction: lambda module: module.last.weight.data.mul_(LAST),
}
