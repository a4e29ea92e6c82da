"""Writing video files: audio, time and shape go through unchanged."""
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import BASE, VARIABLE, make_file, packets, remux, smooth_images, stamps_of, tone

from gavn.media import (
    SegmentWriter,
    VideoWriter,
    compress,
    join,
    probe,
    read_audio,
    read_frames,
    resample_frames,
)


@pytest.mark.parametrize('ending', ['.mp4', '.mov'])
def test_remux_keeps_time_and_audio(source: Path, tmp_path: Path, ending: str) -> None:
    copy = remux(source, tmp_path / f'copy{ending}')
    assert stamps_of(copy) == stamps_of(source) == [stamp * BASE for stamp in VARIABLE]
    assert packets(copy, 'audio') == packets(source, 'audio') != []
    assert np.array_equal(read_audio(copy), read_audio(source))
    for before, after in zip(read_frames(source), read_frames(copy), strict=True):
        assert np.abs(before.image.astype(int) - after.image).mean() < 2


def test_remux_to_mkv_keeps_audio_and_intervals(source: Path, tmp_path: Path) -> None:
    copy = remux(source, tmp_path / 'copy.mkv')
    assert [content for _, content in packets(copy, 'audio')] == [c for _, c in packets(source, 'audio')]
    times = [frame.time for frame in read_frames(copy)]
    assert times[0] == 0 and len(times) >= len(VARIABLE) - 1  # two stamps of VARIABLE share a millisecond
    assert all(min(abs(time - stamp / 30000) for stamp in VARIABLE) <= 2e-3 for time in times)


def test_remux_without_audio(tmp_path: Path) -> None:
    copy = remux(make_file(tmp_path / 'mute.mp4'), tmp_path / 'copy.mp4')
    assert not probe(copy).audio_tracks and len(list(read_frames(copy))) == len(VARIABLE)


@pytest.mark.parametrize('seconds', [0.1, 3.0])
def test_audio_shorter_and_longer_than_the_video(tmp_path: Path, seconds: float) -> None:
    path = make_file(tmp_path / 's.mp4', audio=tone(seconds))
    copy = remux(path, tmp_path / 'copy.mp4')
    assert packets(copy, 'audio') == packets(path, 'audio')
    assert stamps_of(copy) == stamps_of(path)


@pytest.mark.parametrize('frames', [1, 2])
@pytest.mark.parametrize('attempt', range(3))  # x265 leaves their decoding times undefined
def test_few_frames_of_hevc(tmp_path: Path, frames: int, attempt: int) -> None:
    path = tmp_path / 'few.mp4'
    with VideoWriter(path, 64, 64, 25, codec='libx265', preset='ultrafast') as writer:
        for image in smooth_images(frames, 64, 64):
            writer.write(image)
    with av.open(path) as container:
        stamps = [(packet.pts, packet.dts) for packet in container.demux(video=0) if packet.size]
        base = container.streams.video[0].time_base
    times = [(pts * base, dts * base) for pts, dts in stamps]
    assert times == [(Fraction(i, 25),) * 2 for i in range(frames)]


def test_one_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'one.mp4', stamps=(0,), audio=tone(0.2))
    copy = remux(path, tmp_path / 'copy.mp4')
    assert stamps_of(copy) == [0] and packets(copy, 'audio') == packets(path, 'audio')
    assert len(list(resample_frames(path))) == 1


@pytest.mark.parametrize('size', [(33, 48), (64, 47), (33, 47)])
def test_odd_sizes_survive(tmp_path: Path, size: tuple[int, int]) -> None:
    images = smooth_images(3, *size)
    with VideoWriter(tmp_path / 'odd.mp4', *size, 25, crf=5) as writer:
        for image in images:
            writer.write(image)
    remux(tmp_path / 'odd.mp4', tmp_path / 'copy.mp4')
    for name in ('odd.mp4', 'copy.mp4'):
        assert (probe(tmp_path / name).width, probe(tmp_path / name).height) == size
        assert np.abs(next(read_frames(tmp_path / name)).image.astype(int) - images[0]).mean() < 2


@pytest.mark.parametrize(('full', 'tolerance'), [(1, 0.6), (2, 2.2)])  # the scaler rounds full range down
def test_colour_tags_and_colours_survive(tmp_path: Path, full: int, tolerance: float) -> None:
    wide = {'colorspace': 1, 'color_range': full, 'color_primaries': 1, 'color_trc': 1}
    path = make_file(tmp_path / 'c.mp4', **wide)
    copy = remux(path, tmp_path / 'copy.mp4')
    with av.open(str(copy)) as container:
        context = container.streams.video[0].codec_context
        assert {name: int(getattr(context, name)) for name in wide} == wide
    shift = np.mean([a.image.astype(float) - b.image
                     for a, b in zip(read_frames(copy), read_frames(path), strict=True)], (0, 1, 2))
    assert np.abs(shift).max() < tolerance


