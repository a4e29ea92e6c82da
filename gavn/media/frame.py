"""Decoded frames: upright and encodable, converted to BGR on demand, with local changes."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, reduce
from operator import add
from threading import Lock

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.reformatter import VideoReformatter

from gavn.media.filters import FrameFilter, filter_graph, filtered
from gavn.media.rgb import added, is_plain
from gavn.media.side_data import Orientation

# swscale flags: bicubic, accurate rounding, full chroma interpolation (PyAV 17 has no names for two of them).
# Without them a conversion to RGB and back darkens an image by one to two levels.
ACCURATE = 4 | 0x40000 | 0x2000
_THREADS = 4

# Luma weights of red and blue by colour matrix tag; swscale supports only these.
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)  # all others, and unknown
_TAG_OF_BT601, LIMITED, FULL = 6, 1, 2
_SWS_BT601 = 5  # swscale's name of the matrix
_NATIVE = {f'yuv{chroma}p{depth}' for chroma in (420, 422, 444) for depth in ('', '10le')}


class ToBGR:
    """Converts frames to uint8 BGR arrays (h, w, 3) by their colour tags; thread-safe."""

    def __init__(self) -> None:
        self._reformatter, self._lock = VideoReformatter(), Lock()

    def __call__(self, av_frame: VideoFrame) -> np.ndarray:
        """Returns a new array."""
        with self._lock:
            bgr = self._reformatter.reformat(
                av_frame, format='bgr24', interpolation=ACCURATE, threads=_THREADS)
        return bgr.to_ndarray()


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video."""

    av_frame: VideoFrame  # the decoded planes, upright, in an encodable format (see `Upright`)
    pts: int  # time stamp in the time base of the stream, strictly increasing
    time: float  # seconds since the first frame of the video
    index: int  # number of the frame, from 0
    repeated: bool = False  # whether it replaces an undecodable frame
    again: bool = False  # whether it duplicates the previous frame, for a constant rate (see `at_rate`)
    left_out: int = 0  # number of following frames that are dropped for a constant rate
    to_bgr: Callable[[VideoFrame], np.ndarray] = field(default_factory=ToBGR, repr=False)

    @classmethod
    def from_image(cls, image: np.ndarray, pts: int, time: float, index: int) -> Frame:
        """Creates a frame from a uint8 BGR image (h, w, 3)."""
        return cls(VideoFrame.from_ndarray(image, format='bgr24'), pts, time, index)

    @cached_property
    def image(self) -> np.ndarray:
        """The image as uint8 BGR (h, w, 3); converted on first use."""
        return self.to_bgr(self.av_frame)


FrameIterator = Generator[Frame, None, None]
"""Yields frames in order; `close` closes the file."""


def depth(stored: VideoFormat) -> int:
    """Returns the bits per sample."""
    return max(component.bits for component in stored.components)


def native_format(stored: VideoFormat, width: int, height: int, rotated: bool = False) -> str:
    """Returns the nearest format for x264 and x265 that keeps chroma resolution and up to 10 bits.

    Odd sides need 4:4:4, and so does 4:2:2 that is rotated by 90 degrees. Grey gets a constant chroma plane.
    """
    across, down = 64 // stored.chroma_width(64), 64 // stored.chroma_height(64)
    if _is_grey(stored):
        across = down = 2
    odd = (across > 1 and width % 2) or (down > 1 and height % 2)
    whole = stored.is_rgb or odd or across == 1 or (rotated and down == 1)
    chroma = 444 if whole else 420 if down > 1 else 422
    return f'yuv{chroma}p' + ('10le' if depth(stored) > 8 else '')


def _is_grey(stored: VideoFormat) -> bool:
    return len([part for part in stored.components if not part.is_alpha]) == 1 and not stored.has_palette


