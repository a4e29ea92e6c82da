"""Runs networks over clips of any length in windows; yields every frame once, in order.

Validation and restoration use the same code. There are four modes: `sequence` networks map
`outputs + 2 * context` frames to the `outputs` in the middle, `clip` networks return all input frames,
`centre` networks return only the middle frame, and `frame` networks take single frames.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from gavn.errors import ArgumentError
from gavn.runtime.batching import Batch

MODES = ('sequence', 'clip', 'centre', 'frame')
CONTEXT = 2  # frames at both ends of GAVN's windows that are input only
Sample = dict[str, Tensor]
Features = Sequence[Tensor]


@dataclass(frozen=True)
class Layout:
    """Window layout of a network.

    Attributes:
        outputs: output frames per window, which is also the stride.
        context: additional input frames on both sides.
        mode: `sequence`; `clip` (the context is also output, and dropped); `centre` (one output);
            `frame` (one output, no context).

    Raises:
        ArgumentError: the mode is unknown, or does not suit the counts.
    """

    outputs: int
    context: int
    mode: str = 'sequence'

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ArgumentError(f'window mode {self.mode!r} is not one of {", ".join(MODES)}')
        if self.outputs < 1 or self.context < 0:
            raise ArgumentError(f'invalid window: {self.outputs} outputs and {self.context} context frames')
        if self.mode in ('centre', 'frame') and self.outputs != 1:
            raise ArgumentError(f'a {self.mode} network has one output per window, not {self.outputs}')
        if self.mode == 'frame' and self.context:
            raise ArgumentError(f'a frame network has no context, but context is {self.context}')

    @property
    def inputs(self) -> int:
        """Number of `lq` frames per window."""
        return self.outputs + 2 * self.context


def reflect(index: int, length: int) -> int:
    """Returns the index for frame `index` of a clip of `length`, by repeated reflection at the ends.

    End frames are not repeated (-1 becomes 1), except in a clip of one frame.
    """
    if length == 1:
        return 0
    index %= 2 * (length - 1)
    return min(index, 2 * (length - 1) - index)


@dataclass(eq=False)
class _Frame:
    """A frame of a clip and its cached features."""

    sample: Sample
    features: Features | None = None


@dataclass
class _Window:
    frames: list[_Frame]  # outputs + 2 * context
    others: dict[str, list[Tensor]]  # per key but `lq`, outputs
    count: int  # outputs inside the clip


class _Buffer:
    """The frames of a clip that following windows need."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.first = 0  # index of frames[0] in the clip
        self.frames: list[_Frame] = []

    @property
    def end(self) -> int:
        return self.first + len(self.frames)

    def window(self, start: int, length: int) -> _Window:
        """Returns the window with first output `start` in a clip of `length` frames."""
        context, stop = self.layout.context, start + self.layout.outputs
        around = range(start - context, stop + context)
        frames = [self.frames[reflect(index, length) - self.first] for index in around]
        own = [frame.sample for frame in frames[context:context + self.layout.outputs]]
        return _Window(frames, others={key: [sample[key] for sample in own] for key in own[0] if key != 'lq'},
                       count=min(stop, length) - start)

    def forget_before(self, start: int) -> None:
        """Drops frames that no window from `start` on needs, including reflection at the end."""
        keep = max(start - self.layout.context - self.layout.outputs + 1, self.first)
        del self.frames[:keep - self.first]
        self.first = keep


def _windows(clip: Iterable[Sample], layout: Layout) -> Iterator[_Window]:
    buffer, start = _Buffer(layout), 0
    for sample in clip:
        buffer.frames.append(_Frame(sample))
        reach = start + layout.outputs + layout.context
        if buffer.end == reach:
            yield buffer.window(start, length=reach)
            start += layout.outputs
            buffer.forget_before(start)
    while start < buffer.end:
        yield buffer.window(start, length=buffer.end)
        start += layout.outputs


def _find_features(windows: Iterable[_Window], find: Callable[[Tensor], Features]) -> None:
    """Computes the missing features of frames in one call."""
    fresh = dict.fromkeys(frame for window in windows for frame in window.frames if frame.features is None)
    if fresh:
        found = find(torch.stack([frame.sample['lq'] for frame in fresh]))
        for frame, *features in zip(fresh, *found, strict=True):
            frame.features = features


def _batches(windows: Iterator[_Window], layout: Layout, size: int, find: Callable[[Tensor], Features] | None
             ) -> Iterator[tuple[Batch, list[int]]]:
    """Stacks `size` windows at a time; releases their frames before reading the next ones."""
    while batch := list(islice(windows, size)):
        if find is not None:
            _find_features(batch, find)
        inputs, counts = _collate(batch, layout), [window.count for window in batch]
        batch.clear()
        yield inputs, counts


def _collate(batch: list[_Window], layout: Layout) -> Batch:
    stacked = {
        'lq': torch.stack([torch.stack([frame.sample['lq'] for frame in window.frames]) for window in batch])}
    for key in batch[0].others:
        stacked[key] = torch.stack([torch.stack(window.others[key]) for window in batch])
    if layout.mode == 'frame':
        stacked = {key: value.squeeze(1) for key, value in stacked.items()}
    features = [frame.features for window in batch for frame in window.frames if frame.features is not None]
    if not features:
        return {**stacked}
    return {**stacked, 'features': [torch.stack(feature).unflatten(0, (len(batch), layout.inputs))
                                    for feature in zip(*features, strict=True)]}


def run(forward: Callable[[Batch], Tensor], clip: Iterable[Sample], layout: Layout, batch: int = 1,
        features: Callable[[Tensor], Features] | None = None) -> Iterator[Tensor]:
    """Runs a network over a clip, window by window. Memory does not grow with the length of the clip.

    The clip is reflected at both ends; surplus outputs of the last window are dropped.

    Args:
        forward: takes a batch {'lq': (n, t, 3, h, w), other: (n, m, ...)} with t = `layout.inputs` and
            m = `layout.outputs`, and returns (n, m, 3, h, w). In mode `clip` it returns (n, t, 3, h, w), in
            mode `centre` (n, 3, h, w); in mode `frame` it also receives (n, 3, h, w) and (n, ...), without
            the time axis.
        clip: per frame {'lq': (3, h, w), other: (...)} with constant keys and shapes; may be empty.
        layout: the window layout.
        batch: windows per call of `forward`.
        features: computes features (k, ...) of single frames (k, 3, h, w). It is called once per frame;
            `forward` receives the results as `features`, a list of (n, t, ...).

    Yields:
        (3, h, w) per frame of the clip, in order.

    Raises:
        ArgumentError: `forward` returns another number of frames.
    """
    for inputs, counts in _batches(_windows(clip, layout), layout, batch, features):
        result = forward(inputs)
        if layout.mode in ('centre', 'frame'):
            result = result.unsqueeze(1)
        first, expected = (layout.context, layout.inputs) if layout.mode == 'clip' else (0, layout.outputs)
        if result.shape[:2] != (len(counts), expected):
            raise ArgumentError(f'the network returned {tuple(result.shape)} for {len(counts)} windows of '
                             f'{expected} frames ({layout.mode})')
        for count, frames in zip(counts, result, strict=True):
            yield from frames[first:first + count]