def test_white_and_black_are_not_darkened(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (60, 90, 200)]
    images = [np.full((32, 32, 3), colour, np.uint8) for colour in colours]
    with VideoWriter(tmp_path / 'c.mp4', 32, 32, 25, crf=1) as writer:
        for image in images:
            writer.write(image)
    for frame, image in zip(read_frames(tmp_path / 'c.mp4'), images, strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 2


def test_subtitles_tags_and_chapters_are_copied_where_there_is_a_place(tmp_path: Path) -> None:
    path = tmp_path / 'text.mkv'
    plain_path = make_file(tmp_path / 'plain.mp4', audio=tone(0.5))
    with av.open(str(plain_path)) as plain, av.open(str(path), 'w') as out:
        copies = {stream: out.add_stream_from_template(stream, opaque=True) for stream in plain.streams}
        text = out.add_mux_stream('subrip')
        out.metadata['title'] = 'an interview'
        for packet in plain.demux():
            if packet.size:
                packet.stream = copies[packet.stream]
                out.mux(packet)
        line = av.Packet(b'good morning')
        line.pts = line.dts = 100
        line.duration, line.time_base, line.stream = 200, Fraction(1, 1000), text
        out.mux(line)
    with av.open(str(remux(path, tmp_path / 'copy.mkv'))) as copy:
        assert copy.metadata['title'] == 'an interview'
        assert [bytes(p) for p in copy.demux(copy.streams.subtitles[0]) if p.size] == [b'good morning']
    assert packets(remux(path, tmp_path / 'copy.mp4'), 'audio')


def test_writer_with_audio(tmp_path: Path) -> None:
    path, audio = tmp_path / 'w.mp4', tone(1.0)
    with VideoWriter(path, 64, 48, Fraction(30000, 1001), audio=audio, preset='ultrafast') as writer:
        for image in smooth_images(30):
            writer.write(image)
    info = probe(path)
    assert info.frame_rate == Fraction(30000, 1001) and info.frames == 30 and info.audio_tracks
    assert stamps_of(path) == [Fraction(1001 * i, 30000) for i in range(30)]
    assert np.corrcoef(read_audio(path)[2000:15000], audio[2000:15000])[0, 1] > 0.99


# compression in memory


def test_compress_keeps_count_size_and_order() -> None:
    images = smooth_images(9, 33, 47)
    degraded = compress(images, 20)
    assert [image.shape for image in degraded] == [(47, 33, 3)] * 9
    assert all(np.abs(a.astype(int) - b).mean() < 3 for a, b in zip(images, degraded, strict=True))
    assert compress([], 20) == [] and len(compress(images[:1], 45)) == 1


@pytest.mark.parametrize('side', [64, 96, 224])
def test_compress_is_repeatable(side: int) -> None:
    """Whatever the memory held before: with its widest instructions x264 is not, on such smooth images."""
    images = smooth_images(25, side, side)
    first = compress(images, 40)
    for seed in range(8):
        dirt = [np.random.default_rng(seed).integers(0, 256, 1 << size, np.uint8) for size in range(6, 20)]
        del dirt
        assert np.array_equal(compress(images, 40), first)


# real files


@pytest.mark.shared
def test_real_files_go_through(shared: Path, tmp_path: Path) -> None:
    """Every `wild` clip and a choice of the others: eight frames are encoded, all audio is copied."""
    folder = shared / 'clips' / 'many_speakers'
    some = [folder / name for name in (
        'grid_brbk7n.mpg', 'retalking_face1.mp4', 'hdtf_aoc.mp4', 'vox2_00067.mp4', 'broadcast_may.mp4')]
    for path in sorted((shared / 'clips' / 'wild').iterdir()) + some:
        info, copy, stamps = probe(path), tmp_path / 'copy.mp4', []
        reader = read_frames(path)
        with SegmentWriter(tmp_path / 'piece.nut', info, preset='ultrafast') as writer:
            for frame in islice(reader, 8):
                stamps.append(frame.time)
                writer.write(frame.av_frame, frame.pts)
        join(copy, [tmp_path / 'piece.nut'], path)
        if info.width <= 480:
            assert 8 + sum(1 for _ in reader) == pytest.approx(info.duration * info.frame_rate, abs=2), path
        reader.close()
        assert frame.image.shape == (info.height, info.width, 3)
        before, after = packets(path, 'audio'), packets(copy, 'audio')
        assert [content for _, content in before] == [content for _, content in after], path
        assert max(abs(a - b) for (a, _), (b, _) in zip(before, after, strict=True)) < Fraction(1, 8000), path
        assert [frame.time for frame in read_frames(copy)] == pytest.approx(stamps), path
        assert len(read_audio(copy)) == pytest.approx(len(read_audio(path)), abs=16), path
