"""Trouble on the way to a restored video: what is told, what is kept, what nothing is left of."""
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_files import left, spans, with_audio, zero
from restore_fakes import audio_packets, fixed_face, make_restorer, smooth_images, tone, write_video

from gavn.cli import main as cli
from gavn.faces.tracker import NoFace
from gavn.media import mux, probe, read_audio, read_frames
from gavn.media import output as media_output
from gavn.restoration import job, restore_video, resume_state

FRAMES, SEGMENT_FRAMES = 12, 5


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(resume_state, 'SEGMENT_FRAMES', SEGMENT_FRAMES)
    monkeypatch.setattr(job, 'follow_faces', fixed_face())


@pytest.fixture
def source(tmp_path) -> Path:
    return write_video(tmp_path / 'in.mp4', FRAMES, audio=0.48)


@pytest.fixture
def gavn(weights, tmp_path) -> Callable[..., int]:
    def run(source: Path, *args: str) -> int:
        return cli.main(['restore', str(source), '-o', str(tmp_path / 'out.mp4'), '--no-report', *args,
                         '--weights', str(weights)])
    return run


def test_lost_packets_do_not_shift_frames(source, tmp_path):
    zero(source, *(place[:2] for place in spans(source)[6:9]))
    report = restore_video.restore_video(source, tmp_path / 'out.mp4', make_restorer())
    assert report.frames_in == report.frames_out == FRAMES and report.repeated >= 2
    assert any('cannot be decoded: the previous frame' in notice for notice in report.notices)
    assert [f.pts for f in read_frames(tmp_path / 'out.mp4')] == [f.pts for f in read_frames(source)]
    assert audio_packets(tmp_path / 'out.mp4') == audio_packets(source)


@pytest.mark.parametrize('ending', ['mkv', 'avi'])
def test_a_truncated_video_is_reported(tmp_path, ending):
    """The first part of a download was restored without a word."""
    whole, part = (tmp_path / f'{name}.{ending}' for name in ('whole', 'part'))
    write_video(whole, 100, audio=6.)  # audio that is longer than the video is no damage
    part.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    for source in (whole, part):
        report = restore_video.restore_video(source, tmp_path / f'{source.stem}_out.mkv', make_restorer())
        told = [notice for notice in report.notices if 'it may be truncated' in notice]
        assert len(told) == (source == part) and (report.frames_in == 100) == (source == whole)


