"""Runs a restoration network over clips; the base of validation, `Restorer` and the benchmark."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from gavn.archs.inputs import FeatureNetwork, network_inputs
from gavn.runtime import windows
from gavn.runtime.batching import Batch, chunked_forward, default_batch, tensor_of
from gavn.runtime.compilation import is_compiled
from gavn.runtime.parallel_calls import parallel_call_count

_Item = TypeVar('_Item')


class NetworkRunner:
    """A restoration network that runs over clips of any length, several windows per call.

    Subclasses change what one call does (`_call`), or what happens around calls (`_chunked`).

    Args:
        network: in eval mode, on `device`.
        layout: how its windows lie over a clip.
        inputs: names of its inputs, `network_inputs` of the option file.
        device: of the network and of all samples.
        detector: frozen landmark detector; None if the network takes no landmarks.
        batch: windows per call, halved when memory runs out. None: default of the device.

    Attributes:
        network: as given.
        layout: as given.
        inputs: as given.
        device: as given.
        detector: as given.
        batch: windows per call.
        calls: calls that run in parallel on a CPU, see `gavn.runtime.parallel_calls`.
    """

    def __init__(self, network: nn.Module, layout: windows.Layout, inputs: Sequence[str],
                 device: torch.device, detector: nn.Module | None = None, batch: int | None = None) -> None:
        self.network, self.layout, self.inputs, self.device = network, layout, inputs, device
        self.detector = detector
        self.batch = batch or default_batch(device)
        self.calls = parallel_call_count(filter(None, (network, detector)), device)

    @property
    def chunk_size(self) -> int:
        """Frames restored by one round of calls."""
        return self.batch * self.calls * self.layout.outputs

    def run_windows(self, clip: Iterable[tuple[_Item, windows.Sample]],
                    forward: Callable[[Batch], Tensor] | None = None) -> Iterator[tuple[_Item, Tensor]]:
        """Restores a clip, whose samples are on the device (see `windows.run`). Memory does not grow.

        Args:
            clip: per frame any object, and the sample.
            forward: restores the windows of one round; None: `_call` in chunks.

        Yields:
            The object and the restored frame (3, h, w), in order.
        """
        pending: deque[_Item] = deque()

        def samples() -> Iterator[windows.Sample]:
            for item, sample in clip:
                pending.append(item)
                yield sample

        features = self.features if isinstance(self.network, FeatureNetwork) else None
        forward = forward or (lambda batch: self._chunked(self._call, batch)[0])
        for restored in windows.run(forward, samples(), self.layout, self.batch * self.calls, features):
            yield pending.popleft(), restored

    @torch.no_grad()
    def features(self, frames: Tensor) -> list[Tensor]:
        """The network's features of single frames (k, 3, h, w), always in float32."""
        network = self.network
        assert isinstance(network, FeatureNetwork), 'only such a network is asked for features'
        with torch.autocast(self.device.type, enabled=False):
            return self._chunked(lambda part: network.features(tensor_of(part, 'lq')), {'lq': frames},
                                 self.layout.outputs)

    def _call(self, batch: Batch) -> list[Tensor]:
        """One call of the network for a batch of windows; the first result has the restored frames."""
        return [self.network(batch['lq'], **network_inputs(batch, self.inputs, self.detector))]

    def _chunked(self, call: Callable[[Batch], Sequence[Tensor]], batch: Batch, share: int = 1
                 ) -> list[Tensor]:
        results, size = chunked_forward(call, batch, self.batch, share, is_compiled(self.network), self.calls)
        if size < self.batch:
            self._reduce_batch(size)
        return results

    def _reduce_batch(self, size: int) -> None:
        """Called when the memory is too small for `batch` windows."""
        self.batch = size
