"""Folders of images restored: as a video, as PNGs that keep all other pixels, with audio from elsewhere."""
import json
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from restore_fakes import (
    FACE,
    HEIGHT,
    WIDTH,
    audio_packets,
    fixed_face,
    make_restorer,
    smooth_images,
    write_video,
)

from gavn.cli import main as cli
from gavn.faces.geometry import crop_box
from gavn.media import (
    ImageWriter,
    MediaError,
    missing_numbers,
    probe,
    read_audio,
    read_frames,
)
from gavn.media.image_folder import read_image
from gavn.media.rgb import samples_of
from gavn.restoration import job, restore_video, resume_state
from gavn.restoration.output_path import OutputPathError
from gavn.restoration.settings import Settings
from gavn.runtime.file_names import images_in

GAIN = 20


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(2,)))


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    make_restorer(gain=GAIN).save(path)
    return path


def as_stored(image: np.ndarray, form: str) -> np.ndarray:
    """The image in other samples, all of whose bits are used."""
    wide = image.astype(np.uint16) * 257 + 3
    alpha = np.full((*image.shape[:2], 1), 77, np.uint8)
    return {'bgr': image, 'bgra': np.dstack([image, alpha]), 'grey': image[..., 1], 'grey16': wide[..., 1],
            'bgr16': wide, 'bgra16': np.dstack([wide, alpha * np.uint16(201)])}[form]


def write_folder(folder: Path, count: int = 11, form: str = 'bgr', ending: str = 'png') -> Path:
    """Images 8.png, 9.png, 10.png ..., in that order."""
    folder.mkdir()
    for index, image in enumerate(smooth_images(count)):
        assert cv2.imwrite(str(folder / f'{8 + index}.{ending}'), as_stored(image, form))
    return folder


def run(weights: Path, *args: object) -> int:
    return cli.main(['restore', *map(str, args), '--weights', str(weights)])


