"""Restores and evaluates whole clips frame by frame in bounded memory."""
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gavn.archs.inputs import FeatureNetwork, network_inputs
from gavn.audio.rates import FRAME_RATE, SAMPLE_RATE
from gavn.errors import RunError
from gavn.media import VideoWriter
from gavn.metrics.evaluate import ClipScores, EvaluatedFrame, evaluate_clip
from gavn.metrics.measures import MetricFactory
from gavn.models.cost import Stopwatch
from gavn.runtime import windows
from gavn.runtime.batching import Batch, chunked_forward, default_batch, tensor_of
from gavn.runtime.compilation import is_compiled
from gavn.runtime.images import write_image
from gavn.runtime.parallel_calls import parallel_call_count
from gavn.runtime.prefetch import PrefetchIterator
from gavn.runtime.tensors import to_images

Sample = dict[str, Tensor]


class NonFiniteOutputError(RunError, FloatingPointError):
    """A network returned values that are not finite."""


class ClipRunner:
    """Restores clips with a network in float32.

    Args:
        network: in eval mode.
        inputs: names of the network's inputs, `network_inputs` of the option file.
        detector: frozen landmark detector; None if the network takes no landmarks.
        switches: further keyword arguments of `forward`.
        batch: windows per call, halved when memory runs out. None: default of the device. On a CPU several
            calls may run in parallel, see `gavn.runtime.parallel_calls`.
    """

    def __init__(self, network: nn.Module, layout: windows.Layout, inputs: Sequence[str],
                 device: torch.device, detector: nn.Module | None = None,
                 switches: Mapping[str, Any] | None = None, batch: int | None = None) -> None:
        self.network, self.layout, self.inputs, self.device = network, layout, inputs, device
        self.detector, self.switches = detector, switches or {}
        self.batch = batch or default_batch(device)
        self.calls = parallel_call_count(filter(None, (network, detector)), device)
        self.watch = Stopwatch(device, sets_up=self.calls == 1)  # without reading and evaluation

    def run(self, frames: Iterable[Sample]) -> Iterator[EvaluatedFrame]:
        """Yields every frame of a clip with its restoration, in order.

        Memory holds one batch of windows.

        Raises:
            NonFiniteOutputError: the network returned a value that is not finite.
        """
        keys = ('lq', 'audio') if self.detector is None else ('lq', 'audio', 'face')
        pending: deque[Sample] = deque()
        landmarks: deque[Tensor] = deque()

        def read_inputs() -> Iterator[Sample]:
            for sample in frames:
                pending.append(sample)
                yield {key: sample[key].to(self.device) for key in keys}

        def forward(batch: Batch) -> Tensor:
            restored, *found = self._forward(batch)
            for points in found:  # one set per output frame, in the order of the frames
                landmarks.extend(points.flatten(0, -3).cpu())
            return restored

        features = self._features if isinstance(self.network, FeatureNetwork) else None
        for restored in windows.run(forward, read_inputs(), self.layout, self.batch * self.calls, features):
            yield _evaluated_frame(pending.popleft(), restored, landmarks.popleft() if landmarks else None)

    @property
    def chunk_size(self) -> int:
        """Frames restored by one round of calls."""
        return self.batch * self.calls * self.layout.outputs

    def _features(self, frames: Tensor) -> list[Tensor]:
        """The network's features of single frames (k, 3, h, w), on its device."""
        network = self.network
        assert isinstance(network, FeatureNetwork), 'only such a network is asked for features'
        return self.watch.time(lambda: self._chunked(
            lambda part: network.features(tensor_of(part, 'lq')), {'lq': frames}, self.layout.outputs))

    def _forward(self, batch: Batch) -> list[Tensor]:
        """Restored frames, and landmarks if there is a detector."""
        restored, *landmarks = self.watch.time(
            lambda: self._chunked(self._call, batch), len(batch['lq']) * self.layout.outputs)
        if not torch.isfinite(restored).all():
            raise NonFiniteOutputError(f'{type(self.network).__name__} returned values that are not finite: '
                                       'its weights are damaged; use an earlier checkpoint')
        return [restored, *landmarks]

    def _call(self, batch: Batch) -> list[Tensor]:
        inputs = network_inputs(batch, self.inputs, self.detector)
        restored = self.network(batch['lq'], **inputs, **self.switches)
        return [restored, *([tensor_of(inputs, 'landmarks')] if 'landmarks' in inputs else [])]

    @torch.no_grad()
    def _chunked(self, call: Callable[[Batch], list[Tensor]], batch: Batch, share: int = 1
                     ) -> list[Tensor]:
        results, self.batch = chunked_forward(call, batch, self.batch, share, is_compiled(self.network),
                                              self.calls)
        return results


def _evaluated_frame(sample: Sample, restored: Tensor, landmarks: Tensor | None) -> EvaluatedFrame:
    return EvaluatedFrame(restored=to_images(restored), degraded=to_images(sample['lq']),
                          clean=to_images(sample['gt']) if 'gt' in sample else None,
                          landmarks=landmarks, true_landmarks=sample.get('landmarks'))


@dataclass(frozen=True)
class ValidationOutput:
    """Writes restored frames as `<folder>/<clip>/<%08d>.png` and as `<folder>/<clip>.mp4` with audio."""

    folder: Path  # of the files
    images: bool = False  # whether to write images
    video: bool = False  # whether to write videos
    # called with the name and the first frame of every clip
    show: Callable[[str, EvaluatedFrame], None] = lambda key, frame: None

    def write(self, frames: Iterable[EvaluatedFrame], key: str, audio: np.ndarray | None
             ) -> Iterator[EvaluatedFrame]:
        """Yields the frames of a clip unchanged and writes them. `audio` is int16 at 16 kHz."""
        with ExitStack() as stack:
            writer = None
            for index, frame in enumerate(frames):
                if index == 0:
                    self.show(key, frame)
                if self.images:
                    write_image(self.folder / key / f'{index:08d}.png', frame.restored)
                if self.video:
                    writer = writer or stack.enter_context(self._writer(key, frame.restored, audio))
                    writer.write(frame.restored)
                yield frame

    def _writer(self, key: str, image: np.ndarray, audio: np.ndarray | None) -> VideoWriter:
        path = self.folder / f'{key}.mp4'
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = image.shape[:2]
        return VideoWriter(path, width, height, FRAME_RATE, audio=audio, sample_rate=SAMPLE_RATE)


def validate_clip(runner: ClipRunner, clip: Any, metric_factories: Sequence[MetricFactory],
                  output: ValidationOutput, tick: Callable[[], None], subjects: Collection[str]
                  ) -> ClipScores:
    """Restores, writes and evaluates one clip of an AVVideoDataset.

    Args:
        subjects: which of restored, degraded and clean frames to evaluate (see `evaluate_clip`).
    """
    def counted(frames: Iterable[EvaluatedFrame]) -> Iterator[EvaluatedFrame]:
        for frame in frames:
            yield frame
            tick()

    with closing(PrefetchIterator(clip.frames(), runner.chunk_size)) as read:
        frames = output.write(runner.run(read), clip.key, clip.read_audio() if output.video else None)
        return evaluate_clip(counted(frames), metric_factories, clip.read_audio, subjects)
