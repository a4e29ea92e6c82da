"""Small video files with known images, time stamps and audio, and readers for the tests of media."""
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.codec.context import Flags

from gavn.media import SegmentWriter, join, probe, read_frames

VARIABLE = (0, 1001, 2002, 4100, 4101, 9000, 9500, 12012, 13013, 20000)  # time stamps in 1 / 30000 s
BASE = Fraction(1, 30000)


def smooth_images(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Smooth images that differ in brightness, so that an encoder hardly changes them."""
    ramp = np.linspace(0, 60, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return [(ramp + [10, 30, 50] + 90 * i / max(1, count)).astype(np.uint8) for i in range(count)]


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def make_file(
    path: Path, stamps: Sequence[int] = VARIABLE, base: Fraction = BASE, size: tuple[int, int] = (64, 48),
    audio: np.ndarray | None = None, audio_start: float = 0, rotation: int = 0, last: int = 0,
    fields: bool = False, **tags: int,
) -> Path:
    """A file made with PyAV alone: images at the given time stamps, AAC from the second `audio_start` on.

    The last image is shown for `last` ticks if `last` is not 0. With `fields`, images are interlaced.
    """
    with av.open(str(path), 'w') as output:
        video = output.add_stream('libx264', rate=30, options={'crf': '5', 'preset': 'ultrafast'})
        video.width, video.height, video.pix_fmt = *size, 'yuv420p'
        video.codec_context.time_base = base
        if fields:
            video.codec_context.flags |= Flags.interlaced_dct
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        track = output.add_stream('aac', rate=16000, layout='mono') if audio is not None else None
        for stamp, image in zip(stamps, smooth_images(len(stamps), *size), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            frame.pts, frame.time_base = stamp, base
            output.mux(_lasting(video.encode(frame), stamps, last))
        output.mux(_lasting(video.encode(None), stamps, last))
        for at in range(0, 0 if audio is None else len(audio), 1024):
            block = av.AudioFrame.from_ndarray(audio[None, at:at + 1024], format='s16', layout='mono')
            block.sample_rate, block.pts = 16000, at + round(audio_start * 16000)
            output.mux(track.encode(block))
        if track is not None:
            output.mux(track.encode(None))
    return path


def _lasting(encoded: list[av.Packet], stamps: Sequence[int], last: int) -> list[av.Packet]:
    """The packets with durations up to the next frame, where the last one's is known."""
    lasting = {stamp: after - stamp for stamp, after in pairwise([*stamps, stamps[-1] + last])}
    for packet in encoded:
        packet.duration = lasting[packet.pts] if last else packet.duration
    return encoded


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and content of every packet of a stream."""
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        return [(packet.pts * Fraction(stream.time_base), bytes(packet))
                for packet in container.demux(stream) if packet.size]


def remux(source: Path, target: Path, cuts: Sequence[int] = (), **options: object) -> Path:
    """The source encoded anew, in pieces that begin at frame 0 and at `cuts`, and joined."""
    pieces, info, frames = [], probe(source), list(read_frames(source))
    with TemporaryDirectory() as folder:
        for begin, end in pairwise([0, *cuts, len(frames)]):
            pieces.append(Path(folder) / f'{begin}.nut')
            with SegmentWriter(pieces[-1], info, **({'crf': 10, 'preset': 'ultrafast'} | options)) as writer:
                for frame in frames[begin:end]:
                    writer.write(frame.av_frame, frame.pts)
        join(target, pieces, source)
    return target


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def stamps_of(path: Path) -> list[Fraction]:
    base = probe(path).time_base
    return [frame.pts * base for frame in read_frames(path)]


def spans(path: Path) -> list[tuple[int, int, int]]:
    """Place, size and time stamp of every packet of video, in the order of the file."""
    content = path.read_bytes()  # Matroska tells where a packet's block begins, not its content
    with av.open(str(path)) as container:
        return [(max(packet.pos, content.find(bytes(packet), packet.pos)), packet.size, packet.pts)
                for packet in container.demux(video=0) if packet.size]


def zero(path: Path, *places: tuple[int, int]) -> None:
    content = bytearray(path.read_bytes())
    for start, size in places:
        content[start:start + size] = bytes(size)
    path.write_bytes(content)


def with_audio(path: Path, source: Path, codec: str, samples: np.ndarray, block: int) -> Path:
    """A copy of a video beside `samples`, int16 mono at 16 kHz, that an encoder gets in blocks of a size."""
    with av.open(str(source)) as given, av.open(str(path), 'w') as output:
        video = output.add_stream_from_template(given.streams.video[0], opaque=True)
        audio = output.add_stream(codec, rate=16000, layout='mono')
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = video
                output.mux(packet)
        for at in range(0, len(samples), block):
            frame = av.AudioFrame.from_ndarray(samples[None, at:at + block], format='s16', layout='mono')
            frame.sample_rate, frame.pts = 16000, at
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path
