"""Damaged files: no frame vanishes that had a packet, and every frame keeps its own time."""
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import spans, zero

from gavn.media import Frame, probe, read_frames

COUNT = 40
_OPTIONS = {'crf': '10', 'preset': 'veryfast', 'g': '15', 'bf': '2', 'x264-params': 'b-adapt=0:scenecut=0'}


def noise(path: Path) -> Path:
    """Images that an encoder spends many bytes on, in an order of decoding that is not that of time."""
    rng = np.random.default_rng(0)
    with av.open(str(path), 'w', container_options={'movflags': '+faststart'}) as output:
        video = output.add_stream('libx264', rate=25, options=_OPTIONS)
        video.width, video.height = 64, 48
        for number in range(COUNT):
            image = (rng.integers(0, 256, (48, 64, 3)) // 2 + 3 * number).astype(np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
    return path


def same(frame: Frame, other: Frame) -> bool:
    return np.array_equal(frame.image, other.image)


@pytest.mark.parametrize('packets', [range(10, 14), range(3), range(36, 40), [5, 20, 39]], ids=str)
@pytest.mark.parametrize('ending', ['.mp4', '.mkv'])
def test_lost_packets_are_replaced_by_the_previous_frame(
    tmp_path: Path, ending: str, packets: range, caplog: pytest.LogCaptureFixture,
) -> None:
    path = noise(tmp_path / f'noise{ending}')
    good, places = list(read_frames(path)), spans(path)
    zero(path, *(places[number][:2] for number in packets))
    found = list(read_frames(path))
    assert [frame.pts for frame in found] == [frame.pts for frame in good]
    assert [frame.index for frame in found] == list(range(COUNT))
    repeats = [number for number, frame in enumerate(found) if frame.repeated]
    assert repeats and re.search(r' [1-9]\d* packets could not be decoded', caplog.text)
    for number in repeats:
        shown = found[number - 1] if number else next(frame for frame in found if not frame.repeated)
        assert same(found[number], shown)
    untouched = min(places[number][2] for number in packets)
    assert all(same(a, b) for a, b in zip(found, good, strict=True) if a.pts < untouched)


def test_the_clock_starts_with_a_frame_that_is_lost(tmp_path: Path) -> None:
    path = noise(tmp_path / 'noise.mp4')
    pos, size, _ = spans(path)[0]
    zero(path, (pos, size))
    found = list(read_frames(path))
    assert probe(path).start == 0 and found[0].repeated and found[0].time == 0
    assert found[-1].time == pytest.approx((COUNT - 1) / 25)


def test_a_hole_in_a_transport_stream_moves_nothing(tmp_path: Path) -> None:
    path = noise(tmp_path / 'noise.ts')
    good = {frame.pts: frame for frame in read_frames(path)}
    size = path.stat().st_size
    zero(path, (size // 2, 3000))
    found = list(read_frames(path))
    assert len(found) > COUNT // 2 and {frame.pts for frame in found} <= set(good)
    assert all(a.pts < b.pts for a, b in pairwise(found))
    assert all(same(frame, good[frame.pts]) for frame in found[:COUNT // 4])
    assert found[-1].pts == max(good)


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.ts'])
def test_a_file_that_breaks_off_is_read_to_its_end(tmp_path: Path, ending: str) -> None:
    path = noise(tmp_path / f'noise{ending}')
    good, places = list(read_frames(path)), spans(path)
    pos, size, _ = places[30]
    path.write_bytes(path.read_bytes()[:pos + size // 2])
    found = list(read_frames(path))
    whole = {stamp for _, _, stamp in places[:30]}
    assert {frame.pts for frame in found} >= whole
    assert all(same(a, b) for a, b in zip(found, good, strict=False) if a.pts < places[30][2])
    assert not any(frame.repeated for frame in found[:25])


def test_frames_that_are_not_shown_are_no_loss(tmp_path: Path) -> None:
    """An edit list that leaves out the first frames is no damage."""
    path = noise(tmp_path / 'noise.mp4')
    cut = tmp_path / 'cut.mp4'
    with av.open(str(path)) as given, av.open(str(cut), 'w') as output:
        video = output.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
                packet.stream = video
                output.mux(packet)
    frames = list(read_frames(cut))
    assert not any(frame.repeated for frame in frames)
    assert len(frames) <= COUNT and frames[-1].time <= (COUNT - 1) / 25


def test_reading_starts_where_it_is_asked_to(tmp_path: Path) -> None:
    path = noise(tmp_path / 'noise.mp4')
    whole, rest = list(read_frames(path)), list(read_frames(path, start=17))
    assert [(frame.index, frame.pts, frame.time) for frame in rest] == [
        (frame.index, frame.pts, frame.time) for frame in whole[17:]]
    assert all(same(a, b) for a, b in zip(rest, whole[17:], strict=True))
    assert list(read_frames(path, start=COUNT)) == []
    assert probe(path).frame_rate == Fraction(25)
