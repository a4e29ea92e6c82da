"""Networks, the ways to run them, and the time per frame."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gavn.archs.gavn_arch import GAVN
from gavn.archs.inputs import layout_of, random_inputs
from gavn.archs.network_runner import NetworkRunner
from gavn.experiments.bench.rows import BASICVSRPP, EDVR_M, BenchRow
from gavn.experiments.bench.timing import measure, peak_mib
from gavn.models.cost import parameters
from gavn.ops.deform_conv import default_backend
from gavn.restoration.model_spec import DETECTOR, GENERATOR, ModelSpec
from gavn.runtime import windows
from gavn.runtime.batching import Batch
from gavn.runtime.compilation import compile_in_place, default_mode, is_compiled
from gavn.runtime.tensors import channels_last
from gavn.runtime.windows import Layout

ALL = ('lq', 'audio', 'landmarks')
PRETRAINED = 'GAVN-32 pretrained, with its detector'
ALIGNED = 'GAVN-32 pretrained (compression), with its detector'
GAVN_64 = 'GAVN-64'
COMPILED, TRITON = 'compiled', 'triton'  # forms, which may be combined
_DETECTOR = {'type': 'PFLDAV', 'width': 0.5}
_VRT: dict[str, Any] = {
    'type': 'VRT', 'upscale': 1, 'img_size': [6, 224, 224], 'window_size': [6, 8, 8],
    'depths': [8] * 7 + [4] * 4, 'indep_reconsts': [9, 10], 'embed_dims': [96] * 7 + [120] * 4,
    'num_heads': [6] * 11, 'deformable_groups': 16,
}


def _spec(*inputs: str, window: str | None = None, detector: dict | None = None, **network: object
            ) -> ModelSpec:
    networks = {GENERATOR: network, **({DETECTOR: detector} if detector else {})}
    return ModelSpec(networks, inputs or ('lq',), window)


SPECS = {
    EDVR_M: _spec(type='EDVR', hr_in=True, with_predeblur=True, window='centre'),
    BASICVSRPP: ModelSpec({GENERATOR: {'type': 'BasicVSRPlusPlus', 'mid_channels': 64, 'num_blocks': 7,
                                        'is_low_res_input': False, 'window': 15}}),
    PRETRAINED: _spec(*ALL, type='GAVN', num_feat=32, radius=1, use_alignment=False, detector=_DETECTOR),
    ALIGNED: _spec(*ALL, type='GAVN', num_feat=32, radius=1, inject=True, detector=_DETECTOR),
    GAVN_64: _spec(*ALL, type='GAVN'),
    'GAVN-64, stage 1': _spec(type='GAVN', use_identity=False),
    'GAVN-32': _spec(*ALL, type='GAVN', num_feat=32),
    'GAVN-16': _spec(*ALL, type='GAVN', num_feat=16),
    'EDVR-L': _spec(type='EDVR', num_feat=128, num_reconstruct_block=40, hr_in=True, with_predeblur=True,
                      window='centre'),
    'D-DBPN': _spec(type='DBPN', num_stages=7, scale_factor=4, same_size=True, window='frame'),
    'DAVD-Net (ours)': _spec('lq', 'audio', type='DAVDNet'),
    'VRT': _spec(**_VRT),
}
SLOW = ('EDVR-L', 'D-DBPN', 'VRT')  # measured on a CPU only if named
QUICK = (EDVR_M, BASICVSRPP, PRETRAINED, GAVN_64)


@dataclass(frozen=True)
class BenchCase:
    """How to run a network: see `rows.BenchRow`."""

    form: str
    precision: str
    schedule: str


class BenchNetwork(NetworkRunner):
    """A network in a form, which runs over clips as in `Restorer`; the stock form has no parallel calls."""

    def __init__(self, name: str, network: nn.Module, detector: nn.Module | None, inputs: Sequence[str],
                 layout: Layout, device: torch.device, size: int, form: str, batch: int = 1) -> None:
        super().__init__(network, layout, inputs, device, detector, batch)
        self.name, self.size, self.form = name, size, form
        self.calls = 1 if form == 'stock' else self.calls

    def restore(self, batch: Batch) -> Tensor:
        """Restores windows in one call, with landmarks if there is a detector."""
        return self._call(batch)[0]

    def restore_chunks(self, batch: Batch) -> Tensor:
        """Restores windows, `batch` in each of the `calls`."""
        return self._chunked(self._call, batch)[0]

    def _call(self, batch: Batch) -> list[Tensor]:
        if self.detector is not None:
            return super()._call(batch)
        given = {name: batch[name] for name in self.inputs if name in batch and name != 'lq'}
        return [self.network(batch['lq'], **given)]

    def _reduce_batch(self, size: int) -> None:
        raise RuntimeError(f'{self.batch} windows do not fit into the memory')  # no figure of a smaller batch

    def noise(self, layout: Layout, count: int) -> dict[str, Tensor]:
        """Noise for a number of windows, on the device."""
        names = self.inputs if self.detector is None else (*self.inputs, 'face')
        taken = [name for name in names if name != 'landmarks' or self.detector is None]
        batch = random_inputs(taken, layout, count, self.size)
        return {name: value.to(self.device) for name, value in batch.items()}

    def clip(self, frames: int) -> list[dict[str, Tensor]]:
        """Noise for a number of frames, on the device."""
        batch = self.noise(Layout(1, 0, 'frame'), frames)
        return [{name: value[index] for name, value in batch.items()} for index in range(frames)]


def prepare(name: str, spec: ModelSpec, device: torch.device, size: int, form: str, batch: int = 1
            ) -> BenchNetwork:
    """Builds a network with new weights in a form; `batch`: windows per call."""
    torch.manual_seed(0)
    networks = {key: network.to(device).eval().requires_grad_(False)
                for key, network in spec.build().items()}
    network = networks[GENERATOR]
    if form == 'stock':
        _align_one_by_one(network)
    for part in networks.values() if form != 'stock' else ():
        channels_last(part)
        if COMPILED in form:
            compile_in_place(part, default_mode(device))
    return BenchNetwork(name, network, networks.get(DETECTOR), spec.inputs, layout_of(network, spec.window),
                        device, size, form, batch)


def _align_one_by_one(network: nn.Module) -> None:
    """Computes alignments of GAVN one after the other, as equations and other code do."""
    if isinstance(network, GAVN):
        aligns = network.temporal.aligns
        vars(network.temporal)['_align_all'] = lambda name, refs, neighbours: list(
            map(aligns[name], refs, neighbours))


SCHEDULES = ('one window', 'windows batched', 'features once')


def run_clip(subject: BenchNetwork, clip: Iterable[windows.Sample], schedule: str) -> None:
    """Runs a network over a clip.

    `one window` is the plain sliding window. The others take several windows at a time; `features once` also
    computes the features of each frame once, in float32.
    """
    frames: Iterator[object]
    if schedule == 'one window':
        frames = windows.run(subject.restore, clip, subject.layout)
    elif schedule == 'windows batched':
        frames = windows.run(subject.restore_chunks, clip, subject.layout, subject.batch * subject.calls)
    else:
        frames = subject.run_windows(enumerate(clip))
    for _ in frames:
        pass


@contextmanager
def computing(device: torch.device, case: BenchCase) -> Iterator[None]:
    """Sets precision and operators of a case."""
    bf16 = case.precision == 'bf16'
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), operators(case):
        yield


@contextmanager
def operators(case: BenchCase) -> Iterator[None]:
    """As `computing`, but without autocast.

    Convolutions that bf16 leaves in float32 use tf32 if PyTorch allows it by default, as for users.
    """
    backend = 'torchvision' if case.form == 'stock' else TRITON if TRITON in case.form else None
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if case.precision != 'bf16':
        tf32 = case.precision == 'tf32'
        _allow_tf32(tf32, tf32)
    try:
        with default_backend(backend):
            yield
    finally:
        _allow_tf32(*allowed)


def _allow_tf32(products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions


def time_network(subject: BenchNetwork, case: BenchCase, frames: int, seconds: float, gmacs: float
                 ) -> BenchRow:
    """Measures a network over a clip of noise, with several windows at a time if the schedule says so.

    The clip has at least `frames` frames, fills all windows and all batches. Compile time is printed and does
    not count.
    """
    count, full = -(-frames // subject.layout.outputs), subject.batch * subject.calls  # windows
    full = subject.calls if count < full else full
    frames = -(-count // full) * full * subject.layout.outputs
    compiled = is_compiled(subject.network)
    once = partial(run_clip, subject, subject.clip(frames), case.schedule)
    with computing(subject.device, case), torch.inference_mode():
        if compiled:
            start = time.perf_counter()
            once()
            print(f'{subject.name}: compiled in {time.perf_counter() - start:.0f} s', flush=True)
        memory = peak_mib(once, subject.device)
        timing = measure(once, subject.device, seconds, warm=memory is not None and not compiled)
    return BenchRow('network', subject.name, subject.device.type, case.form, case.precision, case.schedule,
                    timing.ms / frames, timing.spread, timing.calls, 1000 * frames / timing.ms, memory,
                    parameters(subject.network, subject.detector), gmacs)
