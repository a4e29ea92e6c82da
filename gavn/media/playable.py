"""Converts frames to yuv420p (8-bit 4:2:0), which all players support."""
from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from av import VideoFrame
from av.filter import Graph

PLAYED_EVERYWHERE = 'yuv420p'
_SCALE = 'flags=bicubic+accurate_rnd+full_chroma_int'


@dataclass
class Playable:
    """Converts YCbCr frames of one size and format to yuv420p; keeps tags and captions.

    The last row or column of an odd side is cropped.
    """

    _graph: Graph | None = field(default=None, repr=False)

    def __call__(self, av_frame: VideoFrame) -> VideoFrame:
        """Returns the converted frame; the frame itself if it is yuv420p."""
        if av_frame.format.name == PLAYED_EVERYWHERE:
            return av_frame
        self._graph = self._graph or _graph(av_frame)
        self._graph.vpush(av_frame)
        result = self._graph.vpull()
        result.colorspace, result.color_range = av_frame.colorspace, av_frame.color_range
        result.color_primaries, result.color_trc = av_frame.color_primaries, av_frame.color_trc
        return result


def _graph(av_frame: VideoFrame) -> Graph:
    graph = Graph()
    width, height = av_frame.width // 2 * 2, av_frame.height // 2 * 2
    steps = [graph.add_buffer(width=av_frame.width, height=av_frame.height, format=av_frame.format.name,
                              time_base=Fraction(1, 1000)),
             graph.add('crop', f'{width}:{height}:0:0:exact=1'), graph.add('scale', _SCALE),
             graph.add('format', PLAYED_EVERYWHERE), graph.add('buffersink')]
    graph.link_nodes(*steps)
    graph.configure()
    return graph
