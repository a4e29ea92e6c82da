"""Which of several audio tracks is read, and how each gets into a container."""
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import make_file, packets, remux, smooth_images, tone

from gavn.audio.gaps import AudioGap
from gavn.media import fitting_ending, iter_audio, probe, read_audio
from gavn.media.audio import default_audio_stream
from gavn.media.resampler import Resampler

RATE = 44100
VIDEOS = {'.wmv': 'wmv2', '.ts': 'mpeg2video'}  # encoders that the container takes


def with_audio_tracks(path: Path, *codecs: str, rate: int = RATE, silent: tuple[int, ...] = ()) -> Path:
    """A video with a audio track of each codec, 0.4 s of a tone; `silent` ones are announced alone."""
    with av.open(str(path), 'w') as output:
        video = output.add_stream(VIDEOS.get(path.suffix, 'mpeg4'), rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
        tracks = [output.add_stream(codec, rate=rate, layout='mono') for codec in codecs]
        for track in tracks:
            track.codec_context.bit_rate = 64000
        for image in smooth_images(10):
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
        for index, track in enumerate(tracks):
            block = av.AudioFrame.from_ndarray(tone(0.4, rate)[None], format='s16', layout='mono')
            block.sample_rate = rate
            if index not in silent:
                output.mux([*track.encode(block), *track.encode(None)])
    return path


@pytest.mark.parametrize('broken', [b'A_ZZZ', b'A_AC3'], ids=['unknown', 'not what it says'])
def test_the_second_audio_track_replaces_an_undecodable_first(tmp_path: Path, broken: bytes) -> None:
    path = with_audio_tracks(tmp_path / 'a.mkv', 'aac', 'aac', rate=16000)
    path.write_bytes(path.read_bytes().replace(b'A_AAC', broken, 1))
    assert default_audio_stream(path) == 2
    audio = read_audio(path)
    assert np.corrcoef(audio[2000:6000], tone(0.4)[2000 - 1024:6000 - 1024])[0, 1] > 0.9 or (
        np.corrcoef(audio[2000:6000], tone(0.4)[2000:6000])[0, 1] > 0.9)  # PyAV 19 leaves out the lead-in


def test_no_audio_that_is_known_is_none(tmp_path: Path) -> None:
    path = with_audio_tracks(tmp_path / 'a.mkv', 'aac')
    path.write_bytes(path.read_bytes().replace(b'A_AAC', b'A_ZZZ'))
    assert default_audio_stream(path) is None and read_audio(path) is None


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.mov'])
def test_audio_streams_without_packets_are_left_out(tmp_path: Path, caplog, ending: str) -> None:
    source = with_audio_tracks(tmp_path / 'a.ts', 'mp2', 'aac', rate=16000, silent=(1,))
    assert probe(source).audio_tracks == 2
    copy = remux(source, tmp_path / f'b{ending}')
    assert probe(copy).audio_tracks == 1 and packets(copy, 'audio')
    assert 'a.ts: stream 2 (audio) is not copied: it contains no audio (aac)' in caplog.text


COPIED = [('pcm_mulaw', '.avi', '.mkv'), ('pcm_alaw', '.avi', '.mkv'), ('pcm_mulaw', '.avi', '.mov'),
          ('adpcm_ms', '.avi', '.mkv'), ('wmav2', '.wmv', '.mkv'), ('pcm_mulaw', '.mov', '.mov')]
needs_18 = pytest.mark.skipif(int(av.__version__.split('.')[0]) < 18, reason='PyAV 17 converts these')


@needs_18
@pytest.mark.parametrize(('codec', 'source', 'target'), COPIED)
def test_audio_goes_into_a_container_that_holds_it(tmp_path: Path, caplog, codec, source, target) -> None:
    given = with_audio_tracks(tmp_path / f'a{source}', codec)
    copy = remux(given, tmp_path / f'b{target}')
    assert 'converted' not in caplog.text
    before, after = (b''.join(content for _, content in packets(path, 'audio')) for path in (given, copy))
    assert before == after
    assert fitting_ending(given, target) == target


@pytest.mark.parametrize(('codec', 'source', 'target', 'new'), [
    ('pcm_mulaw', '.avi', '.mp4', 'AAC'), ('wmav2', '.wmv', '.mp4', 'AAC'), ('wmav2', '.wmv', '.mov', 'AAC'),
    ('adpcm_ms', '.avi', '.mp4', 'AAC'), ('pcm_u8', '.avi', '.mp4', 'FLAC')])
def test_audio_that_is_refused_is_converted(tmp_path: Path, caplog, codec, source, target, new) -> None:
    given = with_audio_tracks(tmp_path / f'a{source}', codec)
    copy = remux(given, tmp_path / f'b{target}')
    assert f'stream 1 (audio) is converted from {codec} to {new}: {target} does not support it' in caplog.text
    before, after = (np.abs(np.fft.rfft(read_audio(path)[1600:4800].astype(float))) for path in (given, copy))
    assert before.argmax() == after.argmax() == 88  # 440 Hz in 0.2 s
    assert before.max() == pytest.approx(after.max(), rel=0.1)


@needs_18
@pytest.mark.parametrize(('codec', 'source', 'target', 'advice'), [
    ('pcm_mulaw', '.avi', '.mp4', 'it; .mkv does; .mov does'), ('adpcm_ms', '.avi', '.mp4', 'it; .mkv does'),
    ('libopencore_amrnb', '.3gp', '.mkv', 'it; .mov does')])
def test_conversion_notice_names_containers(tmp_path: Path, caplog, codec, source, target, advice) -> None:
    remux(with_audio_tracks(tmp_path / f'a{source}', codec, rate=8000), tmp_path / f'b{target}')
    assert len(caplog.messages) == 1 and caplog.messages[0].endswith(f': {target} does not support {advice}')


@needs_18
def test_the_container_that_can_hold_the_audio(tmp_path: Path) -> None:
    assert fitting_ending(with_audio_tracks(tmp_path / 'a.mp4', 'aac'), '.mp4') == '.mp4'
    assert fitting_ending(with_audio_tracks(tmp_path / 'a.MOV', 'pcm_mulaw'), '.MOV') == '.MOV'
    assert fitting_ending(with_audio_tracks(tmp_path / 'b.avi', 'pcm_mulaw'), '.mp4') == '.mkv'
    assert fitting_ending(make_file(tmp_path / 'silent.mp4'), '.mp4') == '.mp4'


def strung_together(path: Path, hours: float) -> Path:
    """Audio that ends and continues hours later."""
    with av.open(str(path), 'w') as output:
        track = output.add_stream('pcm_s16le', rate=16000, layout='mono')
        for start in (0, round(hours * 3600 * 16000)):
            block = av.AudioFrame.from_ndarray(tone(0.5)[None], format='s16', layout='mono')
            block.sample_rate, block.pts = 16000, start
            output.mux(track.encode(block))
    return path


def test_a_hole_of_hours_is_no_samples(tmp_path: Path) -> None:
    path = strung_together(tmp_path / 'a.mkv', 26)
    blocks = list(iter_audio(path, 16000, True))
    assert [len(block) for block in blocks if isinstance(block, AudioGap)] == [26 * 3600 * 16000 - 8000]
    assert sum(map(len, blocks)) == 26 * 3600 * 16000 + 8000
    short = strung_together(tmp_path / 'b.mkv', 0.01)
    assert not any(isinstance(block, AudioGap) for block in iter_audio(short, 16000, True))


@pytest.mark.parametrize(('codec', 'ending'), [('aac', '.mkv'), ('libopus', '.mkv'), ('aac', '.mp4')])
def test_a_track_that_begins_late_is_copied(tmp_path: Path, codec: str, ending: str) -> None:
    """Packets of the video and of the first track, which are many, hid it."""
    rate, source = 48000, tmp_path / f'late{ending}'
    with av.open(str(source), 'w') as output:
        video = output.add_stream('mpeg4', rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
        tracks = [output.add_stream(codec, rate=rate, layout='mono') for _ in range(2)]
        found = []
        for _ in range(50):
            found += video.encode(av.VideoFrame(64, 48, 'yuv420p'))
        found += video.encode(None)
        for track, start, seconds in ((tracks[0], 0, 50), (tracks[1], 48, 2)):
            block = av.AudioFrame.from_ndarray(tone(seconds, rate)[None], format='s16', layout='mono')
            block.sample_rate, block.pts, block.time_base = rate, start * rate, Fraction(1, rate)
            found += [*track.encode(block), *track.encode(None)]
        for packet in sorted(found, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    with av.open(str(source)) as opened:
        before = [packet.stream.index for packet in opened.demux() if packet.size].index(2)
    assert before > 2000 and fitting_ending(source, ending) == ending
    copy = remux(source, tmp_path / f'copy{ending}')
    with av.open(str(copy)) as opened:
        names = [stream.codec_context.name for stream in opened.streams.audio]
    assert names == 2 * [codec.removeprefix('lib')]


def test_converted_audio_may_change_its_layout(tmp_path: Path) -> None:
    """The resampler passed the frames of the second layout on as they were."""
    stereo, mono = ([av.AudioFrame(layout=layout, samples=1024) for _ in range(3)]
                    for layout in ('stereo', 'mono'))
    resampler, counts = Resampler('fltp', 'stereo', RATE), []
    for number, frame in enumerate(stereo + mono + stereo):
        frame.sample_rate, frame.pts, frame.time_base = RATE, 1024 * number, Fraction(1, RATE)
        counts += [(piece.format.name, piece.layout.name, piece.samples) for piece in resampler(frame)]
    counts += [(piece.format.name, piece.layout.name, piece.samples) for piece in resampler.rest()]
    assert {count[:2] for count in counts} == {('fltp', 'stereo')}
    assert sum(count[2] for count in counts) == 9 * 1024