class Upright:
    """Makes decoded frames upright and encodable, in the size, format and colour tags of the first frame.

    The edges that the container hides are cropped (to whole chroma samples). The image is then mirrored and
    rotated by its display matrix. The formats are yuv420p, yuv422p, yuv444p and their 10-bit variants. Planes
    of these formats keep their samples; other formats are converted. Alpha is dropped.
    """

    def __init__(self, crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        self._reformatter = VideoReformatter()
        self._first: _Format | None = None
        self._turn: FrameFilter | None = None
        self._crop = crop

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Converts a decoded frame."""
        frame.pict_type = 0  # else an encoder would reuse the key frames of the source
        if self._first is None:
            self._first = _Format.from_frame(frame, self._crop)
            steps = (*_cropping(frame, self._crop), *_turning(self._first.orientation))
            self._turn = FrameFilter(*steps) if steps else None
        av_frame = self._first.convert(frame, self._reformatter)
        return av_frame if self._turn is None else self._turn(av_frame)


@dataclass(frozen=True)
class _Format:
    """Size, pixel format and colour tags of frames."""

    name: str
    width: int
    height: int
    orientation: Orientation
    matrix: int
    range: int
    primaries: int
    transfer: int

    @classmethod
    def from_frame(cls, frame: VideoFrame, crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> _Format:
        orientation, matrix, levels = Orientation.from_frame(frame), frame.colorspace, frame.color_range
        name = native_format(frame.format, *shown_size(frame, crop), rotated=orientation.sideways)
        if frame.format.is_rgb or frame.format.has_palette:
            matrix, levels = _TAG_OF_BT601, LIMITED
        elif frame.format.name.startswith('yuvj'):
            levels = FULL
        return cls(name, frame.width, frame.height, orientation, matrix, levels, frame.color_primaries,
                   frame.color_trc)

    def convert(self, frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
        """Returns the frame in this format; without conversion if only equivalent tags differ."""
        found = _Format.from_frame(frame)
        plain = frame.format.name.replace('yuvj', 'yuv')
        if (plain, found.width, found.height, found.meaning) == (
                self.name, self.width, self.height, self.meaning):
            av_frame = frame if plain == frame.format.name else reformatter.reformat(
                frame, format=plain, src_colorspace=_SWS_BT601, dst_colorspace=_SWS_BT601,
                src_color_range=FULL, dst_color_range=FULL)  # from the same samples to the same samples
        else:
            # swscale takes all grey as full range: "to full range" then keeps the samples
            keeps = _is_grey(frame.format) and frame.color_range == self.range == LIMITED
            av_frame = reformatter.reformat(
                frame, self.width, self.height, self.name, interpolation=ACCURATE, threads=_THREADS,
                dst_colorspace=self.matrix if self.matrix in _WEIGHTS else _SWS_BT601,
                dst_color_range=FULL if keeps or self.range == FULL else LIMITED)
        return self.tag(av_frame)

    @property
    def meaning(self) -> tuple[tuple[float, float], bool]:
        return _WEIGHTS.get(self.matrix, _BT601), self.range == FULL

    def tag(self, av_frame: VideoFrame) -> VideoFrame:
        av_frame.colorspace, av_frame.color_range = self.matrix, self.range
        av_frame.color_primaries, av_frame.color_trc = self.primaries, self.transfer
        return av_frame


def _planes(frame: VideoFrame) -> list[np.ndarray]:
    """Returns views (h, w) of the planes, uint8 or uint16, top row first."""
    dtype = np.dtype(np.uint8 if depth(frame.format) == 8 else '<u2')
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, :plane.width]
        views.append(rows if plane.line_size > 0 else rows[::-1])
    return views


@lru_cache(maxsize=2)
def _identity_graph(width: int, height: int, name: str) -> tuple[Graph, Lock]:
    """Returns a filter graph that copies frames, and its lock."""
    return filter_graph((width, height), name), Lock()


def _copy(av_frame: VideoFrame) -> VideoFrame:
    """Returns a copy with all side data: captions, chroma location, fields."""
    graph, lock = _identity_graph(av_frame.width, av_frame.height, av_frame.format.name)
    with lock:
        copy = filtered(graph, av_frame)
    copy.make_writable()
    return copy


def shown_size(frame: VideoFrame | VideoCodecContext, crop: tuple[int, int, int, int]) -> tuple[int, int]:
    """Returns (width, height) of a stored image after cropping (top, bottom, left, right)."""
    top, bottom, left, right = crop
    return frame.width - left - right, frame.height - top - bottom


def _cropping(frame: VideoFrame, crop: tuple[int, int, int, int]) -> tuple[tuple[str, str], ...]:
    """Returns the filter that crops (top, bottom, left, right), to whole chroma samples."""
    width, height = shown_size(frame, crop)
    return (('crop', f'{width}:{height}:{crop[2]}:{crop[0]}'),) if any(crop) else ()


def _turning(orientation: Orientation) -> tuple[tuple[str, str], ...]:
    """Returns the filters that make a frame upright; its lines are then no longer fields."""
    mirror, flip = ('hflip', ''), ('vflip', '')
    turns = ((), (('transpose', 'cclock'),), (mirror, flip), (('transpose', 'clock'),))
    steps = (mirror,) * orientation.mirrored + turns[orientation.quarters]
    return (*steps, ('setfield', 'prog'), ('sidedata', 'mode=delete:type=DISPLAYMATRIX')) if steps else ()


def changed(frame: Frame, changes: Iterable[tuple[int, int, np.ndarray]]) -> VideoFrame:
    """Adds local changes to a frame, one after the other.

    RGB to YCbCr is linear: the change alone is converted, in floating point, and added to the planes. Samples
    where it is zero keep their exact value. A chroma sample takes the mean change of its pixels. RGB and grey
    frames are changed directly.

    Args:
        frame: a frame from a reader; it is not modified.
        changes: (x0, y0, change): position of the top left pixel, and float (h, w, 3) BGR in units of 1/255,
            inside the image.

    Raises:
        ValueError: a change has another shape or is outside the image, or the pixel format is not supported.
    """
    av_frame = frame.av_frame
    changes = list(changes)
    for x0, y0, change in changes:
        _check_place(av_frame, x0, y0, change)
    if not changes:
        return av_frame
    if is_plain(av_frame):
        return reduce(lambda current, change: added(current, *change), changes, av_frame)
    result = _copy(av_frame)
    across, down = (64 // av_frame.format.chroma_width(64), 64 // av_frame.format.chroma_height(64))
    luma, *chroma = _planes(result)
    for x0, y0, change in changes:
        parts = _in_ycbcr(change, av_frame)
        _add(luma, parts[0], x0, y0)
        for plane, part in zip(chroma, parts[1:], strict=True):
            _add(plane, _subsampled(part, x0, y0, across, down), x0 // across, y0 // down)
    return result


def _check_place(av_frame: VideoFrame, x0: int, y0: int, change: np.ndarray) -> None:
    height, width = change.shape[:2]
    known = is_plain(av_frame) or av_frame.format.name in _NATIVE
    if change.ndim != 3 or change.shape[2] != 3 or not known:
        raise ValueError(f'expected a change (h, w, 3) of an encodable frame, got {change.shape} of '
                         f'{av_frame.format.name}')
    if min(x0, y0) < 0 or x0 + width > av_frame.width or y0 + height > av_frame.height:
        raise ValueError(f'a change of {width} x {height} at ({x0}, {y0}) exceeds the image of '
                         f'{av_frame.width} x {av_frame.height}')


def _in_ycbcr(change: np.ndarray, av_frame: VideoFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts a change to Y, Cb, Cr (h, w) float32, in units of the samples of the frame."""
    red_weight, blue_weight = _WEIGHTS.get(av_frame.colorspace, _BT601)
    bits = depth(av_frame.format)
    if av_frame.color_range == FULL:
        luma_steps = chroma_steps = (2 ** bits - 1) / 255
    else:
        luma_steps, chroma_steps = 219 / 255 * 2 ** (bits - 8), 224 / 255 * 2 ** (bits - 8)
    blue, green, red = np.moveaxis(change.astype(np.float32, copy=False), 2, 0)
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    return (luma * luma_steps, (blue - luma) * (chroma_steps / (2 - 2 * blue_weight)),
            (red - luma) * (chroma_steps / (2 - 2 * red_weight)))


def _subsampled(part: np.ndarray, x0: int, y0: int, across: int, down: int) -> np.ndarray:
    """Subsamples a part at pixel (x0, y0) by means over across x down pixels."""
    height, width = part.shape
    part = np.pad(part, ((y0 % down, -(y0 + height) % down), (x0 % across, -(x0 + width) % across)))
    rows = reduce(add, [part[:, column::across] for column in range(across)])
    return reduce(add, [rows[row::down] for row in range(down)]) * np.float32(1 / (across * down))


def _add(plane: np.ndarray, part: np.ndarray, x0: int, y0: int) -> None:
    """Adds a part to a plane at sample (x0, y0), in place."""
    place = plane[y0:y0 + part.shape[0], x0:x0 + part.shape[1]]
    values = place + part
    np.rint(values, out=values)
    np.clip(values, 0, 255 if plane.dtype == np.uint8 else 1023, out=values)
    np.copyto(place, values, casting='unsafe')
