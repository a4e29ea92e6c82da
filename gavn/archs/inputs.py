"""Inputs of a restoration network: selected by name from a batch, with landmarks from the frozen detector.

Training, validation and restoration use the same functions, so a network has the same inputs in all three.
"""
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from gavn.audio.mfcc import N_MFCC, WINDOW_COLUMNS
from gavn.config.sections import NetworkInput
from gavn.faces.geometry import CROP_SIZE, DETECTOR_SIZE
from gavn.faces.landmarks import N_POINTS
from gavn.runtime.batching import tensor_of
from gavn.runtime.windows import Layout

NAMES = get_args(NetworkInput)


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network whose windows share features of single frames."""

    def features(self, frames: Tensor) -> list[Tensor]:
        """Returns features (k, ...) of frames (k, 3, h, w), which `forward` takes as `features`."""


def detect_landmarks(detector: nn.Module, face: Tensor, audio: Tensor) -> Tensor:
    """Detects landmarks of degraded faces, without gradients and in float32.

    Args:
        detector: frozen, in eval mode; maps (b, 3, 112, 112) and (b, 1, 13, 20) to (b, p, 2).
        face: (..., 3, 112, 112), the full degraded frames.
        audio: (..., 1, 13, 20), their raw MFCC windows.

    Returns:
        (..., p, 2), x and y in [0, 1] of the full frame.
    """
    leading = face.shape[:-3]
    with torch.no_grad(), torch.autocast(face.device.type, enabled=False):
        points = detector(face.reshape(-1, *face.shape[-3:]), audio.reshape(-1, *audio.shape[-3:]))
    # a copy, because the next call of a compiled network may overwrite this result
    return points.reshape(*leading, *points.shape[-2:]).clone()


def network_inputs(batch: Mapping[str, Tensor | list[Tensor]], names: Sequence[str],
                   detector: nn.Module | None = None) -> dict[str, Tensor | list[Tensor]]:
    """Returns keyword arguments of a network, all but `lq`.

    `landmarks` are the detector's, from `face` and `audio`, never the annotator's in a training batch.
    `region` is omitted if the batch has none, which means whole frames. Results of the network's own method
    `features` are passed on if the batch has them.

    Args:
        batch: tensors by name.
        names: option `network_inputs` of the network.
        detector: of landmarks.

    Raises:
        ValueError: a name is unknown, landmarks have no detector, or the batch has no audio.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f'network_inputs: {sorted(unknown)} not among {", ".join(NAMES)}')
    inputs = {name: batch[name] for name in ('audio', 'region') if name in names and name in batch}
    inputs |= {'features': batch['features']} if 'features' in batch else {}
    if 'audio' in names and 'audio' not in inputs:
        raise ValueError(f'the network needs audio, but the batch has only {", ".join(batch)}')
    if 'landmarks' in names:
        if detector is None:
            raise ValueError('network_inputs names landmarks: the options need network_l, their detector')
        inputs['landmarks'] = detect_landmarks(detector, tensor_of(batch, 'face'), tensor_of(batch, 'audio'))
    return inputs


def random_inputs(names: Iterable[str], layout: Layout, count: int = 1, size: int = CROP_SIZE, seed: int = 0
                  ) -> dict[str, Tensor]:
    """Returns random inputs in [0, 1), to measure or to trace a network.

    Args:
        names: of `lq`, `audio`, `landmarks`, and `face`, the input of the landmark detector. `region` has no
            value: the frames are whole.
        layout: of the network.
        count: number of windows.
        size: height and width of the frames.

    Returns:
        name -> (count, t, ...), where t is the number of input frames for `lq` and of outputs for others. A
        network of single frames has no time axis.
    """
    draw = torch.Generator().manual_seed(seed)
    shapes = {'lq': (3, size, size), 'face': (3, DETECTOR_SIZE, DETECTOR_SIZE), 'landmarks': (N_POINTS, 2),
              'audio': (1, N_MFCC, WINDOW_COLUMNS)}
    batch = {name: torch.rand(count, layout.inputs if name == 'lq' else layout.outputs, *shapes[name],
                              generator=draw) for name in dict.fromkeys(names) if name in shapes}
    return {name: value.squeeze(1) for name, value in batch.items()} if layout.mode == 'frame' else batch


def layout_of(network: nn.Module, window: str | None = None) -> Layout:
    """Returns the window layout of a network: its own `layout`, else the one that `window` names.

    Args:
        network: the network.
        window: `frame` for a network of single images, `centre` for one that restores the middle frame and
            has BasicSR's `center_frame_idx` (EDVR).

    Raises:
        ValueError: the network has no layout and `window` does not determine it.
    """
    if isinstance(layout := getattr(network, 'layout', None), Layout):
        return layout
    if window == 'frame':
        return Layout(1, 0, 'frame')
    if window == 'centre' and isinstance(centre := getattr(network, 'center_frame_idx', None), int):
        return Layout(1, centre, 'centre')
    raise ValueError(f'{type(network).__name__} has no `layout`, and `window: {window}` does not determine '
                     'it; use `frame`, or `centre` for a network with center_frame_idx')
