"""Restores and evaluates whole clips frame by frame in bounded memory."""
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gavn.archs.inputs import network_inputs
from gavn.archs.network_runner import NetworkRunner
from gavn.audio.rates import FRAME_RATE, SAMPLE_RATE
from gavn.errors import RunError
from gavn.media import VideoWriter
from gavn.metrics.clip_metrics import MetricFactory
from gavn.metrics.evaluate import ClipScores, EvaluatedFrame, evaluate_clip
from gavn.models.cost import Stopwatch
from gavn.runtime.batching import Batch, tensor_of
from gavn.runtime.images import write_image
from gavn.runtime.prefetch import PrefetchIterator
from gavn.runtime.tensors import to_images
from gavn.runtime.windows import Layout, Sample


class NonFiniteOutputError(RunError, FloatingPointError):
    """A network returned values that are not finite."""


class ClipRunner(NetworkRunner):
    """Restores clips with a network in float32; yields what evaluation needs.

    Args:
        forward_options: further keyword arguments of `forward`.
    """

    def __init__(self, network: nn.Module, layout: Layout, inputs: Sequence[str], device: torch.device,
                 detector: nn.Module | None = None, forward_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(network, layout, inputs, device, detector)
        self.forward_options = forward_options or {}
        self.watch = Stopwatch(device, has_warmup=self.calls == 1)  # without reading and evaluation

    def run(self, frames: Iterable[Sample]) -> Iterator[EvaluatedFrame]:
        """Yields every frame of a clip with its restoration, in order.

        Memory holds one batch of windows.

        Raises:
            NonFiniteOutputError: the network returned a value that is not finite.
        """
        keys = ('lq', 'audio') if self.detector is None else ('lq', 'audio', 'face')
        on_device = ((sample, {key: sample[key].to(self.device) for key in keys}) for sample in frames)
        landmarks: deque[Tensor] = deque()

        def forward(batch: Batch) -> Tensor:
            restored, *found = self._restore(batch)
            for points in found:  # one set per output frame, in the order of the frames
                landmarks.extend(points.flatten(0, -3).cpu())
            return restored

        for sample, restored in self.run_windows(on_device, forward):
            yield _evaluated_frame(sample, restored, landmarks.popleft() if landmarks else None)

    def features(self, frames: Tensor) -> list[Tensor]:
        """As in `NetworkRunner`, and timed."""
        return self.watch.time(partial(super().features, frames))

    @torch.no_grad()
    def _restore(self, batch: Batch) -> list[Tensor]:
        """Restored frames, and landmarks if there is a detector."""
        restored, *landmarks = self.watch.time(partial(self._chunked, self._call, batch),
                                               len(batch['lq']) * self.layout.outputs)
        if not torch.isfinite(restored).all():
            raise NonFiniteOutputError(f'{type(self.network).__name__} returned values that are not finite: '
                                       'its weights are damaged; use an earlier checkpoint')
        return [restored, *landmarks]

    def _call(self, batch: Batch) -> list[Tensor]:
        inputs = network_inputs(batch, self.inputs, self.detector)
        restored = self.network(batch['lq'], **inputs, **self.forward_options)
        return [restored, *([tensor_of(inputs, 'landmarks')] if 'landmarks' in inputs else [])]


def _evaluated_frame(sample: Sample, restored: Tensor, landmarks: Tensor | None) -> EvaluatedFrame:
    return EvaluatedFrame(restored=to_images(restored), degraded=to_images(sample['lq']),
                          truth=to_images(sample['gt']) if 'gt' in sample else None,
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
