"""Cost of running a network: multiply-accumulate operations (MACs), parameters, time."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gavn.archs.inputs import random_inputs
from gavn.faces.geometry import CROP_SIZE
from gavn.ops.deform_conv import default_backend
from gavn.runtime.windows import Layout

_Result = TypeVar('_Result')


class Stopwatch:
    """Measures frames per second. Synchronises the device before and after every call.

    Args:
        has_warmup: whether the first round of calls is a warm-up, which counts only if there is no second
            one. False for parallel calls, whose last round uses fewer threads.
    """

    def __init__(self, device: torch.device, has_warmup: bool = True) -> None:
        self.device, self.has_warmup = device, has_warmup
        self.rounds = self.frames = 0
        self.seconds = self._pending = 0.0

    def time(self, call: Callable[[], _Result], frames: int = 0) -> _Result:
        """Times a call and returns its result.

        Args:
            frames: number of restored frames; 0: the call prepares the next one.
        """
        self._synchronize()
        start = time.perf_counter()
        result = call()
        self._synchronize()
        self._pending += time.perf_counter() - start
        if frames:
            if self.rounds == 1 and self.has_warmup:
                self.frames, self.seconds = 0, 0.0
            self.rounds += 1
            self.frames += frames
            self.seconds += self._pending
            self._pending = 0.0
        return result

    def _synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def parameters(*networks: nn.Module | None) -> int:
    """Number of parameters of several networks. Shared parameters count once."""
    return sum(parameter.numel() for parameter in nn.ModuleList(filter(None, networks)).parameters())


def gmacs(network: nn.Module, inputs: Sequence[str], layout: Layout, device: torch.device,
          detector: nn.Module | None = None, size: int = CROP_SIZE) -> float:
    """Returns the GMACs (10^9 multiply-accumulate operations) per output frame.

    Half of the operations that PyTorch's FlopCounterMode counts for one window of noise (convolutions, matrix
    products, attention). See `giga_macs` for deformable convolutions. The cost of context frames is part of
    the cost of the output frames.

    Args:
        network: in eval mode, on `device`.
        inputs: names of its inputs (`network_inputs`).
        detector: landmark detector, whose cost for every output frame is added.
        size: height and width of the frames.
    """
    detector_cost = 0.0 if detector is None else detector_gmacs(detector, device)
    windows = random_inputs(('lq', *inputs), layout, size=size)
    batch = {name: value.to(device) for name, value in windows.items()}
    lq = batch.pop('lq')
    with torch.no_grad():
        return detector_cost + giga_macs(lambda: network(lq, **batch)) / layout.outputs


def detector_gmacs(detector: nn.Module, device: torch.device) -> float:
    """Returns the GMACs of a landmark detector for one face."""
    inputs = random_inputs(('face', 'audio'), Layout(1, 0, 'frame'))
    with torch.no_grad():
        return giga_macs(lambda: detector(*(value.to(device) for value in inputs.values())))


def giga_macs(call: Callable[[], Any]) -> float:
    """Returns the GMACs of a call.

    Deformable convolutions count like ordinary ones with the same weights; interpolation does not count.
    During the call they use torchvision's operator, whatever backend is set.
    """
    formulas = {torch.ops.torchvision.deform_conv2d: _deformable_flops}
    with default_backend('torchvision'), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        call()
    return counter.get_total_flops() / 2 / 1e9


def _deformable_flops(x: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
                      ) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])  # channels of a group, height and width
