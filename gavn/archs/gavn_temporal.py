"""The inter-frame temporal module (figure 3a): aligns neighbours, weights them by similarity and fuses them.

A pyramid is a list of features at three levels, (n, c, h, w), (n, c, h/2, w/2) and (n, c, h/4, w/4), where h
and w are a quarter of the frame's.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from gavn.archs.blocks import SLOPE, PredeblurModule, ResidualBlockNoBN, conv3, double, lrelu, make_layer
from gavn.ops import DeformableAlignPack
from gavn.runtime.windows import CONTEXT

Pyramid = list[Tensor]
Sharing = Literal['all', 'type', 'none']
Attention = Literal['dot', 'elementwise']
Eq9 = Literal['similarity', 'literal']

# name of the alignment module of eqs. 4 (fa), 5 (ba), 6 (fs), 7 (bs) and 8 (af)
SHARING: dict[Sharing, dict[str, str]] = {
    'all': dict.fromkeys(('fa', 'ba', 'fs', 'bs', 'af'), 'all'),
    'type': {'fa': 'adjacent', 'ba': 'adjacent', 'fs': 'skip', 'bs': 'skip', 'af': 'self'},
    'none': {name: name for name in ('fa', 'ba', 'fs', 'bs', 'af')},
}


class PyramidExtractor(nn.Module):
    """Pre-deblur, residual blocks and two strided steps, with the names of EDVR (Wang et al. 2019)."""

    def __init__(self, num_feat: int = 64, num_blocks: int = 5, coarser: bool = True) -> None:
        super().__init__()
        self.coarser = coarser
        self.predeblur = PredeblurModule(num_feat)
        self.conv_1x1 = nn.Conv2d(num_feat, num_feat, 1)
        self.feature_extraction = make_layer(ResidualBlockNoBN, num_blocks, num_feat=num_feat)
        if coarser:
            self.conv_l2_1, self.conv_l2_2 = conv3(num_feat, num_feat, 2), conv3(num_feat, num_feat)
            self.conv_l3_1, self.conv_l3_2 = conv3(num_feat, num_feat, 2), conv3(num_feat, num_feat)

    def forward(self, frames: Tensor) -> Pyramid:
        """Frames (n, 3, h, w), sides divisible by 16 -> pyramid, level 1 at (h/4, w/4).

        Without `coarser` the pyramid is level 1 alone.
        """
        l1 = self.feature_extraction(self.conv_1x1(self.predeblur(frames)))
        if not self.coarser:
            return [l1]
        l2 = lrelu(self.conv_l2_2(lrelu(self.conv_l2_1(l1))))
        l3 = lrelu(self.conv_l3_2(lrelu(self.conv_l3_1(l2))))
        return [l1, l2, l3]


class Align(nn.Module):
    """Aligns a pyramid to a reference from coarse to fine by deformable convolution (eqs. 4 to 8).

    This is EDVR's pyramid, cascading and deformable alignment with the same parameter names. It returns all
    three levels because eqs. 4 to 7 align features that were aligned before. The content is the neighbour's;
    the reference only determines offsets. With `inject` (not in the paper), a 1x1 convolution per level adds
    the reference's content, so that a chain of alignments collects every frame it passes.
    """

    def __init__(
        self,
        num_feat: int = 64,
        deformable_groups: int = 8,
        inject: bool = False,
    ) -> None:
        super().__init__()

        def convs(in_channels: int, levels: Sequence[str], kernel: int = 3) -> nn.ModuleDict:
            return nn.ModuleDict(
                {level: nn.Conv2d(in_channels, num_feat, kernel, 1, kernel // 2) for level in levels}
            )

        def dcn(slope: float | None = None) -> DeformableAlignPack:
            return DeformableAlignPack(
                num_feat, num_feat, 3, padding=1, deformable_groups=deformable_groups, slope=slope
            )

        levels = ('l3', 'l2', 'l1')
        self.offset_conv1 = convs(2 * num_feat, levels)
        self.offset_conv2 = convs(2 * num_feat, levels[1:])
        self.offset_conv2['l3'] = conv3(num_feat, num_feat)
        self.offset_conv3 = convs(num_feat, levels[1:])
        self.dcn_pack = nn.ModuleDict({'l3': dcn(SLOPE), 'l2': dcn(), 'l1': dcn()})
        self.feat_conv = convs(2 * num_feat, levels[1:])
        self.cas_offset_conv1 = conv3(2 * num_feat, num_feat)
        self.cas_offset_conv2 = conv3(num_feat, num_feat)
        self.cas_dcnpack = dcn(SLOPE)
        self.inject = convs(2 * num_feat, levels, kernel=1) if inject else None

    def forward(self, ref: Pyramid, nbr: Pyramid) -> Pyramid:
        """Align(ref, nbr): the neighbour's features at the positions of the reference."""
        offset3 = self._coarsest_offset(ref[2], nbr[2])
        l3 = self.dcn_pack['l3'](nbr[2], offset3)
        offset2 = self._finer_offset('l2', ref[1], nbr[1], offset3)
        l2 = lrelu(self._finer_features('l2', nbr[1], offset2, l3))
        offset1 = self._finer_offset('l1', ref[0], nbr[0], offset2)
        l1 = self._cascade(ref[0], self._finer_features('l1', nbr[0], offset1, l2))
        aligned = [l1, l2, l3]
        return aligned if self.inject is None else _injected(self.inject, aligned, ref)

    def _coarsest_offset(self, ref: Tensor, nbr: Tensor) -> Tensor:
        offset = lrelu(self.offset_conv1['l3'](torch.cat([nbr, ref], dim=1)))
        return lrelu(self.offset_conv2['l3'](offset))

    def _finer_offset(self, level: str, ref: Tensor, nbr: Tensor, coarser: Tensor) -> Tensor:
        offset = lrelu(self.offset_conv1[level](torch.cat([nbr, ref], dim=1)))
        # a pixel of the coarser level is two of this one
        offset = lrelu(self.offset_conv2[level](torch.cat([offset, 2 * double(coarser)], dim=1)))
        return lrelu(self.offset_conv3[level](offset))

    def _finer_features(self, level: str, nbr: Tensor, offset: Tensor, coarser: Tensor) -> Tensor:
        aligned = self.dcn_pack[level](nbr, offset)
        return self.feat_conv[level](torch.cat([aligned, double(coarser)], dim=1))

    def _cascade(self, ref: Tensor, aligned: Tensor) -> Tensor:
        offset = lrelu(self.cas_offset_conv1(torch.cat([aligned, ref], dim=1)))
        return self.cas_dcnpack(aligned, lrelu(self.cas_offset_conv2(offset)))


