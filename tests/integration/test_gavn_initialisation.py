"""GAVN at its start: sizes of signals and gradients, and whether the first steps lead anywhere."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gavn.archs.gavn_arch import GAVN

BLOCKS = (
    'temporal.extractor.predeblur',
    'temporal.extractor.feature_extraction',
    'temporal.aligns.all.dcn_pack.l3',
    'temporal.aligns.all.dcn_pack.l1',
    'temporal.aligns.all.feat_conv.l1',
    'temporal.aligns.all.cas_dcnpack',
    'temporal.fuse.emb_nbr',
    'temporal.fuse.fusion',
    'reconstruction.sft2',
    'reconstruction.up2',
    'reconstruction.up1',
    'reconstruction.hr',
)
ADAM_EPS = 1e-8  # gradients of this size move half as far as larger ones
IDENTITY_BLOCKS = ('frame', 'landmark', 'fuse1', 'fuse2')


def moving_texture(n: int = 2, t: int = 5, size: int = 32) -> tuple[Tensor, Tensor]:
    """Soft colours that drift, blurred with a standard deviation of two pixels; sharp inner frames."""
    canvas = F.interpolate(torch.rand(n, 3, 24, 24), 96, mode='bicubic').mul(1.5).sub(0.25).clamp(0, 1)
    edge = 8
    side = size + 2 * edge
    sharp = torch.stack([canvas[..., 2 * i : 2 * i + side, i : i + side] for i in range(t)], dim=1)
    profile = torch.exp(-(torch.arange(-6.0, 7.0) ** 2) / 8)
    kernel = torch.outer(profile, profile)[None, None] / profile.sum() ** 2
    blurred = F.conv2d(sharp.flatten(0, 2)[:, None], kernel, padding=6).view_as(sharp)
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    return blurred[inner], sharp[:, 2:-2][inner]


def loss(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2 + 1e-6).sqrt().mean()


def signals_and_gradients(
    network: GAVN, blocks: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, float]]:
    """How much each block's result varies over the image, and the root mean square of its gradients."""
    signals: dict[str, float] = {}

    def watch(name: str) -> None:
        def note(_module: nn.Module, _inputs: object, result: Tensor) -> None:
            result = result[0] if isinstance(result, tuple) else result
            signals[name] = result.detach().std(dim=(-2, -1)).mean().item()

        network.get_submodule(name).register_forward_hook(note)

    for name in blocks:
        watch(name)
    outputs = 2 * network.radius + 1
    lq, target = moving_texture(t=outputs + 4)
    result = network(lq, 10 * torch.randn(2, outputs, 1, 13, 20), torch.rand(2, outputs, 68, 2))
    loss(result, target).backward()
    gradients = {}
    for name in blocks:
        squares = [p.grad.square().mean() for p in network.get_submodule(name).parameters()]
        gradients[name] = torch.stack(squares).mean().sqrt().item()
    return signals, gradients


def floor(block: str) -> float:
    """Least gradient: what carries the image gets a hundred times Adam's epsilon, side paths twice."""
    side_path = block.endswith(('dcn_pack.l3', 'emb_nbr'))
    return (2 if side_path else 100) * ADAM_EPS


@pytest.mark.parametrize('options', [{}, {'radius': 2}, {'radius': 0, 'inject': True}, {'eq9': 'literal'}])
@pytest.mark.parametrize('width', [16, 32])
def test_signals_and_gradients_keep_their_size(width, options):
    blocks = BLOCKS + tuple(f'identity.{name}' for name in IDENTITY_BLOCKS)
    signals, gradients = signals_and_gradients(GAVN(width, **options), blocks)
    assert {name: value for name, value in signals.items() if not 0.01 < value < 1} == {}
    assert {name: value for name, value in gradients.items() if not floor(name) < value < 1} == {}


def test_the_libraries_own_weights_lose_the_image():
    """The fault that `init: scaled` corrects; it shows that the test above can fail."""
    signals, gradients = signals_and_gradients(GAVN(16, init='ordinary'), BLOCKS)
    assert signals['temporal.fuse.fusion'] < 2e-3
    assert gradients['temporal.extractor.predeblur'] < 2e-7
    assert gradients['temporal.fuse.emb_nbr'] < 1e-7


def test_the_first_output_is_close_to_the_input():
    lq, _ = moving_texture()
    assert (GAVN(16, radius=0, use_identity=False)(lq) - lq[:, 2:-2]).square().mean().sqrt() < 0.1


@pytest.mark.parametrize('inject', [False, True])
def test_alignment_passes_its_neighbour_on(inject):
    align = GAVN(16, inject=inject, use_identity=False).temporal.aligns['all']
    ref, nbr = ([torch.randn(1, 16, s, s) for s in (16, 8, 4)] for _ in range(2))
    expected = F.leaky_relu(nbr[0], 0.1)
    if inject:
        expected = F.leaky_relu((expected + ref[0]) / 2, 0.1)
    error = align(ref, nbr)[0] - expected
    assert error.std() < 0.3 * expected.std()


def gain_after(steps: int, init: str) -> float:
    """dB that a very small network gains on one batch, trained as stage 1."""
    torch.manual_seed(0)
    network = GAVN(8, 0, 1, (1, 1), 2, use_identity=False, init=init)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    lq, target = moving_texture(2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(network(lq), target).backward()
        optimizer.step()
    with torch.no_grad():
        before, after = (F.mse_loss(x, target) for x in (lq[:, 2:-2], network(lq)))
    return 10 * torch.log10(before / after).item()


def test_learns_from_the_first_steps_where_ordinary_weights_do_not():
    assert gain_after(45, 'scaled') > 0.4
    assert gain_after(45, 'ordinary') < 0.1
