"""Frames in the one format that every player takes: 4:2:0 of eight bits."""
from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from av import VideoFrame
from av.filter import Graph

PLAYED_EVERYWHERE = 'yuv420p'
_SCALE = 'flags=bicubic+accurate_rnd+full_chroma_int'


@dataclass
class Playable:
    """Turns YCbCr pictures of one size and format into yuv420p; tags and captions stay.

    Of an odd side the last row or column is cut off.
    """

    _graph: Graph | None = field(default=None, repr=False)

    def __call__(self, picture: VideoFrame) -> VideoFrame:
        """The picture in that format: itself where it is so already."""
        if picture.format.name == PLAYED_EVERYWHERE:
            return picture
        self._graph = self._graph or _graph(picture)
        self._graph.vpush(picture)
        result = self._graph.vpull()
        result.colorspace, result.color_range = picture.colorspace, picture.color_range
        result.color_primaries, result.color_trc = picture.color_primaries, picture.color_trc
        return result


def _graph(picture: VideoFrame) -> Graph:
    graph = Graph()
    width, height = picture.width // 2 * 2, picture.height // 2 * 2
    steps = [graph.add_buffer(width=picture.width, height=picture.height, format=picture.format.name,
                              time_base=Fraction(1, 1000)),
             graph.add('crop', f'{width}:{height}:0:0:exact=1'), graph.add('scale', _SCALE),
             graph.add('format', PLAYED_EVERYWHERE), graph.add('buffersink')]
    graph.link_nodes(*steps)
    graph.configure()
    return graph
