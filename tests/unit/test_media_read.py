"""Reading video files: frames at their own times, upright, a few in memory."""
import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import BASE, VARIABLE, make_file, remux, smooth_images, tone

import gavn
from gavn.media import MediaError, VideoWriter, probe, read_frames, resample_frames


def test_probe_and_frames_agree(source: Path) -> None:
    info, frames = probe(source), list(read_frames(source))
    assert (info.width, info.height, info.frames, info.rotation) == (64, 48, len(VARIABLE), 0)
    assert (info.codec, info.pix_fmt, info.audio_tracks, info.time_base) == ('h264', 'yuv420p', True, BASE)
    assert [frame.index for frame in frames] == list(range(len(VARIABLE)))
    assert [frame.time for frame in frames] == pytest.approx([stamp / 30000 for stamp in VARIABLE])
    for frame, image in zip(frames, smooth_images(len(VARIABLE)), strict=True):
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - image).mean() < 2


def test_time_stamps_that_jump_back_are_refused(tmp_path: Path) -> None:
    """Two recordings strung together as a transport stream."""
    one = make_file(tmp_path / 'one.ts', stamps=range(0, 90000, 3600), base=Fraction(1, 90000))
    both = tmp_path / 'both.ts'
    both.write_bytes(2 * one.read_bytes())
    with pytest.raises(MediaError, match=r'both\.ts: time stamps jump back'):
        list(read_frames(both))


def test_frame_times_count_from_the_first_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'late.mp4', stamps=(15000, 16000, 18000))
    assert probe(path).start == Fraction(1, 2)
    assert [frame.time for frame in read_frames(path)] == pytest.approx([0, 1 / 30, 0.1])


@pytest.mark.parametrize(
    ('rotation', 'corner'), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_rotation_is_applied(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    """The stored image's darkest corner is top left; turned counter-clockwise it goes down, right, up."""
    path = make_file(tmp_path / 'turned.mp4', rotation=rotation, audio=tone(0.5))
    info, frame = probe(path), next(read_frames(path))
    assert info.rotation == rotation
    assert frame.image.shape[:2] == (info.height, info.width) == ((64, 48) if rotation % 180 else (48, 64))
    assert frame.image[corner].sum() == pytest.approx(frame.image.sum(2).min(), abs=6)
    copy = remux(path, tmp_path / 'copy.mp4')
    assert probe(copy).rotation == 0 and (probe(copy).width, probe(copy).height) == (info.width, info.height)
    assert np.abs(next(read_frames(copy)).image.astype(int) - frame.image).mean() < 2


def test_frames_stream(tmp_path: Path) -> None:
    """Three hundred frames of 260 KB pass through far less memory than they are."""
    path = tmp_path / 'long.mp4'
    with VideoWriter(path, 352, 240, 25, preset='ultrafast') as writer:
        for image in smooth_images(300, 352, 240):
            writer.write(image)
    tracemalloc.start()
    assert sum(1 for _ in read_frames(path)) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 352 * 240 * 3


def test_constant_rate_from_variable_time(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'v.mp4', stamps=(0, 3000, 3600, 12000), base=Fraction(1, 30000))
    frames = [frame.image for frame in read_frames(path)]
    # shown: first at 0 s and 0.04 and 0.08, third from 0.12 s, fourth from 0.4 s for one average interval
    expected = [0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 3]
    found = [next(i for i, image in enumerate(frames) if np.array_equal(image, shown))
             for shown in resample_frames(path)]
    assert found[:11] == expected and set(found[11:]) <= {3} and len(found) <= 14


@pytest.mark.parametrize(('rate', 'count'), [(25, 20), (30, 24), (Fraction(24000, 1001), 20), (50, 40)])
def test_constant_rate_keeps_the_length(tmp_path: Path, rate: Fraction, count: int) -> None:
    with VideoWriter(tmp_path / 'c.mp4', 64, 48, rate, preset='ultrafast') as writer:
        for image in smooth_images(count):
            writer.write(image)
    shown = list(resample_frames(tmp_path / 'c.mp4'))
    assert len(shown) == pytest.approx(count / rate * 25, abs=1)
    if rate == 25:
        frames = [frame.image for frame in read_frames(tmp_path / 'c.mp4')]
        assert np.array_equal(shown, frames)


def test_closing_does_not_wait_for_threads_that_log(tmp_path: Path) -> None:
    """The decoder was freed under the GIL, which its threads take to log: the process stood still."""
    path = make_file(tmp_path / 'a.mp4', range(30), Fraction(1, 30), (320, 240))
    script = (f'import av\nfrom gavn.media import read_frames\nav.logging.set_level(av.logging.DEBUG)\n'
              f'av.logging.set_libav_level(av.logging.DEBUG)\n'
              f'for _ in range(60):\n    frames = read_frames({str(path)!r})\n    next(frames)\n'
              f'    frames.close()\nprint("closed")\n')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120,
                          env={**os.environ, 'PYTHONPATH': str(Path(gavn.__file__).parents[1])})
    assert done.stdout.endswith('closed\n')


def test_the_duration_of_matroska_is_that_of_its_video(tmp_path: Path) -> None:
    """Subtitles that last longer, and a late video, counted."""
    made = make_file(tmp_path / 'a.mp4', [3000 * i for i in range(60, 80)], Fraction(1, 30000), last=3000,
                     audio=np.zeros(16000, np.int16))
    longer = tmp_path / 'longer.mkv'
    with av.open(str(made)) as source, av.open(str(longer), 'w') as output:
        copies = {stream: output.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        credits = output.add_mux_stream('subrip')
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                output.mux(packet)
        words = av.Packet(b'credits')
        words.stream, words.time_base, words.pts, words.dts, words.duration = (
            credits, Fraction(1, 1000), 1500, 1500, 10000)
        output.mux(words)
    assert probe(longer).duration == pytest.approx(2, abs=0.01)