def _injected(convs: nn.ModuleDict, aligned: Pyramid, ref: Pyramid) -> Pyramid:
    return [
        lrelu(convs[level](torch.cat([own, other], dim=1)))
        for level, own, other in zip(('l1', 'l2', 'l3'), aligned, ref, strict=True)
    ]


class TemporalFusion(nn.Module):
    """Weights aligned features by their similarity to the frame's own, and fuses them (eqs. 9 and 10).

    Args:
        num_feat: channels.
        attention: `dot`: the product of eq. 9 is a dot product over channels, with one map (as in EDVR's
            temporal attention). `elementwise`: one map per channel.
        eq9: `similarity` weights Y, the aligned features, as the text before the equation says. `literal`
            weights AF, as the equation is printed; Y then only determines the weights.
    """

    def __init__(
        self, num_feat: int = 64, attention: Attention = 'dot', eq9: Eq9 = 'similarity'
    ) -> None:
        super().__init__()
        self.attention, self.eq9 = attention, eq9
        self.emb_ref, self.emb_nbr = conv3(num_feat, num_feat), conv3(num_feat, num_feat)
        self.fusion = nn.Conv2d(5 * num_feat, num_feat, 1)

    def forward(self, own: Tensor, aligned: Sequence[Tensor]) -> Tensor:
        """AF_j (n, c, h, w) and the five Y_j in the order of eq. 10 -> T_j (n, c, h, w)."""
        ref = self.emb_ref(own)
        weighted = [self._eq9(y, own, ref) for y in aligned]
        return lrelu(self.fusion(torch.cat(weighted, dim=1)))  # (10)

    def _eq9(self, y: Tensor, own: Tensor, ref: Tensor) -> Tensor:
        similarity = self.emb_nbr(y) * ref
        if self.attention == 'dot':
            similarity = similarity.sum(dim=1, keepdim=True)
        return (y if self.eq9 == 'similarity' else own) * torch.sigmoid(similarity)  # (9)


