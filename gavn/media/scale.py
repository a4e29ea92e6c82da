"""Whole pictures enlarged with Lanczos: to which size, and the frames of a video at that size."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from av import VideoFrame
from av.filter import Graph

from gavn.media.container import MediaError
from gavn.media.frame import Frame

FACTORS = (2, 3, 4)
FULL_HD = '1080p'
SCALES = (*map(str, FACTORS), FULL_HD)
LONGEST_SIDE = 8192  # pixels: what encoders and players take
_FULL_HD_SIDES = 1920, 1080
# Fields are enlarged one by one. Without the last two flags a conversion loses precision.
_FILTER = 'flags=lanczos+accurate_rnd+full_chroma_int:interl=-1'


def enlarged_size(width: int, height: int, scale: str) -> tuple[int, int]:
    """The size of a picture of `width` x `height` pixels at a scale, one of SCALES.

    `1080p` is the largest that fits into 1920 x 1080, or upright into 1080 x 1920, in even numbers; a picture
    that does not fit as it is keeps its size. Raises ValueError for another scale, MediaError for a size
    beyond LONGEST_SIDE.
    """
    if scale not in SCALES:
        raise ValueError(f'scale {scale} is not one of {", ".join(SCALES)}')
    if scale == FULL_HD:
        return _in_full_hd(width, height)
    size = width * int(scale), height * int(scale)
    if max(size) > LONGEST_SIDE:
        raise MediaError(f'{width} x {height} pixels times {scale} are {size[0]} x {size[1]}, and '
                         f'{LONGEST_SIDE} a side are the most\n{_smaller(max(width, height))}')
    return size


def _in_full_hd(width: int, height: int) -> tuple[int, int]:
    long, short = _FULL_HD_SIDES
    factor = min(Fraction(long, max(width, height)), Fraction(short, min(width, height)))
    if factor <= 1:
        return width, height
    return round(width * factor / 2) * 2, round(height * factor / 2) * 2


def _smaller(side: int) -> str:
    possible = [factor for factor in FACTORS if factor * side <= LONGEST_SIDE]
    return f'give --scale {possible[-1]}' if possible else 'leave --scale out'


@dataclass
class Enlarger:
    """Enlarges pictures of one format to a size (width, height); tags, fields and captions stay."""

    size: tuple[int, int]
    _graph: Graph | None = field(default=None, repr=False)

    def __call__(self, picture: VideoFrame) -> VideoFrame:
        """The picture of that size, in the format that it has."""
        self._graph = self._graph or _graph(picture, self.size)
        self._graph.vpush(picture)
        large = self._graph.vpull()
        large.colorspace, large.color_range = picture.colorspace, picture.color_range
        large.color_primaries, large.color_trc = picture.color_primaries, picture.color_trc
        return large


def enlarged(frames: Iterable[Frame], size: tuple[int, int]) -> Iterator[Frame]:
    """The frames at another size (width, height), with all else that they are."""
    enlarge = Enlarger(size)
    for frame in frames:
        yield replace(frame, picture=enlarge(frame.picture))


def _graph(picture: VideoFrame, size: tuple[int, int]) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format.name,
                              time_base=Fraction(1, 1000))
    scale = graph.add('scale', f'w={size[0]}:h={size[1]}:{_FILTER}')
    source.link_to(scale)
    scale.link_to(graph.add('buffersink'))
    graph.configure()
    return graph