@contextmanager
def full(path: Path) -> Iterator[Path]:
    """A device without free space, in place of the output file."""
    part = path.with_name(f'.full{path.suffix}')
    part.symlink_to('/dev/full')
    try:
        yield part
    finally:
        part.unlink()


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a device that is always full (Linux)')
@pytest.mark.parametrize('moment', ['the second piece', 'the join'])
def test_a_full_disk_loses_nothing_that_is_done(source, tmp_path, gavn, monkeypatch, capsys, caplog, moment):
    assert gavn(source) == 0
    whole = (tmp_path / 'out.mp4').read_bytes()
    (tmp_path / 'out.mp4').unlink()
    finish, opened = resume_state.ResumeState.finish, []

    def finished(*args):
        finish(*args)
        opened.append(1)
        if moment == 'the second piece':
            broken.setattr(media_output, 'atomic_path', full)
        elif len(opened) == 3:
            broken.setattr(mux, 'atomic_path', full)

    with monkeypatch.context() as broken:
        broken.setattr(resume_state.ResumeState, 'finish', finished)
        assert gavn(source) == 1
    said = capsys.readouterr().err
    assert 'no space left on the disk of' in said and 'rerun the same command' in said
    assert left(tmp_path) == ['in.mp4', 'out.mp4.gavn']
    assert not [path for path in (tmp_path / 'out.mp4.gavn').iterdir() if 'joined' in path.name]
    assert gavn(source) == 0
    kept = SEGMENT_FRAMES if moment == 'the second piece' else FRAMES
    assert f'{kept} of {FRAMES} frames are done' in caplog.text
    assert (tmp_path / 'out.mp4').read_bytes() == whole and left(tmp_path) == ['in.mp4', 'out.mp4']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_at_the_beginning_leaves_nothing(source, tmp_path, gavn, monkeypatch, capsys, number):
    def no_room(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(resume_state.ResumeState, 'faces', property(lambda _: None, no_room))
    assert gavn(source) == 1
    assert f'no space left on the disk of {tmp_path}' in capsys.readouterr().err
    assert left(tmp_path) == ['in.mp4']


def test_silence_is_audio(tmp_path, gavn, capsys):
    source = tmp_path / 'in.mp4'
    write_video(source, 8, audio=0.32)
    quiet = with_audio(tmp_path / 'quiet.mp4', source, 'aac', np.zeros(5120, np.int16), 5120)
    assert gavn(quiet) == 0 and 'silent' not in capsys.readouterr().err
    assert audio_packets(tmp_path / 'out.mp4') == audio_packets(quiet) != []


@pytest.mark.parametrize('name', [b'A_ZZZ', b'A_AC3'], ids=['unknown', 'not what it says'])
def test_audio_that_cannot_be_decoded(tmp_path, weights, capsys, caplog, name):
    source = write_video(tmp_path / 'in.mkv', 8, audio=0.32)
    source.write_bytes(source.read_bytes().replace(b'A_AAC', name))
    target = tmp_path / 'out.mkv'
    assert cli.main(['restore', str(source), '-o', str(target), '--weights', str(weights)]) == 0
    assert ('cannot be decoded' if name == b'A_AC3' else 'no readable audio track') in caplog.text
    assert [f.time for f in read_frames(target)] == [f.time for f in read_frames(source)]
    if name == b'A_AC3':  # what is known by name is copied all the same
        assert audio_packets(target) == audio_packets(source) != []
    else:
        assert 'not copied: its codec is unknown' in caplog.text and not probe(target).audio_tracks


@pytest.mark.parametrize('address', ['https://example.org/in.mp4', 's3://bucket/in.mp4'])
def test_an_address_is_told_from_a_missing_file(tmp_path, gavn, capsys, address):
    """"check the path" sent users to look for a folder `https:`."""
    assert gavn(Path(address)) == 4
    said = capsys.readouterr().err
    assert 'in.mp4: no such file; download it first, because addresses are not opened' in said


def test_audio_that_does_not_fit_is_converted(tmp_path, gavn, caplog):
    source = tmp_path / 'in.wmv'
    with av.open(str(source), 'w', format='asf') as output:
        shown = output.add_stream('wmv2', rate=25)
        shown.width, shown.height, shown.pix_fmt = 96, 80, 'yuv420p'
        audio = output.add_stream('wmav2', rate=44100, layout='mono')
        audio.codec_context.bit_rate = 64000
        block = av.AudioFrame.from_ndarray(tone(2)[None], format='s16', layout='mono')
        block.sample_rate = 44100
        for image in smooth_images(6):
            output.mux(shown.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux([*shown.encode(None), *audio.encode(block), *audio.encode(None)])
    assert gavn(source) == 0
    assert 'stream 1 (audio) is converted from wmav2 to AAC: .mp4 does not support it' in caplog.text
    original, converted = (read_audio(path).astype(float) for path in (source, tmp_path / 'out.mp4'))
    assert np.corrcoef(original[5000:9000], converted[5000:9000])[0, 1] > 0.9  # 0.85: a sample aside


def test_no_face_at_all(source, tmp_path, gavn, monkeypatch, capsys):
    def none(*_: object, **__: object) -> None:
        raise NoFace('no face in 24 frames')

    monkeypatch.setattr(job, 'follow_faces', none)
    assert gavn(source) == 3
    assert 'no output was written' in capsys.readouterr().err and left(tmp_path) == ['in.mp4']


def write_image(path: Path) -> None:
    path.write_bytes(cv2.imencode('.png' if 'png' in path.name else '.jpg', smooth_images(1)[0])[1].tobytes())


def write_audio_alone(path: Path) -> None:
    with av.open(str(path), 'w') as output:
        audio = output.add_stream('aac', rate=16000, layout='mono')
        block = av.AudioFrame.from_ndarray(tone(0.3)[None], format='s16', layout='mono')
        block.sample_rate = 16000
        output.mux([*audio.encode(block), *audio.encode(None)])


@pytest.mark.parametrize(('name', 'make', 'code', 'words'), [
    *((name, write_image, 4, 'not a video') for name in ('in.png', 'in.jpg')),
    ('png.mp4', write_image, 4, 'images, texts and playlists'),
    ('in.txt', lambda path: path.write_text('a letter\n' * 99), 4, 'texts and playlists'),
    ('in.mp4', lambda path: path.write_text('a letter\n' * 99), 4, 'no readable media file'),
    ('in.mp4', lambda path: path.write_bytes(b''), 4, 'no readable media file'),
    ('in.mp4', lambda path: None, 4, 'no such file; check the path'),
    ('in.m4a', write_audio_alone, 4, 'no video stream'),
    ('folder', lambda path: path.mkdir(), 2, 'folder')])
def test_what_is_no_video(tmp_path, gavn, capsys, name, make, code, words):
    make(tmp_path / name)
    before = left(tmp_path)
    assert gavn(tmp_path / name) == code
    said = capsys.readouterr().err
    assert said.startswith('error: ') and words in said and name in said
    assert left(tmp_path) == before


def test_one_bar_for_each_thing_that_is_done(source, gavn, capsys):
    assert gavn(source) == 0
    bars = [line.rpartition('\r')[2] for line in capsys.readouterr().err.split('\n')]
    assert [bar.partition(':')[0] for bar in bars if f'/{FRAMES}' in bar] == [
        'finding faces', 'reading audio', 'restoring']


@pytest.mark.parametrize(('preview', 'frames'), [('0.1', 3), ('0.28', 7)])
def test_the_bar_of_a_preview_ends_at_its_frames(source, gavn, capsys, preview, frames):
    """2.5 frames were expected as 2; the bar lost its total at the third."""
    assert gavn(source, '--preview', preview) == 0
    said = capsys.readouterr().err
    assert f'finding faces: 100%|##########| {frames}/{frames}' in said.replace('█', '#')
