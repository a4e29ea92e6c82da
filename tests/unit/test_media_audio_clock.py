"""Audio on the clock of the first frame."""
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import BASE, make_file, remux, tone

from gavn.audio.gaps import silent_blocks
from gavn.media import iter_audio, probe, read_audio


def test_audio_starts_with_the_first_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 's.mp4', audio=tone(0.6))
    audio = read_audio(path)
    assert audio.dtype == np.int16 and len(audio) == pytest.approx(0.6 * 16000, abs=2100)
    assert np.corrcoef(audio[1000:8000], tone(0.6)[1000:8000])[0, 1] > 0.99


@pytest.mark.parametrize(
    ('video_start', 'audio_start', 'first'), [(0, 0.25, 0.25), (0.3, 0, -0.3), (0.5, 0.6, 0.1)])
def test_late_and_early_audio_stay_in_place(
    tmp_path: Path, video_start: float, audio_start: float, first: float,
) -> None:
    """`first`: when the tone begins, in seconds after the first frame."""
    stamps = [round(video_start * 30000) + 1000 * i for i in range(30)]
    path = make_file(tmp_path / 's.mp4', stamps, audio=tone(1.0), audio_start=audio_start)
    for file in (path, remux(path, tmp_path / 'copy.mp4')):
        audio = read_audio(file)
        assert probe(file).start == stamps[0] * BASE
        begin = round(max(first, 0) * 16000)
        assert np.abs(audio[:max(0, begin - 1100)]).max(initial=0) == 0
        wanted = tone(1.0)[round(max(-first, 0) * 16000):]
        assert np.corrcoef(audio[begin + 1500:begin + 9000], wanted[1500:9000])[0, 1] > 0.99


def lay(path: Path, *pieces: tuple[int, np.ndarray]) -> Path:
    """A file of audio alone, uncompressed, whose pieces stand at the samples given."""
    with av.open(str(path), 'w') as output:
        audio = output.add_stream('pcm_s16le', rate=16000, layout='mono')
        for start, samples in pieces:
            block = av.AudioFrame.from_ndarray(samples[None], format='s16', layout='mono')
            block.sample_rate, block.pts = 16000, start
            output.mux(audio.encode(block))
        output.mux(audio.encode(None))
    return path


def level(value: int, count: int = 8000) -> np.ndarray:
    return np.full(count, value, np.int16)


def test_gap_in_the_audio_is_silence(tmp_path: Path) -> None:
    audio = read_audio(lay(tmp_path / 'gap.mkv', (0, level(500)), (16000, level(500))))
    assert np.array_equal(audio, np.concatenate([level(500), level(0), level(500)]))


def test_the_first_of_overlapping_pieces_stays(tmp_path: Path) -> None:
    """The second piece continues where the first ends, the third lies within them, the fourth follows."""
    pieces = (0, level(500)), (4000, level(700)), (5600, level(800, 3200)), (12000, level(900))
    audio = read_audio(lay(tmp_path / 'over.mkv', *pieces))
    assert np.array_equal(audio, np.concatenate([level(500), level(700, 4000), level(900)]))


def test_an_hour_before_the_audio_takes_no_memory(tmp_path: Path) -> None:
    blocks = list(map(len, iter_audio(lay(tmp_path / 'late.mkv', (3600 * 16000, level(500))))))
    assert sum(blocks) == 3600 * 16000 + 8000 and max(blocks) <= 1 << 16


@pytest.mark.parametrize('samples', [-5, 0, 1, (1 << 16) - 1, 1 << 16, 200000])
def test_silence_in_blocks(samples: int) -> None:
    blocks = list(silent_blocks(samples))
    assert sum(map(len, blocks)) == max(0, samples) and all(map(len, blocks))
    assert not any(block.any() or block.dtype != np.int16 for block in blocks)


def test_audio_streams(tmp_path: Path) -> None:
    """A minute of audio, 1.9 MB, passes through far less memory than it is."""
    path = lay(tmp_path / 'long.wav', *((at, tone(1.0)) for at in range(0, 60 * 16000, 16000)))
    whole, position = read_audio(path), 0
    tracemalloc.start()
    for block in iter_audio(path):
        assert np.array_equal(block, whole[position:position + len(block)])
        position += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert position == len(whole) == 60 * 16000 and peak < 200_000


def test_audio_is_mixed_and_resampled(tmp_path: Path) -> None:
    path = tmp_path / 'stereo.wav'
    samples = np.stack([tone(0.5, 44100), np.zeros(22050, np.int16)], axis=1)
    with av.open(str(path), 'w') as output:
        track = output.add_stream('pcm_s16le', rate=44100, layout='stereo')
        block = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format='s16', layout='stereo')
        block.sample_rate = 44100
        output.mux(track.encode(block))
        output.mux(track.encode(None))
    audio = read_audio(path)
    assert len(audio) == pytest.approx(8000, abs=20)
    assert np.corrcoef(audio[100:7900], tone(0.5)[100:7900])[0, 1] > 0.99


def test_no_audio_is_none(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'mute.mp4')
    assert read_audio(path) is None and iter_audio(path) is None
