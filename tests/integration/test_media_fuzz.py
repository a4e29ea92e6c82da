"""Damaged containers end in a video, or in an error that says so: never in anything else."""
from contextlib import closing
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from container_mutators import mutant

from gavn.audio.gaps import AudioGap
from gavn.media import MediaError, SegmentWriter, VideoReader, encodable, iter_audio, read_audio

CONTAINERS = {  # encoders of video and audio, by ending
    '.mp4': ('libx264', 'aac'), '.mkv': ('libx264', 'flac'), '.mov': ('mpeg4', 'pcm_s16le'),
    '.avi': ('mpeg4', 'mp3'), '.ts': ('mpeg2video', 'mp2'), '.webm': ('libvpx', 'libopus'),
    '.wmv': ('wmv2', 'wmav2'), '.flv': ('flv', 'aac'), '.mpg': ('mpeg2video', 'mp2'),
    '.nut': ('ffv1', 'pcm_s16le')}
SIDE, FRAMES, RATE = 112, 12, 48000
SHORT, LONG = 200, 3000


@pytest.fixture(scope='module')
def corpus() -> dict[str, bytes]:
    """Half a second of a drawn talking face in every container."""
    from tempfile import TemporaryDirectory

    from gavn.experiments.synthetic.head import identities, make_clip
    clip = make_clip(identities()[-1], 0, FRAMES / 25)
    audio = np.repeat(clip.audio, RATE // 16000)
    with TemporaryDirectory() as folder:
        paths = [Path(folder, f'clip{ending}') for ending in CONTAINERS]
        return {path.suffix: write(path, clip.frames[:, ::2, ::2], audio) for path in paths
                if set(CONTAINERS[path.suffix]) <= av.codecs_available}


def write(path: Path, frames: np.ndarray, audio: np.ndarray) -> bytes:
    video_codec, audio_codec = CONTAINERS[path.suffix]
    with av.open(str(path), 'w') as output:
        output.metadata['title'] = 'drawn'
        video = output.add_stream(video_codec, rate=25)
        video.width, video.height, video.pix_fmt = SIDE, SIDE, 'yuv420p'
        track = output.add_stream(audio_codec, rate=44100 if path.suffix == '.flv' else RATE, layout='mono')
        track.codec_context.bit_rate = 64000
        for image in frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='bgr24')))
        output.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(audio[None], format='s16', layout='mono')
        block.sample_rate, block.pts = RATE, 0
        output.mux([*track.encode(block), *track.encode(None)])
    return path.read_bytes()


def take_in(path: Path, folder: Path) -> int:
    """All that restoring does with a file but for the networks; the number of frames that come out."""
    video, piece, target = VideoReader.from_path(path), folder / 'piece.nut', folder / 'out.mkv'
    with SegmentWriter(piece, video.info, preset='ultrafast') as writer, closing(video.read()) as frames:
        for frame in islice(frames, 4 * FRAMES):
            writer.write(encodable(frame.av_frame, video.info.depth), frame.pts)
    for block in iter_audio(path, 16000, True) or ():
        assert isinstance(block, (np.ndarray, AudioGap))
    video.join(target, [piece], None, notice=lambda words: None)
    return writer.frames


def try_all(corpus: dict[str, bytes], seeds: range, folder: Path) -> dict[str, int]:
    """How often files were taken in, and refused in words; any other error fails."""
    outcomes = {'taken': 0, 'refused': 0}
    for seed in seeds:
        ending = list(corpus)[seed % len(corpus)]
        what, content = mutant(corpus[ending], seed)
        path = folder / f'clip{ending}'
        path.write_bytes(content)
        try:
            outcomes['taken'] += take_in(path, folder) > 0
        except MediaError as error:
            outcomes['refused'] += 1
            assert str(error)
        except Exception as error:
            raise AssertionError(f'{ending}, seed {seed}, {what}') from error
    return outcomes


def test_the_whole_corpus_is_read(corpus: dict[str, bytes], tmp_path: Path) -> None:
    assert len(corpus) >= 7
    for ending, content in corpus.items():
        path = tmp_path / f'clip{ending}'
        path.write_bytes(content)
        assert take_in(path, tmp_path) == FRAMES, ending
        assert len(read_audio(path)) > 3000, ending


def test_damaged_containers(corpus: dict[str, bytes], tmp_path: Path) -> None:
    outcomes = try_all(corpus, range(SHORT), tmp_path)
    assert outcomes['taken'] > SHORT / 4 and outcomes['refused'] > SHORT / 20, outcomes


@pytest.mark.slow
def test_many_damaged_containers(corpus: dict[str, bytes], tmp_path: Path) -> None:
    try_all(corpus, range(SHORT, LONG), tmp_path)