def stored(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_frames_become_a_video(weights, tmp_path):
    frames = write_folder(tmp_path / 'take.2')
    assert run(weights, frames, '--crf', '0', '--preset', 'ultrafast') == 0
    assert names(tmp_path) == ['take.2', 'take.2_gavn.mp4', 'take.2_gavn.mp4.json']
    info, shown = probe(tmp_path / 'take.2_gavn.mp4'), list(read_frames(tmp_path / 'take.2_gavn.mp4'))
    assert (info.frame_rate, info.pix_fmt, info.width, info.height) == (25, 'yuv420p', WIDTH, HEIGHT)
    assert [frame.time for frame in shown] == [index / 25 for index in range(11)]
    gains = [(frame.image[35, 45].astype(int) - image[35, 45]).mean()
             for frame, image in zip(shown, smooth_images(11), strict=True)]
    assert abs(gains[2]) < 3 and all(abs(gain - GAIN) < 4 for gain in gains[:2] + gains[3:])
    report = json.loads((tmp_path / 'take.2_gavn.mp4.json').read_text())
    assert report['input'] == {
        'width': WIDTH, 'height': HEIGHT, 'frame_rate': '25', 'codec': 'png', 'depth': 8, 'hdr': False,
        'rotation': 0, 'audio_tracks': 0, 'subtitle_tracks': 0}
    assert report['coverage'] == round(10 / 11, 4) and report['restored'] == 10
    assert any('the frame rate is 25; use --fps' in notice for notice in report['notices'])


@pytest.mark.parametrize(('form', 'ending'), [
    ('bgr', 'png'), ('bgra', 'png'), ('grey', 'bmp'), ('bgr', 'jpg'), ('bgr16', 'tif'), ('grey16', 'png'),
    ('bgra16', 'png')])
def test_frames_become_images_that_keep_every_other_pixel(weights, tmp_path, caplog, form, ending):
    frames = write_folder(tmp_path / 'frames', 4, form, ending)
    assert run(weights, frames, '--ext', 'png', '--no-report') == 0
    assert not any(words in caplog.text for words in ('H.264', 'opaque'))  # no video is encoded
    assert names(tmp_path) == ['frames', 'frames_gavn']
    assert names(tmp_path / 'frames_gavn') == ['10.png', '11.png', '8.png', '9.png']
    region = crop_box(FACE)
    for number in (8, 9, 10, 11):
        before, after = stored(frames / f'{number}.{ending}'), stored(tmp_path / f'frames_gavn/{number}.png')
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        change = after.astype(int) - before
        if number == 10:  # shows no face
            assert not change.any()
        else:
            gain = GAIN * (257 if after.dtype == np.uint16 else 1)
            assert np.allclose(np.atleast_1d(change[35, 45])[:3], gain, atol=gain / 10)
            change[int(region.y0):int(region.y1) + 1, int(region.x0):int(region.x1) + 1] = 0
            assert not change.any()
        assert after.shape[2:] != (4,) or np.array_equal(after[..., 3], before[..., 3])


def test_sixteen_bits_become_a_video_of_ten(weights, tmp_path):
    write_folder(tmp_path / 'frames', 3, 'bgr16')
    assert run(weights, tmp_path / 'frames', '-o', tmp_path / 'a.mkv', '--fps', '29.97') == 0
    info = probe(tmp_path / 'a.mkv')
    assert info.pix_fmt == 'yuv420p10le' and abs(info.frame_rate - 30000 / 1001) < 0.01  # .mkv rounds times


@pytest.mark.parametrize('name', ['voice.mkv', 'other.mp4'])
def test_audio_from_another_file(tmp_path, name):
    """In place of none and of its own: packets bit by bit, at their own times."""
    weights = tmp_path / 'w.safetensors'
    make_restorer(inputs=('lq', 'audio')).save(weights)
    voice = write_video(tmp_path / name, 12, audio=0.6)
    write_folder(tmp_path / 'frames', 5)
    talk = write_video(tmp_path / 'talk.mp4', 12, audio=0.48)
    for source, out in ((tmp_path / 'frames', 'a.mp4'), (talk, 'b.mp4')):
        assert run(weights, source, '--audio', voice, '-o', tmp_path / out) == 0
        assert probe(tmp_path / out).audio_tracks == 1
        written, given = audio_packets(tmp_path / out), audio_packets(voice)
        assert [content for _, content in written] == [content for _, content in given]
        assert all(abs(a - b) < 0.001 for (a, _), (b, _) in zip(written, given, strict=True))
    report = json.loads((tmp_path / 'a.mp4.json').read_text())
    assert any('ends 0.4 s after the video' in notice for notice in report['notices'])


def plain_wav(path: Path, channels: int) -> tuple[Path, np.ndarray]:
    """A file whose header names no channels, and its samples."""
    samples = np.arange(3200, dtype=np.int16)
    with wave.open(str(path), 'wb') as file:
        file.setparams((channels, 2, 16000, 0, 'NONE', ''))
        file.writeframes(samples.tobytes())
    return path, samples


def test_plain_wav_goes_into_mp4(weights, tmp_path):
    """Which wants to know what its one channel is."""
    frames = write_folder(tmp_path / 'frames', 3)
    voice, samples = plain_wav(tmp_path / 'voice.wav', 1)
    assert run(weights, frames, '--audio', voice, '--no-report') == 0
    assert np.array_equal(read_audio(tmp_path / 'frames_gavn.mp4'), samples)


def all_samples(path: Path) -> np.ndarray:
    """Of a 16-bit audio track, channel after channel at each moment."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def test_channels_without_names_go_into_mp4_as_flac(weights, tmp_path, caplog):
    """.mkv takes them as they are."""
    frames, (voice, samples) = write_folder(tmp_path / 'frames', 3), plain_wav(tmp_path / 'voice.wav', 4)
    assert run(weights, frames, '--audio', voice, '--ext', 'mp4') == 0
    assert 'converted from pcm_s16le to FLAC: .mp4 does not support it' in caplog.text
    caplog.clear()
    assert run(weights, frames, '--audio', voice, '--no-report', '--ext', 'mkv') == 0
    assert 'converted' not in caplog.text
    for name in ('frames_gavn.mp4', 'frames_gavn.mkv'):
        assert np.array_equal(all_samples(tmp_path / name), samples), name


def test_the_network_uses_the_given_audio(tmp_path, monkeypatch):
    """In place of the audio of the video."""
    used = []

    def extract_features(video, *_):
        used.append(video.audio_path)
        raise MediaError('enough')

    monkeypatch.setattr(job, 'extract_features', extract_features)
    talk, voice = (write_video(tmp_path / name, 4, audio=0.2) for name in ('talk.mp4', 'voice.mp4'))
    for audio in (None, voice):
        with pytest.raises(MediaError, match='enough'):
            restore_video.restore_video(talk, tmp_path / 'out.mp4', make_restorer(inputs=('lq', 'audio')),
                                        Settings(audio=audio))
    assert used == [talk, voice]


@pytest.mark.parametrize(('args', 'code', 'words'), [
    (['{0}/frames/8.png'], 4, '8.png is an image, not a video'),
    (['{0}/frames/*.png'], 4, 'use their folder'),
    (['{0}/empty'], 2, 'no videos or images found'),
    (['{0}/frames', '--ext', 'png', '-o', '{0}/a.mp4'], 2, 'is the name of a video'),
    (['{0}/frames', '--ext', 'png', '-o', '{0}/full'], 2, 'full is not empty'),
    (['{0}/frames', '--ext', 'png', '-o', '{0}/full', '--force'], 2, 'PNGs, such as diary.txt'),
    (['{0}/frames', '--ext', 'png', '-o', '{0}/frames', '--force'], 2, 'never overwritten'),
    (['{0}/talk.mp4', '--ext', 'png'], 2, 'is a video, but images were requested'),
    (['{0}/frames', '--audio', '{0}/none.wav'], 4, 'no such file'),
    (['{0}/frames', '--audio', '{0}/talk.mp4'], 4, 'has no audio track'),
    (['{0}/frames', '{0}/talk.mp4', '--audio', '{0}/talk.mp4'], 2, 'for 2 inputs')])
def test_what_does_not_fit_is_reported(weights, tmp_path, capsys, args, code, words):
    write_folder(tmp_path / 'frames', 3)
    write_video(tmp_path / 'talk.mp4', 3, audio=None)
    for folder in ('empty', 'full'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'full/diary.txt').write_text('dear diary')
    assert run(weights, *(arg.format(tmp_path) for arg in args)) == code
    assert words in capsys.readouterr().err
    assert names(tmp_path) == ['empty', 'frames', 'full', 'talk.mp4']
    assert names(tmp_path / 'full') == ['diary.txt']


def test_images_that_are_no_video(weights, tmp_path, capsys):
    frames = write_folder(tmp_path / 'frames', 4)
    for name, content, words in (
            ('9.png', cv2.imencode('.png', np.zeros((8, 9, 3), np.uint8))[1], '9 x 8 pixels, but'),
            ('9.png', b'no image', '9.png is not a readable image'),
            ('9.png', (frames / '8.png').read_bytes()[:-3000], '9.png is not a readable image')):
        (frames / name).write_bytes(bytes(content))
        assert run(weights, frames) == 4 and words in capsys.readouterr().err
    (frames / '9.png').unlink()
    jpeg = cv2.imencode('.jpg', smooth_images(1)[0])[1].tobytes()
    (frames / '10.jpg').write_bytes(jpeg)
    assert run(weights, frames, '--ext', 'png') == 2 and 'both become 10.png' in capsys.readouterr().err
    (frames / '10.jpg').write_bytes(jpeg[:-50])
    with pytest.raises(MediaError, match='truncated'):
        read_image(frames / '10.jpg')


def test_videos_beside_images(weights, tmp_path, capsys):
    """A poster beside videos does not make their folder a video."""
    folder = write_folder(tmp_path / 'talks', 1)
    write_video(folder / 'a.mp4', 3, audio=None)
    assert run(weights, folder, '--no-report') == 0
    assert names(folder) == ['8.png', 'a.mp4', 'a_gavn.mp4']
    assert 'contains videos and images' in capsys.readouterr().out


def test_order_and_gaps(tmp_path):
    for name in ('f10.png', 'f9.png', 'f012.png', '.f1.png', 'notes.txt'):
        (tmp_path / name).touch()
    found = images_in(tmp_path)
    assert [path.name for path in found] == ['f9.png', 'f10.png', 'f012.png'] and missing_numbers(found) == 1


def test_a_stopped_run_resumes(tmp_path, monkeypatch):
    """PNGs that are finished are not made again; with --force a folder of PNGs is replaced, not mixed."""
    monkeypatch.setattr(resume_state, 'SEGMENT_FRAMES', 4)
    frames, target = write_folder(tmp_path / 'frames'), tmp_path / 'out'
    target.mkdir()
    (target / 'old.png').touch()
    written = []
    write = ImageWriter.write

    def stopping(self, frame, pts):
        write(self, frame, pts)
        written.append(pts)
        if len(written) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(ImageWriter, 'write', stopping)
    with pytest.raises(OutputPathError, match='not empty'):
        restore_video.restore_video(frames, target, make_restorer(), Settings(write_images=True))
    with pytest.raises(KeyboardInterrupt, match='rerun the same command'):
        restore_video.restore_video(frames, target, make_restorer(), Settings(write_images=True),
                                    overwrite=True)
    assert names(target) == ['old.png']
    (tmp_path / 'out.gavn/images/.14.x.part.png').touch()  # as a run that is killed leaves it
    report = restore_video.restore_video(
        frames, target, make_restorer(), Settings(write_images=True), overwrite=True)
    assert report.resumed == 4 and written == [0, 1, 2, 3, 4, 5, *range(4, 11)]
    assert names(tmp_path) == ['frames', 'out'] and sorted(names(target)) == sorted(names(frames))
    first = samples_of(read_image(target / '8.png')).astype(int)[35, 45] - smooth_images(1)[0][35, 45]
    assert np.abs(first - GAIN).max() <= 2
