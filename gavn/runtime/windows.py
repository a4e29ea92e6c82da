"""From a clip of any length to the windows a network takes, and back: every frame once, in order.

One driver serves validation and restoration. The kinds of network differ by one word: `sequence` networks
turn `outputs + 2 * context` frames into the `outputs` in the middle, `clip` networks return all frames that
they see, `centre` networks the middle one alone, and `frame` networks see one frame at a time.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from gavn.runtime.batching import Batch

MODES = ('sequence', 'clip', 'centre', 'frame')
CONTEXT = 2  # frames at either end of GAVN's windows that are seen but not restored
Sample = dict[str, Tensor]
Features = Sequence[Tensor]


@dataclass(frozen=True)
class Layout:
    """How one call of a network lies over the frames of a clip.

    Attributes:
        outputs: frames that one window yields; windows stand this far apart.
        context: further frames that the network sees on either side of those.
        mode: `sequence`; `clip` (the context is restored as well, and dropped); `centre` (one output);
            `frame` (one output, no context).

    Raises ValueError for a mode that is not known or counts that do not fit it.
    """

    outputs: int
    context: int
    mode: str = 'sequence'

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'window mode {self.mode!r} is not one of {", ".join(MODES)}')
        if self.outputs < 1 or self.context < 0:
            raise ValueError(f'no window has {self.outputs} outputs and {self.context} frames of context')
        if self.mode in ('centre', 'frame') and self.outputs != 1:
            raise ValueError(f'a {self.mode} network yields one frame a window, not {self.outputs}')
        if self.mode == 'frame' and self.context:
            raise ValueError(f'a frame network sees no neighbours, but context is {self.context}')

    @property
    def inputs(self) -> int:
        """Frames of `lq` in one window."""
        return self.outputs + 2 * self.context


def reflect(index: int, length: int) -> int:
    """The frame that stands in for frame `index` of a clip of `length`: mirrored at the ends, repeatedly.

    The end frames themselves are not repeated (-1 is frame 1), except in a clip of one frame.
    """
    if length == 1:
        return 0
    index %= 2 * (length - 1)
    return min(index, 2 * (length - 1) - index)


@dataclass(eq=False)
class _Frame:
    """A frame of a clip, and what was found in it, once that was asked for."""

    sample: Sample
    features: Features | None = None


@dataclass
class _Window:
    frames: list[_Frame]  # outputs + 2 * context
    others: dict[str, list[Tensor]]  # per key but `lq`, outputs
    count: int  # outputs that lie inside the clip


class _Buffer:
    """The stretch of a clip that windows may still ask for."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.first = 0  # clip index of frames[0]
        self.frames: list[_Frame] = []

    @property
    def end(self) -> int:
        return self.first + len(self.frames)

    def window(self, start: int, length: int) -> _Window:
        """The window whose outputs begin at frame `start` of a clip of `length` frames."""
        context, stop = self.layout.context, start + self.layout.outputs
        around = range(start - context, stop + context)
        frames = [self.frames[reflect(index, length) - self.first] for index in around]
        own = [frame.sample for frame in frames[context:context + self.layout.outputs]]
        return _Window(frames, others={key: [sample[key] for sample in own] for key in own[0] if key != 'lq'},
                       count=min(stop, length) - start)

    def forget_before(self, start: int) -> None:
        """Drops what no window from frame `start` on needs, not even mirrored at the end of the clip."""
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
    """Finds the features of those frames that have none yet, all at once."""
    fresh = dict.fromkeys(frame for window in windows for frame in window.frames if frame.features is None)
    if fresh:
        found = find(torch.stack([frame.sample['lq'] for frame in fresh]))
        for frame, *features in zip(fresh, *found, strict=True):
            frame.features = features


def _batches(windows: Iterator[_Window], layout: Layout, size: int, find: Callable[[Tensor], Features] | None
             ) -> Iterator[tuple[Batch, list[int]]]:
    """Stacks `size` windows at a time; their frames are let go before the next ones are read."""
    while batch := list(islice(windows, size)):
        if find is not None:
            _find_features(batch, find)
        inputs, counts = _collate(batch, layout), [window.count for window in batch]
        batch.clear()
        yield inputs, counts


def _collate(batch: list[_Window], layout: Layout) -> Batch:
    stacked: Batch = {
        'lq': torch.stack([torch.stack([frame.sample['lq'] for frame in window.frames]) for window in batch])}
    for key in batch[0].others:
        stacked[key] = torch.stack([torch.stack(window.others[key]) for window in batch])
    if layout.mode == 'frame':
        stacked = {key: value.squeeze(1) for key, value in stacked.items()}
    if batch[0].frames[0].features is not None:
        per_frame = [frame.features for window in batch for frame in window.frames]
        stacked['features'] = [torch.stack(feature).unflatten(0, (len(batch), layout.inputs))
                               for feature in zip(*per_frame, strict=True)]
    return stacked


def run(forward: Callable[[Batch], Tensor], clip: Iterable[Sample], layout: Layout, batch: int = 1,
        features: Callable[[Tensor], Features] | None = None) -> Iterator[Tensor]:
    """Runs a network over a clip, window by window, in memory that does not grow with the clip.

    Both ends are mirrored; where the last window reaches past the end, its surplus is dropped.

    Args:
        forward: takes a batch {'lq': (n, t, 3, h, w), other: (n, m, ...)} with t = `layout.inputs` and
            m = `layout.outputs`, and returns (n, m, 3, h, w). In mode `clip` it returns (n, t, 3, h, w), in
            mode `centre` (n, 3, h, w); in mode `frame` it also receives (n, 3, h, w) and (n, ...), without
            the time axis.
        clip: per frame {'lq': (3, h, w), other: (...)}, the same keys and shapes throughout; may be empty.
        layout: how windows lie over the clip.
        batch: windows per call of `forward`.
        features: what is found in single frames (k, 3, h, w): any tensors (k, ...). Asked once for each frame
            of the clip, however many windows it stands in; `forward` then receives the answers as `features`,
            a list of (n, t, ...).

    Yields (3, h, w) per frame of the clip, in order. Raises ValueError if `forward` returns another number of
    frames.
    """
    for inputs, counts in _batches(_windows(clip, layout), layout, batch, features):
        result = forward(inputs)
        if layout.mode in ('centre', 'frame'):
            result = result.unsqueeze(1)
        first, expected = (layout.context, layout.inputs) if layout.mode == 'clip' else (0, layout.outputs)
        if result.shape[:2] != (len(counts), expected):
            raise ValueError(f'the network returned {tuple(result.shape)} for {len(counts)} windows of '
                             f'{expected} frames ({layout.mode})')
        for count, frames in zip(counts, result, strict=True):
            yield from frames[first:first + count]
