"""What a network costs to run: multiplications, parameters, time."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gavn.audio.mfcc import CEPSTRA, WINDOW_COLUMNS
from gavn.faces.geometry import CROP_SIZE, DETECTOR_SIZE
from gavn.faces.landmarks import N_POINTS
from gavn.ops.deform_conv import BACKEND_VARIABLE
from gavn.runtime.windows import Layout

_Result = TypeVar('_Result')


class Stopwatch:
    """Frames a second of what restores them, waiting for its device at either end of every call.

    The calls up to the first that restores frames also set the device up; they count only while there are no
    others. Without `sets_up` they always do: calls side by side restore a clip's last frames with fewer
    threads, which alone would be no measure.
    """

    def __init__(self, device: torch.device, sets_up: bool = True) -> None:
        self.device, self.sets_up = device, sets_up
        self.rounds = self.frames = 0
        self.seconds = self._before = 0.0

    def time(self, call: Callable[[], _Result], frames: int = 0) -> _Result:
        """What a call returns that restores so many frames; with 0 it prepares the next ones."""
        self._wait()
        start = time.perf_counter()
        result = call()
        self._wait()
        self._before += time.perf_counter() - start
        if frames:
            if self.rounds == 1 and self.sets_up:
                self.frames, self.seconds = 0, 0.0
            self.rounds += 1
            self.frames += frames
            self.seconds += self._before
            self._before = 0.0
        return result

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def parameters(*networks: nn.Module | None) -> int:
    """How many numbers networks learn that work together; what two of them share counts once."""
    return sum(parameter.numel() for parameter in nn.ModuleList(filter(None, networks)).parameters())


def gmacs(network: nn.Module, inputs: Sequence[str], layout: Layout, device: torch.device,
          detector: nn.Module | None = None) -> float:
    """Multiplications, each with an addition, in 10^9 per output frame of 224 x 224.

    Counted while the network restores one window of noise: what PyTorch's counter of floating point
    operations finds (convolutions, matrix products, attention), halved. See `giga_macs` for deformable
    convolutions. Context that a window sees and does not yield counts as a cost of what it yields.

    Args:
        network: in eval mode, on `device`.
        inputs: names of what it receives (`network_inputs`); whole frames have no region.
        layout: how its windows lie over a clip.
        device: of the networks.
        detector: tells the network the landmarks of every output frame, and counts with it.
    """
    found = 0.0 if detector is None else detector_gmacs(detector, device)
    batch = {name: value.to(device) for name, value in _window(layout).items() if name in ('lq', *inputs)}
    lq = batch.pop('lq')
    with torch.no_grad():
        return found + giga_macs(lambda: network(lq, **batch)) / layout.outputs


def detector_gmacs(detector: nn.Module, device: torch.device) -> float:
    """Multiplications, each with an addition, in 10^9, of a landmark detector for the face of one frame."""
    draw = torch.Generator().manual_seed(0)
    face = torch.rand(1, 3, DETECTOR_SIZE, DETECTOR_SIZE, generator=draw).to(device)
    audio = torch.rand(1, 1, CEPSTRA, WINDOW_COLUMNS, generator=draw).to(device)
    with torch.no_grad():
        return giga_macs(lambda: detector(face, audio))


def _window(layout: Layout) -> dict[str, Tensor]:
    draw, m = torch.Generator().manual_seed(0), layout.outputs
    batch = {'lq': torch.rand(1, layout.inputs, 3, CROP_SIZE, CROP_SIZE, generator=draw),
             'audio': torch.rand(1, m, 1, CEPSTRA, WINDOW_COLUMNS, generator=draw),
             'landmarks': torch.rand(1, m, N_POINTS, 2, generator=draw)}
    return {name: value[:, 0] for name, value in batch.items()} if layout.mode == 'frame' else batch


def giga_macs(call: Callable[[], Any]) -> float:
    """Multiplications, each with an addition, of a call, in 10^9.

    Deformable convolutions count like ordinary ones of the same weights: for the products with their weights,
    not for finding the values between pixels. They are counted in torchvision's operator, whatever backend
    is set.
    """
    formulas = {torch.ops.torchvision.deform_conv2d: _deformable_flops}
    with _torchvision_backend(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        call()
    return counter.get_total_flops() / 2 / 1e9


def _deformable_flops(x: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
                      ) -> int:
    n, out, height, width = out_shape
    _, per_group, kernel_height, kernel_width = weight
    return 2 * n * out * height * width * per_group * kernel_height * kernel_width


@contextmanager
def _torchvision_backend() -> Iterator[None]:
    before = os.environ.get(BACKEND_VARIABLE)
    os.environ[BACKEND_VARIABLE] = torchvision.__name__
    try:
        yield
    finally:
        del os.environ[BACKEND_VARIABLE]
        if before is not None:
            os.environ[BACKEND_VARIABLE] = before
