"""The memory of a restoration does not grow with the length of its video."""
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from media_files import make_file

MEGA = 1 << 20
CEILING = 24 * MEGA  # the planes and the image of 73 frames
WIDTH, HEIGHT, FRAMES = 320, 240, 25
SCRIPT = Path(__file__).parents[1] / 'helpers/memory_restore.py'


def looped(source: Path, target: Path, times: int) -> Path:
    """A video over and over, without being encoded anew."""
    with av.open(str(source)) as given, av.open(str(target), 'w') as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream, opaque=True)
        packets = [packet for packet in given.demux(stream) if packet.size]
        length = sum(packet.duration for packet in packets)
        for round_ in range(times):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + round_ * length, packet.dts + round_ * length
                again.time_base, again.is_keyframe, again.stream = packet.time_base, packet.is_keyframe, copy
                output.mux(again)
    return target


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs the peak of resident memory')
def test_ten_times_the_length_takes_the_same_memory(tmp_path: Path) -> None:
    short = make_file(tmp_path / 'short.mp4', range(0, 40 * FRAMES, 40), Fraction(1, 1000), (WIDTH, HEIGHT),
                      last=40)
    long = looped(short, tmp_path / 'long.mp4', 10)
    told = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(short), str(long), str(long)],
        capture_output=True, text=True, check=False, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert told.returncode == 0, told.stderr
    once, ten_times, hoarded = map(int, told.stdout.split())
    assert ten_times - once < CEILING
    assert hoarded - ten_times > 2 * CEILING  # so much would be seen if every frame were kept
    with av.open(str(tmp_path / '1.mp4')) as result:
        assert result.streams.video[0].frames == 10 * FRAMES
