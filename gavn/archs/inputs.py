"""What a restoring network receives: chosen by name from a batch, with landmarks from the frozen detector.

One helper serves training, validation and restoration, so that a network sees the same in all three.
"""
from collections.abc import Mapping, Sequence
from typing import Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from gavn.config.sections import NetworkInput
from gavn.runtime.batching import tensor_of
from gavn.runtime.windows import Layout

NAMES = get_args(NetworkInput)


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network whose windows share features of single frames."""

    def features(self, frames: Tensor) -> list[Tensor]:
        """Returns features (k, ...) of frames (k, 3, h, w), which `forward` takes as `features`."""


def detect_landmarks(detector: nn.Module, face: Tensor, audio: Tensor) -> Tensor:
    """Landmarks of the degraded faces, without gradient and in float32.

    Args:
        detector: frozen, in eval mode: (b, 3, 112, 112) and (b, 1, 13, 20) to (b, p, 2).
        face: (..., 3, 112, 112), the full degraded frames.
        audio: (..., 1, 13, 20), their raw MFCC windows.

    Returns (..., p, 2), x and y in [0, 1] of the full frame.
    """
    lead = face.shape[:-3]
    with torch.no_grad(), torch.autocast(face.device.type, enabled=False):
        points = detector(face.reshape(-1, *face.shape[-3:]), audio.reshape(-1, *audio.shape[-3:]))
    # a copy: the next graph of a compiled network may write over what this one returned
    return points.reshape(*lead, *points.shape[-2:]).clone()


def network_inputs(batch: Mapping[str, Tensor | list[Tensor]], names: Sequence[str],
                   detector: nn.Module | None = None) -> dict[str, Tensor | list[Tensor]]:
    """Keyword arguments (all but `lq`) for a network whose option file says `network_inputs: names`.

    `landmarks` are the detector's on `face` and `audio`, never the teacher's that a training batch may hold.
    `region` is left out where the batch has none: whole frames. `features` are what the network found in its
    frames before, where the batch has that. Raises ValueError for a name that is not
    known, for landmarks without a detector and for a batch that lacks audio.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f'network_inputs: {sorted(unknown)} not among {", ".join(NAMES)}')
    inputs = {name: batch[name] for name in ('audio', 'region') if name in names and name in batch}
    inputs |= {'features': batch['features']} if 'features' in batch else {}
    if 'audio' in names and 'audio' not in inputs:
        raise ValueError(f'the network takes audio, the batch holds only {", ".join(batch)}')
    if 'landmarks' in names:
        if detector is None:
            raise ValueError('network_inputs names landmarks: the options need network_l, their detector')
        inputs['landmarks'] = detect_landmarks(detector, tensor_of(batch, 'face'), tensor_of(batch, 'audio'))
    return inputs


def layout_of(network: nn.Module, window: str | None = None) -> Layout:
    """How a network lies over a clip: its own `layout`, or what the option `window` says of one without.

    `window` is `frame` for a network of single pictures and `centre` for one that restores the middle frame
    and has BasicSR's `center_frame_idx` (EDVR). Raises ValueError where neither tells.
    """
    if isinstance(layout := getattr(network, 'layout', None), Layout):
        return layout
    if window == 'frame':
        return Layout(1, 0, 'frame')
    if window == 'centre' and isinstance(centre := getattr(network, 'center_frame_idx', None), int):
        return Layout(1, centre, 'centre')
    raise ValueError(f'{type(network).__name__} has no `layout`, and `window: {window}` does not say how it '
                     'lies over a clip (`frame`, or `centre` for a network with center_frame_idx)')
