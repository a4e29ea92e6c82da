"""Eqs. 4 to 8: which alignments run, and which frames their content comes from.

Frames are counted from 0: with N = 1 there are seven, and 2, 3 and 4 are restored.
"""

import pytest
import torch
from torch import Tensor

from gavn.archs.gavn_arch import GAVN
from gavn.archs.gavn_temporal import TemporalModule


def temporal(**options: object) -> TemporalModule:
    return GAVN(8, num_extract_block=1, deformable_groups=2, use_identity=False, **options).temporal


def fused(network: TemporalModule, frames: Tensor) -> Tensor:
    """T of the inner frames of (n, t, 3, h, w)."""
    levels = network.extractor(frames.flatten(0, 1))
    return network([level.unflatten(0, frames.shape[:2]) for level in levels])


def content_sources(network: TemporalModule, frames: int) -> list[set[int]]:
    """The frames that each output has a gradient to. Offsets are zero at first: the reference gets none."""
    x = torch.rand(1, frames, 3, 32, 32, requires_grad=True)
    outputs = fused(network, x)
    sources = []
    for j in range(outputs.shape[1]):
        (gradient,) = torch.autograd.grad(outputs[:, j].sum(), x, retain_graph=True)
        strength = gradient[0].flatten(1).abs().sum(dim=1)
        sources.append(set(strength.nonzero().flatten().tolist()))
    return sources


@pytest.mark.parametrize('share_align', ['all', 'type', 'none'])
def test_n_1_as_printed_never_shows_a_frame_its_neighbours(share_align):
    sources = content_sources(temporal(share_align=share_align), 7)
    assert sources == [{0, 2, 6}, {0, 1, 3, 5, 6}, {0, 4, 6}]


def test_n_0_as_printed_sees_every_second_frame():
    assert content_sources(temporal(radius=0), 5) == [{0, 2, 4}]


def test_n_3_as_printed_sees_its_ends_and_itself():
    ends = {0, 10}
    expected = [ends | {j} | ({1, 9} if j % 2 else set()) for j in range(2, 9)]
    assert content_sources(temporal(radius=3), 11) == expected


@pytest.mark.parametrize('frames', [5, 7, 11])
def test_injection_shows_every_output_every_frame(frames):
    assert content_sources(temporal(inject=True), frames) == [set(range(frames))] * (frames - 4)


def test_offsets_that_moved_let_the_reference_in():
    network = temporal()
    for pack in network.aligns['all'].dcn_pack.values():
        torch.nn.init.normal_(pack.conv_offset.weight, std=0.1)
    assert content_sources(network, 7) == [set(range(7))] * 3


@pytest.mark.parametrize('radius', [0, 1, 2, 3])
def test_there_are_10_n_plus_7_alignments(radius):
    network, calls = temporal(radius=radius), []
    network.aligns['all'].register_forward_hook(lambda _, given, __: calls.append(len(given[0][0])))
    fused(network, torch.rand(1, 2 * radius + 5, 3, 16, 16))
    assert sum(calls) == 10 * radius + 7 and len(calls) == 2 * radius + 2


def test_each_equation_has_its_own_alignments():
    network, calls = temporal(share_align='none'), {}
    for name, align in network.aligns.items():
        align.register_forward_hook(
            lambda _, given, __, name=name: calls.update({name: calls.get(name, 0) + len(given[0][0])}))
    fused(network, torch.rand(1, 7, 3, 16, 16))
    assert calls == {'fa': 4, 'ba': 4, 'fs': 3, 'bs': 3, 'af': 3}


def test_the_four_alignments_that_are_left_out_change_nothing():
    """Eqs. 4 to 10 with the ranges that the paper prints for seven frames: 21 alignments."""
    network, x = temporal(), torch.rand(2, 7, 3, 32, 32)
    pack = network.aligns['all'].cas_dcnpack
    torch.nn.init.normal_(pack.conv_offset.weight, std=0.1)
    align, f = network.aligns['all'], [network.extractor(frame) for frame in x.unbind(1)]
    t, fa, ba, fs, bs = 3, {}, {}, {}, {}
    for j in range(t - 2, t + 3):
        fa[j] = align(f[j], f[j - 1] if j == t - 2 else fa[j - 1])
    for j in range(t + 2, t - 3, -1):
        ba[j] = align(f[j], f[j + 1] if j == t + 2 else ba[j + 1])
    for j in range(t - 1, t + 3):
        fs[j] = align(f[j], f[j - 2] if j in (t - 1, t) else fs[j - 2])
    for j in range(t + 1, t - 3, -1):
        bs[j] = align(f[j], f[j + 2] if j in (t, t + 1) else bs[j + 2])
    af = {j: align(f[j], f[j]) for j in range(t - 1, t + 2)}
    assert len(fa) + len(ba) + len(fs) + len(bs) + len(af) == 21
    expected = [network.fuse(af[j][0], [y[j][0] for y in (fs, fa, af, ba, bs)]) for j in af]
    torch.testing.assert_close(fused(network, x), torch.stack(expected, dim=1))
