"""Filter graphs for frames of one size and format."""
from fractions import Fraction

from av import VideoFrame
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat


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
