"""Pictures as they were decoded: made upright and fit for an encoder, seen as BGR, changed only in places."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache, reduce
from threading import Lock

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.reformatter import VideoReformatter

from gavn.media.rgb import added, is_plain
from gavn.media.side_data import Orientation

# swscale flags: bicubic, accurate rounding, full chroma interpolation (PyAV 17 has no names for two of them).
# Without them a conversion to RGB and back darkens a picture by one to two levels.
ACCURATE = 4 | 0x40000 | 0x2000
_THREADS = 4

# How much of luma red and blue are, by the tag of the colour matrix; swscale knows these and no others.
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)  # all else, unknown too
_TAG_OF_BT601, LIMITED, FULL = 6, 1, 2
_NATIVE = {f'yuv{chroma}p{depth}' for chroma in (420, 422, 444) for depth in ('', '10le')}


class ToBGR:
    """Turns pictures into uint8 BGR arrays (h, w, 3), honouring their tags; threads take turns."""

    def __init__(self) -> None:
        self._reformatter, self._lock = VideoReformatter(), Lock()

    def __call__(self, picture: VideoFrame) -> np.ndarray:
        """The array, which is the caller's own."""
        with self._lock:
            bgr = self._reformatter.reformat(
                picture, format='bgr24', interpolation=ACCURATE, threads=_THREADS)
        return bgr.to_ndarray()


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        picture: the decoded planes, upright, in a format that can be encoded (see `Upright`).
        pts: the time stamp in the stream's own time base, strictly increasing.
        time: seconds since the first frame of the video.
        index: counts the frames of the video from 0.
        repeated: whether the frame stands in for one that could not be decoded.
        again: whether it is the frame before once more, for the sake of a constant rate (see `at_rate`).
        left_out: frames of the file that follow it and are not shown, for that reason too.
    """

    picture: VideoFrame
    pts: int
    time: float
    index: int
    repeated: bool = False
    again: bool = False
    left_out: int = 0
    to_bgr: Callable[[VideoFrame], np.ndarray] = field(default_factory=ToBGR, repr=False)

    @classmethod
    def of_image(cls, image: np.ndarray, pts: int, time: float, index: int) -> Frame:
        """A frame that no video holds, of a uint8 BGR picture (h, w, 3)."""
        return cls(VideoFrame.from_ndarray(image, format='bgr24'), pts, time, index)

    @cached_property
    def image(self) -> np.ndarray:
        """The picture as uint8 BGR (h, w, 3), made when it is first asked for and then kept."""
        return self.to_bgr(self.picture)


def depth(stored: VideoFormat) -> int:
    """The bits of a sample."""
    return max(component.bits for component in stored.components)


def native_format(stored: VideoFormat, width: int, height: int, turned: bool = False) -> str:
    """The nearest format that x264 and x265 take, without loss of chroma, nor of depth up to ten bits.

    Odd sides need 4:4:4, and so does 4:2:2 that is turned by a quarter. Grey gets an even chroma plane.
    """
    across, down = 64 // stored.chroma_width(64), 64 // stored.chroma_height(64)
    if len([part for part in stored.components if not part.is_alpha]) == 1 and not stored.has_palette:
        across = down = 2
    odd = (across > 1 and width % 2) or (down > 1 and height % 2)
    whole = stored.is_rgb or odd or across == 1 or (turned and down == 1)
    chroma = 444 if whole else 420 if down > 1 else 422
    return f'yuv{chroma}p' + ('10le' if depth(stored) > 8 else '')


class Upright:
    """Makes decoded frames upright and encodable, all in the size, format and colours of the first.

    What the container hides at the edges is cut off (to whole chroma samples), then the image is mirrored and
    turned as its display matrix asks. Formats: yuv420p, yuv422p, yuv444p and their ten-bit kin; full range is
    told by the tag alone. Planes of such a format are passed on as they are, or turned; anything else is
    converted. Alpha is left out.
    """

    def __init__(self, crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        self._reformatter = VideoReformatter()
        self._first: _Look | None = None
        self._crop = crop

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The picture of a frame as a decoder gives it."""
        frame.pict_type = 0  # else an encoder would repeat the source's choice of key frames
        self._first = self._first or _Look.of(frame, self._crop)
        picture = self._first.given(frame, self._reformatter)
        return _turned(_cropped(picture, self._crop), self._first.orientation)


@dataclass(frozen=True)
class _Look:
    """Stored size, format and colour tags."""

    name: str
    width: int
    height: int
    orientation: Orientation
    matrix: int
    range: int
    primaries: int
    transfer: int

    @classmethod
    def of(cls, frame: VideoFrame, crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> _Look:
        orientation, matrix, levels = Orientation.of(frame), frame.colorspace, frame.color_range
        name = native_format(frame.format, *shown_size(frame, crop), turned=orientation.sideways)
        if frame.format.is_rgb or frame.format.has_palette:
            matrix, levels = _TAG_OF_BT601, LIMITED
        elif frame.format.name.startswith('yuvj'):
            levels = FULL
        return cls(name, frame.width, frame.height, orientation, matrix, levels, frame.color_primaries,
                   frame.color_trc)

    def given(self, frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
        """The frame in this look: itself if only tags differ that mean the same."""
        found = _Look.of(frame)
        plain = frame.format.name.replace('yuvj', 'yuv')
        if (plain, found.width, found.height, found.meaning) == (
                self.name, self.width, self.height, self.meaning):
            picture = frame if plain == frame.format.name else _assembled(_planes(frame), plain)
        else:
            picture = reformatter.reformat(
                frame, self.width, self.height, self.name, interpolation=ACCURATE, threads=_THREADS,
                dst_colorspace=self.matrix if self.matrix in _WEIGHTS else 5,
                dst_color_range=FULL if self.range == FULL else LIMITED)
        return self.tag(picture)

    @property
    def meaning(self) -> tuple[tuple[float, float], bool]:
        return _WEIGHTS.get(self.matrix, _BT601), self.range == FULL

    def tag(self, picture: VideoFrame) -> VideoFrame:
        picture.colorspace, picture.color_range = self.matrix, self.range
        picture.color_primaries, picture.color_trc = self.primaries, self.transfer
        return picture


def _planes(frame: VideoFrame) -> list[np.ndarray]:
    """Views (h, w) of a planar frame's samples, uint8 or uint16, rows from the top."""
    dtype = np.dtype(np.uint8 if depth(frame.format) == 8 else '<u2')
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, :plane.width]
        views.append(rows if plane.line_size > 0 else rows[::-1])
    return views


def _assembled(planes: list[np.ndarray], name: str) -> VideoFrame:
    """A frame of its own that holds the planes; its tags are not set."""
    frame = VideoFrame(planes[0].shape[1], planes[0].shape[0], name)
    for target, plane in zip(_planes(frame), planes, strict=True):
        target[...] = plane
    return frame


def _copied(planes: list[np.ndarray], like: VideoFrame) -> VideoFrame:
    frame = _assembled(planes, like.format.name)
    frame.colorspace, frame.color_range = like.colorspace, like.color_range
    frame.color_primaries, frame.color_trc = like.color_primaries, like.color_trc
    return frame


@lru_cache(maxsize=2)
def _passage(width: int, height: int, name: str) -> tuple[Graph, Lock]:
    """A graph that passes pictures on as they are, and a lock to be held meanwhile."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=name, time_base=Fraction(1, 1000))
    source.link_to(graph.add('buffersink'))
    graph.configure()
    return graph, Lock()


def _twin(picture: VideoFrame) -> VideoFrame:
    """A copy with all that a frame carries beside its planes: captions, the place of chroma, fields."""
    graph, lock = _passage(picture.width, picture.height, picture.format.name)
    with lock:
        graph.vpush(picture)
        twin = graph.vpull()
    twin.make_writable()
    return twin


def shown_size(frame: VideoFrame, crop: tuple[int, int, int, int]) -> tuple[int, int]:
    """Width and height of a stored image without what is hidden at the top, bottom, left and right of it."""
    top, bottom, left, right = crop
    return frame.width - left - right, frame.height - top - bottom


def _cropped(picture: VideoFrame, crop: tuple[int, int, int, int]) -> VideoFrame:
    if not any(crop):
        return picture
    width, height = shown_size(picture, crop)
    parts = []
    for plane in _planes(picture):
        across, down = picture.width // plane.shape[1], picture.height // plane.shape[0]
        top, left = crop[0] // down, crop[2] // across
        parts.append(plane[top:top + height // down, left:left + width // across])
    return _copied(parts, picture)


def _turned(picture: VideoFrame, orientation: Orientation) -> VideoFrame:
    if not orientation:
        return picture
    return _copied([orientation(plane) for plane in _planes(picture)], picture)


def changed(frame: Frame, changes: Iterable[tuple[int, int, np.ndarray]]) -> VideoFrame:
    """The frame's picture with something added to it in places, one after the other.

    The conversion between RGB and YCbCr is linear, so that a change alone is converted, in floating point,
    and added to the planes: samples where it is zero keep every bit. A chroma sample takes the mean of the
    change over the pixels that share it. To pictures that are RGB or grey already it is added as it is.

    Args:
        frame: as a reader yields it; it stays as it is.
        changes: x0, y0 and a change: the pixel on which its corner lies, and float (h, w, 3) BGR in units of
            1/255; it must lie within the picture.

    Raises ValueError for a change of another shape, or a picture that no reader made.
    """
    picture = frame.picture
    changes = list(changes)
    for x0, y0, change in changes:
        _check_place(picture, x0, y0, change)
    if not changes:
        return picture
    if is_plain(picture):
        return reduce(lambda given, one: added(given, *one), changes, picture)
    result = _twin(picture)
    across, down = (64 // picture.format.chroma_width(64), 64 // picture.format.chroma_height(64))
    luma, *chroma = _planes(result)
    for x0, y0, change in changes:
        parts = _in_ycbcr(change, picture)
        _add(luma, parts[0], x0, y0)
        for plane, part in zip(chroma, parts[1:], strict=True):
            _add(plane, _shared(part, x0, y0, across, down), x0 // across, y0 // down)
    return result


def _check_place(picture: VideoFrame, x0: int, y0: int, change: np.ndarray) -> None:
    height, width = change.shape[:2]
    known = is_plain(picture) or picture.format.name in _NATIVE
    if change.ndim != 3 or change.shape[2] != 3 or not known:
        raise ValueError(f'a change (h, w, 3) to an encodable picture is expected, got {change.shape} to '
                         f'{picture.format.name}')
    if min(x0, y0) < 0 or x0 + width > picture.width or y0 + height > picture.height:
        raise ValueError(f'a change of {width} x {height} at ({x0}, {y0}) leaves the picture of '
                         f'{picture.width} x {picture.height}')


def _in_ycbcr(change: np.ndarray, picture: VideoFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma, blue and red differences (h, w) float32 of a change, in the steps of the picture's samples."""
    red_weight, blue_weight = _WEIGHTS.get(picture.colorspace, _BT601)
    bits = depth(picture.format)
    if picture.color_range == FULL:
        luma_steps = chroma_steps = (2 ** bits - 1) / 255
    else:
        luma_steps, chroma_steps = 219 / 255 * 2 ** (bits - 8), 224 / 255 * 2 ** (bits - 8)
    blue, green, red = np.moveaxis(change.astype(np.float32, copy=False), 2, 0)
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    return (luma * luma_steps, (blue - luma) * (chroma_steps / (2 - 2 * blue_weight)),
            (red - luma) * (chroma_steps / (2 - 2 * red_weight)))


def _shared(part: np.ndarray, x0: int, y0: int, across: int, down: int) -> np.ndarray:
    """What stands at pixel (x0, y0), as samples of a plane each of which covers across x down pixels."""
    height, width = part.shape
    part = np.pad(part, ((y0 % down, -(y0 + height) % down), (x0 % across, -(x0 + width) % across)))
    rows = sum(part[:, column::across] for column in range(across))
    return sum(rows[row::down] for row in range(down)) * np.float32(1 / (across * down))


def _add(plane: np.ndarray, part: np.ndarray, x0: int, y0: int) -> None:
    """Adds to a plane, in place, what stands at sample (x0, y0)."""
    place = plane[y0:y0 + part.shape[0], x0:x0 + part.shape[1]]
    values = place + part
    np.rint(values, out=values)
    np.clip(values, 0, _highest(plane), out=values)
    np.copyto(place, values, casting='unsafe')


def _highest(plane: np.ndarray) -> int:
    return 255 if plane.dtype == np.uint8 else 1023
