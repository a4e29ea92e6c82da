"""Files that cannot be read or written: the message says so, and nothing is left behind."""
import time
from pathlib import Path

import av
import pytest
from media_files import left, make_file, packets, remux, smooth_images, stamps_of, tone

from gavn.media import (
    EmptyVideo,
    MediaError,
    NoVideo,
    SegmentWriter,
    UnreadableMedia,
    VideoWriter,
    join,
    probe,
    read_audio,
    read_frames,
    stream_copy,
)
from gavn.media.container import exact
from gavn.media.stream_copy import is_same_video


def test_streams_without_time_stamps_are_not_comparable(tmp_path: Path) -> None:
    raw = tmp_path / 'raw.h264'
    with VideoWriter(raw, 64, 48, 25) as writer:
        for image in smooth_images(4, 64, 48):
            writer.write(image)
    assert not is_same_video(raw, raw)


def test_comparing_long_videos_takes_linear_time(source: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream_copy, 'unique_stamps', lambda path: list(range(100_000)))
    start = time.process_time()
    assert is_same_video(source, source)
    assert time.process_time() - start < 10  # half an hour if it is quadratic


def test_a_stream_without_a_time_base_says_so() -> None:
    with pytest.raises(MediaError, match='no time base'):
        exact(None)


@pytest.mark.parametrize('content', [None, b'', b'no video at all ' * 50])
def test_unreadable_files_say_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'broken.mp4'
    if content is not None:
        path.write_bytes(content)
    for read in (probe, lambda path: next(read_frames(path)), read_audio,
                 lambda path: join(tmp_path / 'out.mp4', [path], path)):
        with pytest.raises(UnreadableMedia, match=r'broken\.mp4'):
            read(path)
    assert left(tmp_path) == ([] if content is None else ['broken.mp4'])


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / 'audio.m4a'
    with av.open(str(path), 'w') as output:
        audio = output.add_stream('aac', rate=16000, layout='mono')
        block = av.AudioFrame.from_ndarray(tone(0.1)[None], format='s16', layout='mono')
        block.sample_rate = 16000
        output.mux(audio.encode(block))
        output.mux(audio.encode(None))
    for read in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(NoVideo, match='no video stream'):
            read(path)
    assert len(read_audio(path)) > 1000


def test_zero_frames_say_so(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'z.mp4', stamps=(0, 1000))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                content[packet.pos:packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(content)
    for read in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(EmptyVideo, match='no frame'):
            read(path)


def interrupted(writer: VideoWriter | SegmentWriter, *frame: object) -> None:
    with writer:
        writer.write(*frame)
        raise KeyboardInterrupt


@pytest.mark.parametrize('before', [None, b'the old result'])
def test_an_error_leaves_the_old_file_and_nothing_else(
    source: Path, tmp_path: Path, before: bytes | None,
) -> None:
    target = tmp_path / 'target.mp4'
    if before:
        target.write_bytes(before)
    names = left(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(VideoWriter(target, 64, 48, 25, audio=tone(1)), smooth_images(1)[0])
    with pytest.raises(KeyboardInterrupt):
        interrupted(SegmentWriter(target, probe(source)), next(read_frames(source)).av_frame, 0)
    with pytest.raises(EmptyVideo, match='no frame was written'), SegmentWriter(target, probe(source)):
        pass
    assert left(tmp_path) == names
    assert not before or target.read_bytes() == before


def test_wrong_sizes_and_orders_are_refused(source: Path, tmp_path: Path) -> None:
    target, like, frame = tmp_path / 'a.mp4', probe(source), next(read_frames(source)).av_frame
    with pytest.raises(ValueError, match='time stamps must rise'), SegmentWriter(target, like) as writer:
        writer.write(frame, 5)
        writer.write(frame, 5)
    other = av.VideoFrame(32, 48, 'yuv420p')
    with pytest.raises(ValueError, match='expected a frame'), SegmentWriter(target, like) as writer:
        writer.write(frame, 5)
        writer.write(other, 6)
    with pytest.raises(ValueError, match='expected a uint8'), VideoWriter(target, 64, 48, 25) as writer:
        writer.write(smooth_images(1, 32, 48)[0])
    assert left(tmp_path) == ['source.mp4']


def test_containers_that_cannot_hold_it_are_named(source: Path, tmp_path: Path) -> None:
    for name in ('out.webm', 'out.nothing'):
        with pytest.raises(MediaError, match=r'\.mkv'):
            remux(source, tmp_path / name)
    assert left(tmp_path) == ['source.mp4']


def test_writing_over_the_source(source: Path, tmp_path: Path) -> None:
    audio, stamps = packets(source, 'audio'), stamps_of(source)
    remux(source, source)
    assert packets(source, 'audio') == audio and stamps_of(source) == stamps
    assert left(tmp_path) == ['source.mp4']
