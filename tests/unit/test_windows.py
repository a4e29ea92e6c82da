"""Windows over clips: each frame once, mirrored ends, bounded memory."""
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from gavn.runtime.windows import Layout, reflect, run

LAYOUTS = [Layout(1, 0, 'frame'), Layout(1, 2, 'centre'), Layout(1, 2), Layout(3, 2), Layout(5, 2),
           Layout(7, 0), Layout(4, 5), Layout(4, 1, 'clip'), Layout(6, 0, 'clip')]


def make_clip(length: int) -> list[dict[str, Tensor]]:
    """Frames that carry their index as brightness and as `audio`."""
    return [{'lq': torch.full((3, 2, 4), float(i)), 'audio': torch.full((1, 2), 100. + i)}
            for i in range(length)]


def forward_for(layout: Layout):
    """A network that weighs every frame of the window differently and adds the audio of the output frames."""
    weights = torch.arange(1., 1 + layout.inputs)

    def forward(batch: dict[str, Tensor]) -> Tensor:
        if layout.mode == 'frame':
            return batch['lq'] + batch['audio'].mean((1, 2))[:, None, None, None]
        n, m, c = len(batch['lq']), layout.outputs, layout.context
        assert batch['lq'].shape[:2] == (n, layout.inputs) and batch['audio'].shape == (n, m, 1, 2)
        mixed = torch.einsum('t,ntchw->nchw', weights, batch['lq'])
        audio = batch['audio'].mean((2, 3))[:, :, None, None, None]
        if layout.mode == 'clip':  # the context comes back, with something of its own
            seen = torch.full_like(batch['lq'], -1.)
            seen[:, c:c + m] = batch['lq'][:, c:c + m] + mixed[:, None] + audio
            return seen
        frames = batch['lq'][:, c:c + m] + mixed[:, None] + audio
        return frames[:, 0] if layout.mode == 'centre' else frames

    return forward


def naive(length: int, layout: Layout) -> list[float]:
    """The same, written over an index list padded by numpy."""
    if length == 0:
        return []
    surplus = -length % layout.outputs
    index = np.pad(np.arange(length), (layout.context, layout.context + surplus), mode='reflect')
    weights = np.arange(1., 1 + layout.inputs)
    out = []
    for start in range(0, length, layout.outputs):
        window = index[start:start + layout.inputs]
        mixed = 0 if layout.mode == 'frame' else float(weights @ window)
        out += [i + mixed + 100. + i for i in window[layout.context:layout.context + layout.outputs]]
    return out[:length]


@pytest.mark.parametrize('layout', LAYOUTS, ids=str)
@pytest.mark.parametrize('length', range(21))
def test_equals_naive_padding(layout: Layout, length: int):
    got = list(run(forward_for(layout), make_clip(length), layout))
    assert [frame.shape for frame in got] == [(3, 2, 4)] * length
    assert [float(frame[0, 0, 0]) for frame in got] == naive(length, layout)


@pytest.mark.parametrize('layout', LAYOUTS, ids=str)
@pytest.mark.parametrize('length', [1, 2, 3, 7, 20])
def test_batch_changes_nothing(layout: Layout, length: int):
    one = list(run(forward_for(layout), make_clip(length), layout))
    for batch in (2, 3, 8):
        many = list(run(forward_for(layout), make_clip(length), layout, batch=batch))
        assert len(many) == length and all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize('layout', LAYOUTS, ids=str)
def test_identity_returns_each_frame_once_in_order(layout: Layout):
    def middle(batch: dict[str, Tensor]) -> Tensor:
        if layout.mode in ('frame', 'clip'):
            return batch['lq']
        frames = batch['lq'][:, layout.context:layout.context + layout.outputs]
        return frames[:, 0] if layout.mode == 'centre' else frames

    for length in range(1, 21):
        got = [int(frame[0, 0, 0]) for frame in run(middle, make_clip(length), layout, batch=2)]
        assert got == list(range(length))


def test_windows_mirror_without_repeating_the_end():
    seen = []

    def forward(batch: dict[str, Tensor]) -> Tensor:
        seen.append([int(v) for v in batch['lq'][0, :, 0, 0, 0]])
        return batch['lq'][:, 2:5]

    list(run(forward, make_clip(4), Layout(3, 2)))
    assert seen == [[2, 1, 0, 1, 2, 3, 2], [1, 2, 3, 2, 1, 0, 1]]


def test_reflect_bounces_as_numpy():
    for length in range(1, 7):
        padded = np.pad(np.arange(length), 15, mode='reflect')
        assert [reflect(i - 15, length) for i in range(len(padded))] == list(padded)


@pytest.mark.parametrize('batch', [1, 3])
def test_memory_is_a_window_not_a_clip(batch: int):
    layout, alive, most = Layout(3, 2), weakref.WeakSet(), 0

    def frames():
        nonlocal most
        for i in range(300):
            frame = torch.full((3, 2, 2), float(i))
            alive.add(frame)
            most = max(most, len(alive))
            yield {'lq': frame}

    for count, _ in enumerate(run(lambda b: b['lq'][:, 2:5], frames(), layout, batch=batch), 1):  # noqa: B007
        pass
    gc.collect()
    assert count == 300
    assert most <= layout.inputs + layout.outputs * batch + layout.context
    assert len(alive) == 0


def test_output_comes_before_the_clip_ends():
    pulled = 0

    def frames():
        nonlocal pulled
        for sample in make_clip(50):
            pulled += 1
            yield sample

    outputs = run(lambda b: b['lq'][:, 2:5], frames(), Layout(3, 2))
    next(outputs)
    assert pulled == 5


@pytest.mark.parametrize('arguments', [(1, 0, 'center'), (0, 2, 'sequence'), (3, -1, 'sequence'),
                                       (3, 1, 'centre'), (1, 1, 'frame')])
def test_layout_refuses(arguments):
    with pytest.raises(ValueError, match=r'window|network'):
        Layout(*arguments)


def test_wrong_number_of_frames_is_an_error():
    with pytest.raises(ValueError, match='1 windows of 3 frames'):
        list(run(lambda b: b['lq'], make_clip(9), Layout(3, 2)))
    with pytest.raises(ValueError, match='1 windows of 7 frames'):
        list(run(lambda b: b['lq'][:, 2:5], make_clip(9), Layout(3, 2, 'clip')))


@pytest.mark.parametrize('layout', [one for one in LAYOUTS if one.context and one.mode != 'clip'], ids=str)
@pytest.mark.parametrize('batch', [1, 3])
def test_features_are_found_once_for_each_frame(layout: Layout, batch: int):
    """And arrive with the frames that they were found in, mirrored ones too."""
    asked = []

    def find(frames: Tensor) -> list[Tensor]:
        asked.extend(frames[:, 0, 0, 0].tolist())
        return [frames[:, 0, :1, :1], frames * 2]

    def checked(batch: dict[str, Tensor]) -> Tensor:
        small, double = batch.pop('features')
        assert torch.equal(small, batch['lq'][:, :, 0, :1, :1]) and torch.equal(double, 2 * batch['lq'])
        return forward_for(layout)(batch)

    for length in range(41):
        asked.clear()
        got = list(run(checked, make_clip(length), layout, batch, find))
        assert [float(frame[0, 0, 0]) for frame in got] == naive(length, layout)
        assert sorted(asked) == list(range(length))
