"""GAVN, the general audio-assisted face video restoration network (arXiv 2508.04161, figure 2)."""

from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor, nn

from gavn.archs.gavn_identity import AudioMap, Gate, IdentityModule
from gavn.archs.gavn_reconstruction import Reconstruction
from gavn.archs.gavn_temporal import Attention, Eq9, Sharing, TemporalModule
from gavn.archs.initialisation import Init, variance_preserving_init
from gavn.archs.padding import pad_to_multiple, padded_region
from gavn.archs.span_arch import EnlargementRestorer
from gavn.ops.deform_align import use_backend
from gavn.ops.deform_conv import Backend
from gavn.registry import ARCH_REGISTRY
from gavn.runtime.windows import CONTEXT, Layout

MULTIPLE = 16  # of padded sides: level 3 of the pyramid has 1/16 of the frame's size
CHOICES = {
    'share_align': get_args(Sharing),
    'attention': get_args(Attention),
    'eq9': get_args(Eq9),
    'audio_map': get_args(AudioMap),
    'gate': get_args(Gate),
    'init': get_args(Init),
}


@ARCH_REGISTRY.register()
class GAVN(nn.Module):
    """Restores 2N+1 frames from 2N+5 frames and the audio and landmarks of these 2N+1.

    Sizes follow from eqs. 17 and 18: T and I^2 have a quarter of the frame's size, I^1 has half of it. No
    other assignment fits both. Choices that the paper leaves open are named at the parts.

    Without `inject`, alignments carry no content of the frames between the ends (see
    `gavn.archs.gavn_temporal.Align`). Such a network trains at any N, but only windows of N <= 1 are useful.
    So `layout` refuses larger ones, and `forward` accepts only the number of frames it was built for.

    Args:
        num_feat: channels, a multiple of `deformable_groups`.
        radius: the paper's N, 0 or more.
        num_extract_block: residual blocks that follow the pre-deblur module.
        num_reconstruct_block: residual blocks at a quarter and at half of the frame's size.
        deformable_groups: groups of channels with separate offsets.
        inject: add the reference's content after every alignment (not in the paper).
        temporal_skip: T_j = F_j + eq. 10 (not in the paper).
        share_align: `all`, `type` or `none`: which of eqs. 4 to 8 share one Align.
        attention: `dot` or `elementwise`: the product of eq. 9.
        eq9: `similarity` (weights Y) or `literal` (weights AF, as printed).
        audio_map: `decode` or `tile`: how audio features become a map.
        gate: `channel` or `pixel`: granularity of the attention of eqs. 14 and 15.
        use_alignment: align neighbours by eqs. 4 to 8. Without it the features of the five frames are fused
            as they are (not in the paper); that takes half of the time. `inject`, `share_align` and
            `dcn_backend` then have no effect.
        use_identity: build the identity module. Without it this is the network of training stage 1.
        use_audio: use audio features in eq. 16.
        use_landmark: use landmark features in eq. 16.
        use_span: restore frames that are enlargements by 4 with SPAN first (not in the paper, see
            `gavn.archs.span_arch`). Its weights are published ones, see scripts/prepare/span.py.
        init: `scaled` preserves the variance of signals and gradients through the network. `ordinary` is
            PyTorch's default, with which the temporal module does not learn (docs/initialisation.md).
        dcn_backend: see `gavn.ops.modulated_deform_conv2d`.

    Raises:
        ValueError: an option has a value that is not among its choices.
    """

    thread_safe = True  # several threads may call it at the same time

    def __init__(
        self,
        num_feat: int = 64,
        radius: int = 1,
        num_extract_block: int = 5,
        num_reconstruct_block: tuple[int, int] = (10, 5),
        deformable_groups: int = 8,
        inject: bool = False,
        temporal_skip: bool = False,
        share_align: Sharing = 'all',
        attention: Attention = 'dot',
        eq9: Eq9 = 'similarity',
        audio_map: AudioMap = 'decode',
        gate: Gate = 'channel',
        use_alignment: bool = True,
        use_identity: bool = True,
        use_audio: bool = True,
        use_landmark: bool = True,
        use_span: bool = False,
        init: Init = 'scaled',
        dcn_backend: Backend | None = None,
    ) -> None:
        super().__init__()
        _check_choices(share_align=share_align, attention=attention, eq9=eq9, audio_map=audio_map,
                       gate=gate, init=init)
        if radius < 0 or num_feat % deformable_groups:
            raise ValueError('need radius >= 0 and num_feat divisible by deformable_groups, got radius '
                             f'{radius}, num_feat {num_feat}, deformable_groups {deformable_groups}')
        self.radius = radius
        self.any_length = inject or not use_alignment
        self.temporal = TemporalModule(
            num_feat, num_extract_block, deformable_groups, inject=inject, temporal_skip=temporal_skip,
            share_align=share_align, attention=attention, eq9=eq9, use_alignment=use_alignment)
        use_backend(self.temporal, dcn_backend)
        self.identity = IdentityModule(
            num_feat, use_audio, use_landmark, audio_map, gate) if use_identity else None
        self.reconstruction = Reconstruction(num_feat, num_reconstruct_block, use_identity)
        if init == 'scaled':
            variance_preserving_init(self)
        self.span = EnlargementRestorer() if use_span else None

    @property
    def layout(self) -> Layout:
        """Window layout: 2N+1 outputs, and two more input frames on either side.

        Raises:
            ValueError: N > 1 with alignment but without `inject`.
        """
        if self.radius > 1 and not self.any_length:
            raise ValueError(
                f'radius {self.radius} without inject: in a window of this length, frames between the ends '
                'reach no output but their own; restore with radius <= 1, or train with inject: true or '
                'use_alignment: false'
            )
        return Layout(2 * self.radius + 1, CONTEXT, 'sequence')

    def forward(
        self,
        lq: Tensor,
        audio: Tensor | None = None,
        landmarks: Tensor | None = None,
        region: Tensor | None = None,
        temporal_only: bool = False,
        features: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Restores all frames but two at either end.

        Args:
            lq: (n, t, 3, h, w), RGB in [0, 1], t = 2N+5; with `inject` or without alignment any t >= 5. Any
                size: sides are padded to multiples of 16 and the result is cropped.
            audio: (n, t-4, 1, 13, 20), raw MFCC windows of the restored frames.
            landmarks: (n, t-4, 68, 2), x and y in [0, 1] of the full face frame. No gradient flows to them.
            region: (n, 4), x0 y0 x1 y1 in [0, 1]: part of the full frame that `lq` shows. None: all of it.
            temporal_only: skip the identity module and the layers that use it (training stage 1).
            features: results of the method `features`, (n, t, ...) each. None: compute them.

        Returns:
            (n, t-4, 3, h, w), RGB, not clamped.

        Raises:
            ValueError: an input is missing or its shape does not fit.
        """
        module = None if temporal_only else self.identity
        self._check_inputs(lq, audio, landmarks, module)
        height, width = lq.shape[-2:]
        if features is None:
            padded = self._padded(lq)
            features = [level.unflatten(0, lq.shape[:2])
                        for level in self.temporal.extractor(padded.flatten(0, 1))]
            frames = padded[:, CONTEXT:-CONTEXT]
        else:
            frames = self._padded(lq[:, CONTEXT:-CONTEXT])
        region = padded_region(region, lq, frames)

        temporal = self.temporal(features)  # (1)
        identity = None if module is None else _identity(module, frames, audio, landmarks, region)  # (2)
        residual = self.reconstruction(temporal.flatten(0, 1), identity)
        restored = residual.unflatten(0, temporal.shape[:2]) + frames  # (3)
        return restored[..., :height, :width]

    def features(self, frames: Tensor) -> list[Tensor]:
        """Returns a feature pyramid of (k, c, ...) of single frames (k, 3, h, w), for `forward`.

        Windows overlap, so `gavn.runtime.windows.run` computes the features of each frame once.
        """
        return self.temporal.extractor(self._padded(frames))

    def _padded(self, frames: Tensor) -> Tensor:
        """Frames (..., 3, h, w) as the modules see them."""
        padded = pad_to_multiple(frames, MULTIPLE)
        return padded if self.span is None else self.span(padded.flatten(0, -4)).view_as(padded)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles `forward` and the extractor of `features`, see `torch.nn.Module.compile`."""
        super().compile(*args, **kwargs)
        self.temporal.extractor.compile(*args, **kwargs)

    def _check_inputs(
        self, lq: Tensor, audio: Tensor | None, landmarks: Tensor | None, identity: IdentityModule | None
    ) -> None:
        n, t = lq.shape[:2]
        expected_t = 2 * self.radius + 1 + 2 * CONTEXT
        if t < 1 + 2 * CONTEXT or (t != expected_t and not self.any_length):
            least = 1 + 2 * CONTEXT
            allowed = f'{least} or more' if self.any_length else (
                f'{expected_t} (other lengths need inject: true or use_alignment: false)')
            raise ValueError(f'got {t} frames, radius {self.radius} takes {allowed}')
        if identity is None:
            return
        for name, tensor, module in (
            ('audio', audio, identity.audio),
            ('landmarks', landmarks, identity.landmark),
        ):
            if module is None:
                continue
            if tensor is None:
                raise ValueError(f'{name} is missing; a network without it has use_{name.rstrip("s")}: false')
            if tensor.shape[:2] != (n, t - 2 * CONTEXT):
                expected = f'({n}, {t - 2 * CONTEXT}, ...)'
                raise ValueError(f'{name} has the shape {tuple(tensor.shape)}, expected {expected}')


def _check_choices(**given: str) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise ValueError(f'{name}: {value!r} is not one of {", ".join(CHOICES[name])}')


def _identity(module: IdentityModule, frames: Tensor, audio: Tensor | None, landmarks: Tensor | None,
              region: Tensor) -> tuple[Tensor, Tensor]:
    """Identity features of frames (n, t, 3, h, w), as if they were n t frames. No gradient to landmarks."""
    audio = None if audio is None else audio.flatten(0, 1)
    landmarks = None if landmarks is None else landmarks.detach().flatten(0, 1)
    return module(frames.flatten(0, 1), audio, landmarks, region.repeat_interleave(frames.shape[1], dim=0))
