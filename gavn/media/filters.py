"""FFmpeg filters for frames of one size and format."""
from __future__ import annotations

from fractions import Fraction

from av import VideoFrame
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat

PLAYED_EVERYWHERE = 'yuv420p'  # 8-bit 4:2:0, which all players support
_AS_THEY_ARE = 'in_range=full:out_range=full:in_color_matrix=bt601:out_color_matrix=bt601'


def resampling(options: str) -> tuple[str, str]:
    """Returns a filter `scale` that resamples YCbCr values as they are, and each field by itself.

    Left alone, FFmpeg converts tagged frames to another matrix or range, or weaves their fields.

    Args:
        options: of the filter: `w=640:h=480:flags=lanczos`.
    """
    return 'scale', f'{options}:interl=-1:{_AS_THEY_ARE}'


class FrameFilter:
    """Passes frames of one size and format through filters in a row; keeps their tags and side data.

    Args:
        *filters: each (name, arguments).
    """

    def __init__(self, *filters: tuple[str, str]) -> None:
        self._filters = filters
        self._graph: Graph | None = None

    def __call__(self, av_frame: VideoFrame) -> VideoFrame:
        """Returns the filtered frame."""
        self._graph = self._graph or filter_graph(
            (av_frame.width, av_frame.height), av_frame.format.name, *self._filters)
        return filtered(self._graph, av_frame)


class Playable(FrameFilter):
    """Converts YCbCr frames to yuv420p. The last row or column of an odd side is cropped."""

    def __init__(self) -> None:
        super().__init__(('crop', 'trunc(iw/2)*2:trunc(ih/2)*2:0:0:exact=1'),
                         resampling('flags=bicubic+accurate_rnd+full_chroma_int'),
                         ('format', PLAYED_EVERYWHERE))

    def __call__(self, av_frame: VideoFrame) -> VideoFrame:
        """Returns the converted frame; the frame itself if it is yuv420p."""
        return av_frame if av_frame.format.name == PLAYED_EVERYWHERE else super().__call__(av_frame)


def filter_graph(size: tuple[int, int], pix_fmt: str, *filters: tuple[str, str]) -> Graph:
    """Returns a graph of filters in a row, each (name, arguments), for frames of a size (width, height)."""
    width, height = size
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat(pix_fmt, width, height),
                              time_base=Fraction(1, 1000))
    graph.link_nodes(source, *(graph.add(*one) for one in filters), graph.add('buffersink'))
    graph.configure()
    return graph


def filtered(graph: Graph, av_frame: VideoFrame) -> VideoFrame:
    """Passes a frame through a graph; keeps its colour tags and all side data."""
    graph.vpush(av_frame)
    result = graph.vpull()
    copy_colour_tags(av_frame, result)
    return result


def copy_colour_tags(source: VideoFrame, target: VideoFrame | VideoCodecContext) -> None:
    """Copies matrix, range, primaries and transfer function of a frame to a frame or an encoder."""
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc
