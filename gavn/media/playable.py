"""Converts frames to yuv420p (8-bit 4:2:0), which all players support."""
from __future__ import annotations

from dataclasses import dataclass, field

from av import VideoFrame
from av.filter import Graph

from gavn.media.filters import filter_graph, filtered

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
        return filtered(self._graph, av_frame)


def _graph(av_frame: VideoFrame) -> Graph:
    width, height = av_frame.width // 2 * 2, av_frame.height // 2 * 2
    return filter_graph(
        (av_frame.width, av_frame.height), av_frame.format.name,
        ('crop', f'{width}:{height}:0:0:exact=1'), ('scale', _SCALE), ('format', PLAYED_EVERYWHERE))
