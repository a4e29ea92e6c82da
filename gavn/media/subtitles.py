"""Converts text subtitles to a format that the container supports."""
import av
from av import Packet
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream

from gavn.media.container import MediaError, exact
from gavn.media.output import OutputTrack

_TEXT = {'ass', 'ssa', 'mov_text', 'srt', 'subrip', 'text', 'webvtt'}
_KNOWN = {'mp4': 'mov_text', 'mov': 'mov_text', 'matroska': 'subrip'}  # encoders, by container
_IN_MATROSKA = _TEXT - {'mov_text'}


def converted_to(stream: SubtitleStream, output: OutputContainer) -> str | None:
    """Returns the encoder that converts a subtitle stream for `output`; None if there is none or no need."""
    name, form = stream.codec_context.name, output.format.name
    kept = _IN_MATROSKA if form == 'matroska' else {'mov_text'}
    return None if name not in _TEXT or name in kept else _KNOWN.get(form)


class TextConverter(OutputTrack):
    """Converts a subtitle stream; adds `stream` to the output.

    Raises:
        MediaError: PyAV cannot decode or encode the format.
    """

    stream: SubtitleStream

    def __init__(self, source: SubtitleStream, output: OutputContainer, encoder: str) -> None:
        self._decoder = source.codec_context
        try:
            self._decoder.open(strict=False)
            stream = output.add_stream(encoder)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(f'{self._decoder.name} cannot be converted to {encoder} ({error})') from error
        assert isinstance(stream, SubtitleStream), f'{encoder} is not an encoder of subtitles'
        self.stream = stream
        self.stream.time_base = source.time_base
        self.stream.codec_context.subtitle_header = self._decoder.subtitle_header

    def __call__(self, packet: Packet) -> list[Packet]:
        """Converts a packet; returns an empty list for empty text."""
        try:
            text = self._decoder.decode2(packet)
            if text is None or not len(text):
                return []
            converted = self.stream.codec_context.encode_subtitle(text)
        except av.FFmpegError as error:
            at = '' if packet.pts is None else f' at {packet.pts * exact(packet.time_base)} s'
            raise MediaError(f'the subtitle{at} cannot be converted ({error.strerror})') from error
        converted.time_base, converted.pts, converted.dts = packet.time_base, packet.pts, packet.pts
        converted.duration = packet.duration
        return [converted]
