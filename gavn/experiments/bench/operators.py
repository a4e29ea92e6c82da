"""Limits of the machine, and the time of deformable convolution."""
from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import get_args

import torch
from torch import Tensor

from gavn.experiments.bench.networks import BenchCase, computing
from gavn.experiments.bench.rows import BenchRow, no_figure
from gavn.experiments.bench.timing import Timing, measure
from gavn.ops import modulated_deform_conv2d
from gavn.ops.deform_conv import Backend

CHANNELS, SIDE, GROUPS = 64, 56, 8  # of a deformable layer of GAVN-64 at 224x224
_COPIED = {'cpu': 64, 'cuda': 2048}  # MiB, much more than a cache
_PLANES = ('torchvision', 'mmcv', 'basicsr')  # backends
_SQUARE = {'cpu': 1024, 'cuda': 8192}  # side of the matrices


def device_limits(device: torch.device, precisions: tuple[str, ...], seconds: float) -> Iterator[BenchRow]:
    """Copy bandwidth (bytes read and written), and operations of matrix products, by precision."""
    source = torch.zeros(_COPIED[device.type] << 18, device=device)
    target = torch.empty_like(source)
    timing = measure(lambda: target.copy_(source), device, seconds)
    yield _row('ceiling', 'copy', device, 'fp32', '', timing,
               2 * source.numel() * source.element_size() / timing.ms / 1e6)
    side = _SQUARE[device.type]
    for precision in precisions:
        dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        with computing(device, BenchCase('gavn', 'fp32' if precision == 'bf16' else precision, '')):
            timing = measure(partial(torch.matmul, matrix, matrix), device, seconds)
        yield _row('ceiling', 'matrix product', device, precision, '', timing, 2 * side**3 / timing.ms / 1e6)


def deformable(device: torch.device, batches: tuple[int, ...], seconds: float, side: int = SIDE
               ) -> Iterator[BenchRow]:
    """Times every available backend, forward and backward, in float32.

    torchvision, mmcv and basicsr get contiguous tensors, which they compute in; gavn's get channels-last.
    """
    for batch in batches:
        for backend in get_args(Backend):
            try:
                yield from _both_ways(backend, device, batch, side, seconds)
            except (ImportError, NotImplementedError, ValueError, RuntimeError) as error:
                print(no_figure(f'deformable convolution by {backend}', error), flush=True)


def _both_ways(backend: str, device: torch.device, batch: int, side: int, seconds: float
               ) -> Iterator[BenchRow]:
    shapes = {'x': (batch, CHANNELS, side, side), 'offset': (batch, 18 * GROUPS, side, side),
              'mask': (batch, 9 * GROUPS, side, side), 'weight': (CHANNELS, CHANNELS, 3, 3)}
    order = torch.contiguous_format if backend in _PLANES else torch.channels_last
    tensors = {name: torch.randn(shape, device=device).to(memory_format=order).requires_grad_()
               for name, shape in shapes.items()}

    def forward() -> Tensor:
        x, offset, mask, weight = tensors.values()
        return modulated_deform_conv2d(
            x, offset, mask, weight, padding=1, deform_groups=GROUPS, backend=backend)

    def there_and_back() -> None:
        torch.autograd.grad(forward().sum(), list(tensors.values()))

    for what, call in (('forward', torch.no_grad()(forward)), ('forward + backward', there_and_back)):
        timing = measure(call, device, seconds)
        yield _row('deformable', f'{backend}, batch {batch}', device, 'fp32', what, timing,
                   1000 * batch / timing.ms)


def _row(kind: str, name: str, device: torch.device, precision: str, what: str, timing: Timing,
         per_second: float) -> BenchRow:
    return BenchRow(kind, name, device.type, '', precision, what, timing.ms, timing.spread, timing.calls,
                    per_second)
