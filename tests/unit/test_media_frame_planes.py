"""Frames keep their decoded planes; only where something is added do they differ."""
from dataclasses import replace
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from gavn.media import Frame, changed
from gavn.media.frame import ACCURATE, ToBGR, Upright

NATIVE = [f'yuv{chroma}p{depth}' for chroma, depth in product((420, 422, 444), ('', '10le'))]


def samples(frame: av.VideoFrame) -> list[np.ndarray]:
    """Copies of a planar frame's planes, without what pads their rows."""
    wide = max(part.bits for part in frame.format.components) > 8
    return [np.frombuffer(plane, np.uint16 if wide else np.uint8).reshape(plane.height, -1)
            [:, :plane.width].copy() for plane in frame.planes]


def make_frame(name: str, width: int = 64, height: int = 48, matrix: int = 2, levels: int = 1
               ) -> av.VideoFrame:
    """Smooth colours, far from the ends of what can be stored, in any format that swscale writes."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([60 + 90 * x, 170 - 80 * y, 80 + 60 * x * y], 2).astype(np.uint8)
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(rgb, format='rgb24'), format=name, interpolation=ACCURATE,
        dst_colorspace=matrix if matrix in (1, 4, 7, 9) else 5, dst_color_range=levels)
    frame.colorspace, frame.color_range = matrix, levels
    return frame


def frame_of(video_frame: av.VideoFrame) -> Frame:
    return Frame(video_frame, 0, 0., 0)


def bump(height: int, width: int) -> np.ndarray:
    """A smooth change of up to 40 levels, different in each colour, zero at its edge."""
    hill = np.sin(np.linspace(0, np.pi, height))[:, None] * np.sin(np.linspace(0, np.pi, width))
    return (hill[..., None] * [40., -25., 30.]).astype(np.float32)


@pytest.mark.parametrize('name', NATIVE)
def test_native_planes_are_passed_on(name: str) -> None:
    given = make_frame(name)
    assert Upright()(given) is given
    still = changed(frame_of(given), [(5, 7, np.zeros((20, 30, 3), np.float32))])
    assert all(np.array_equal(a, b) for a, b in zip(samples(still), samples(given), strict=True))


@pytest.mark.parametrize(('name', 'kept'), [
    ('yuvj420p', 'yuv420p'), ('yuvj444p', 'yuv444p'), ('nv12', 'yuv420p'), ('p010le', 'yuv420p10le'),
    ('uyvy422', 'yuv422p'), ('yuva420p', 'yuv420p'), ('gray', 'yuv420p'), ('gray10le', 'yuv420p10le'),
    ('rgb24', 'yuv444p'), ('gbrp', 'yuv444p'), ('gbrp10le', 'yuv444p10le'), ('yuv411p', 'yuv422p'),
    ('yuv440p', 'yuv444p'), ('yuv420p12le', 'yuv420p10le')])
def test_other_formats_go_to_the_nearest(name: str, kept: str) -> None:
    given = make_frame(name, levels=2 if 'j' in name or 'gray' in name or 'r' in name[:4] else 1)
    made = Upright()(given)
    assert made.format.name == kept
    before, after = (ToBGR()(frame).astype(int) for frame in (given, made))
    assert np.abs(before - after).max() <= (3 if made.format.name != 'yuv420p' else 1), name
    assert made.color_range == (2 if 'j' in name or 'gray' in name else 1)


@pytest.mark.parametrize('name', ['gray', 'gray10le'])
@pytest.mark.parametrize('levels', [1, 2])
def test_grey_keeps_its_samples(name: str, levels: int) -> None:
    """Grey in limited range was reduced to it a second time."""
    frame, deep = av.VideoFrame(64, 48, name), name != 'gray'
    value = 940 if deep else 235
    for plane in frame.planes:
        filled = np.full(plane.buffer_size // (1 + deep), value, np.uint16 if deep else np.uint8)
        plane.update(filled.tobytes())
    frame.color_range = levels
    luma, *chroma = samples(Upright()(frame))
    assert np.unique(luma) == [value]
    assert all(np.unique(plane) == [512 if deep else 128] for plane in chroma)


@pytest.mark.parametrize(('name', 'size', 'kept'), [
    ('nv12', (63, 48), 'yuv444p'), ('yuv420p', (64, 47), 'yuv444p'), ('yuv422p', (64, 47), 'yuv422p'),
    ('yuv422p10le', (63, 48), 'yuv444p10le'), ('gray', (63, 47), 'yuv444p'), ('gbrp', (63, 47), 'yuv444p')])
def test_odd_sides_need_whole_chroma(name: str, size: tuple[int, int], kept: str) -> None:
    made = Upright()(make_frame(name, *size))
    assert (made.format.name, made.width, made.height) == (kept, *size)


def test_frames_become_like_the_first() -> None:
    upright, first = Upright(), make_frame('yuv420p', 64, 48, matrix=1)
    upright(first)
    for other in (make_frame('yuv420p', 32, 24, matrix=1), make_frame('yuv422p', 64, 48, matrix=1),
                  make_frame('yuv420p', 64, 48, matrix=6), make_frame('yuv420p', 64, 48, matrix=1, levels=2),
                  make_frame('gbrp')):
        made = upright(other)
        assert (made.width, made.height, made.format.name) == (64, 48, 'yuv420p')
        assert (made.colorspace, made.color_range) == (1, 1)
        assert np.abs(ToBGR()(made).astype(int) - ToBGR()(first)).mean() < 2


@pytest.mark.parametrize('name', NATIVE)
@pytest.mark.parametrize(('matrix', 'levels'), [(1, 1), (2, 1), (6, 2), (7, 1), (9, 1), (9, 2), (4, 1)])
def test_a_change_agrees_with_the_scaler(name: str, matrix: int, levels: int) -> None:
    """Against swscale in sixteen bits a colour: the frame, and the frame with the change, to YCbCr."""
    frame = frame_of(make_frame(name, matrix=matrix, levels=levels))
    change = bump(20, 31)
    deep = VideoReformatter().reformat(frame.av_frame, format='rgb48le', interpolation=ACCURATE)
    rgb = np.frombuffer(deep.planes[0], '<u2').reshape(48, -1)[:, :192].reshape(48, 64, 3).astype(float)
    planes = []
    for factor in (0, 1):
        added = rgb.copy()
        added[9:29, 11:42] += factor * change[..., ::-1] * 257
        colours = av.VideoFrame.from_ndarray(np.rint(added).astype(np.uint16), format='rgb48le')
        colours.colorspace = matrix  # PyAV 17 takes BT.2020 from here alone
        planes.append(samples(VideoReformatter().reformat(
            colours, format=name[:7] + '10le', interpolation=ACCURATE, dst_color_range=levels,
            dst_colorspace=matrix if matrix in (1, 4, 7, 9) else 5)))
    scale = 1 if name.endswith('10le') else 4
    result = changed(frame, [(11, 9, change)])
    assert (result.colorspace, result.color_range) == (matrix, levels)
    found = zip(samples(result), samples(frame.av_frame), *planes, strict=True)
    for number, (after, before, still, moved) in enumerate(found):
        error = (after.astype(float) - before) - (moved.astype(float) - still) / scale
        # the scaler takes chroma through a longer filter than the mean of the pixels that share it
        assert np.abs(error).max() <= (1.2 if number == 0 else 2.5) * 4 / scale, number
        assert abs(error.mean()) < 0.1


@pytest.mark.parametrize('name', NATIVE)
def test_a_change_is_seen_where_it_is_and_nowhere_else(name: str) -> None:
    frame, change = frame_of(make_frame(name)), bump(21, 30)
    image, x0, y0 = frame.image.copy(), 13, 8
    before = samples(frame.av_frame)
    result = changed(frame, [(x0, y0, change)])
    seen = ToBGR()(result).astype(float) - image
    seen[y0:y0 + 21, x0:x0 + 30] -= change
    assert np.abs(seen).max() <= 4 and np.abs(seen).mean() < 0.4
    for plane, kept in zip(samples(result), before, strict=True):
        down, across = 48 // plane.shape[0], 64 // plane.shape[1]
        plane[y0 // down:-(-(y0 + 21) // down), x0 // across:-(-(x0 + 30) // across)] = 0
        kept = np.where(plane == 0, 0, kept)
        assert np.array_equal(plane, kept)
    assert all(np.array_equal(a, b) for a, b in zip(samples(frame.av_frame), before, strict=True))


def test_a_change_stops_at_what_can_be_stored() -> None:
    for name, highest in (('yuv420p', 255), ('yuv420p10le', 1023)):
        for sign, end in ((1, highest), (-1, 0)):
            change = np.full((48, 64, 3), sign * 900., np.float32)
            assert (samples(changed(frame_of(make_frame(name)), [(0, 0, change)]))[0] == end).all()


@pytest.mark.parametrize(('x0', 'y0', 'shape'), [
    (-1, 0, (4, 4, 3)), (0, -1, (4, 4, 3)), (61, 0, (4, 4, 3)), (0, 45, (4, 4, 3)), (0, 0, (4, 4)),
    (0, 0, (4, 4, 1))])
def test_a_change_that_does_not_fit_is_refused(x0: int, y0: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='change'):
        changed(frame_of(make_frame('yuv420p')), [(x0, y0, np.zeros(shape, np.float32))])


def test_a_frame_of_an_image_shows_it(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    frame = Frame.from_image(image, 3, 0.1, 2)
    assert np.array_equal(frame.image, image) and frame.image is frame.image
    strange = replace(frame, av_frame=av.VideoFrame(48, 34, 'nv12'))
    with pytest.raises(ValueError, match='nv12'):
        changed(strange, [(0, 0, np.zeros((2, 2, 3), np.float32))])