class TemporalModule(nn.Module):
    """Inter-frame temporal module, eqs. 1 and 4 to 10.

    Args:
        num_feat: channels.
        num_blocks: residual blocks of the feature extractor.
        deformable_groups: groups of channels with separate offsets.
        inject: see `Align`.
        temporal_skip: T_j = F_j + eq. 10: the frame's own features bypass the alignments (not in the paper).
        share_align: `all`: one Align for eqs. 4 to 8, as the paper has one symbol. `type`: one each for
            adjacent frames, skipped frames and the frame itself. `none`: five.
        attention: see `TemporalFusion`.
        eq9: see `TemporalFusion`.
        use_alignment: align neighbours by eqs. 4 to 8. Without it the features of the five frames are fused
            as they are (not in the paper).
    """

    def __init__(
        self,
        num_feat: int = 64,
        num_blocks: int = 5,
        deformable_groups: int = 8,
        inject: bool = False,
        temporal_skip: bool = False,
        share_align: Sharing = 'all',
        attention: Attention = 'dot',
        eq9: Eq9 = 'similarity',
        use_alignment: bool = True,
    ) -> None:
        super().__init__()
        self.temporal_skip = temporal_skip
        self.align_for = SHARING[share_align] if use_alignment else {}
        self.extractor = PyramidExtractor(num_feat, num_blocks, coarser=use_alignment)
        names = dict.fromkeys(self.align_for.values())
        self.aligns = nn.ModuleDict({name: Align(num_feat, deformable_groups, inject) for name in names})
        self.fuse = TemporalFusion(num_feat, attention, eq9)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Features of `extractor` (n, t, c, ...) -> T (n, t - 4, c, h/4, w/4), without the outer four."""
        f = [list(pyramid) for pyramid in zip(*(level.unbind(1) for level in levels), strict=True)]
        own = range(CONTEXT, len(f) - CONTEXT)
        fs, fa, af, ba, bs = self._aligned(f) if self.aligns else _shifted(f)
        fused = [self.fuse(af[j][0], [y[j][0] for y in (fs, fa, af, ba, bs)]) for j in own]  # (9), (10)
        if self.temporal_skip:
            fused = [f[j][0] + t for j, t in zip(own, fused, strict=True)]
        return torch.stack(fused, dim=1)

    def _aligned(self, f: list[Pyramid]) -> list[dict[int, Pyramid]]:
        """Returns FS, FA, AF, BA, BS by frame.

        Each aligns the neighbour `step` before a frame: its aligned features, or its own if there are none.
        Independent alignments are computed in one call. The paper's ranges of eqs. 4 to 7 have one alignment
        more than eq. 10 uses; these four are skipped.
        """
        t = len(f)
        chains = {  # name: step, frames
            'fs': (2, range(2, t - 2)),  # (6)
            'fa': (1, range(1, t - 2)),  # (4)
            'af': (0, range(2, t - 2)),  # (8)
            'ba': (-1, range(t - 2, 1, -1)),  # (5)
            'bs': (-2, range(t - 3, 1, -1)),  # (7)
        }
        aligned: dict[str, dict[int, Pyramid]] = {name: {} for name in chains}
        for wave in range(t - 3):
            batches = defaultdict(list)
            for name, (step, frames) in chains.items():
                stride = max(abs(step), 1)
                for j in frames[wave * stride:(wave + 1) * stride]:
                    neighbour = aligned[name].get(j - step, f[j - step])
                    batches[self.align_for[name]].append((name, j, neighbour))
            for module, jobs in batches.items():
                results = self._align_all(module, [f[j] for _, j, _ in jobs], [nbr for _, _, nbr in jobs])
                for (name, j, _), result in zip(jobs, results, strict=True):
                    aligned[name][j] = result
        return list(aligned.values())

    def _align_all(self, name: str, refs: list[Pyramid], nbrs: list[Pyramid]) -> list[Pyramid]:
        joined = [[torch.cat(level) for level in zip(*pyramids, strict=True)] for pyramids in (refs, nbrs)]
        levels = [level.unflatten(0, (len(refs), -1)).unbind() for level in self.aligns[name](*joined)]
        return [list(pyramid) for pyramid in zip(*levels, strict=True)]


def _shifted(f: list[Pyramid]) -> list[dict[int, Pyramid]]:
    """Features of the frames two and one before, at, one and two after each frame that has all of them."""
    own, steps = range(CONTEXT, len(f) - CONTEXT), range(-CONTEXT, CONTEXT + 1)
    return [{j: f[j + step] for j in own} for step in steps]
