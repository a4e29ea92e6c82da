"""Reading and writing of video files: sound, time and shape go through unchanged."""
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from gavn.utils.media import (
    EmptyVideo,
    MediaError,
    NoVideo,
    RemuxWriter,
    UnreadableMedia,
    VideoWriter,
    compress,
    probe,
    read_audio,
    read_frames,
    resample_frames,
    upright,
)

VARIABLE = (0, 1001, 2002, 4100, 4101, 9000, 9500, 12012, 13013, 20000)  # time stamps in 1 / 30000 s
BASE = Fraction(1, 30000)


def pictures(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Smooth pictures that differ in brightness, so that an encoder hardly changes them."""
    ramp = np.linspace(0, 60, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return [(ramp + [10, 30, 50] + 90 * i / max(1, count)).astype(np.uint8) for i in range(count)]


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def make_file(
    path: Path, stamps: Sequence[int] = VARIABLE, base: Fraction = BASE, size: tuple[int, int] = (64, 48),
    sound: np.ndarray | None = None, sound_start: float = 0, rotation: int = 0, **tags: int,
) -> Path:
    """A file made with PyAV alone: pictures at the time stamps given, sound as AAC from a given second on."""
    with av.open(str(path), 'w') as output:
        video = output.add_stream('libx264', rate=30, options={'crf': '5', 'preset': 'ultrafast'})
        video.width, video.height, video.pix_fmt = *size, 'yuv420p'
        video.codec_context.time_base = base
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        audio = output.add_stream('aac', rate=16000, layout='mono') if sound is not None else None
        for stamp, image in zip(stamps, pictures(len(stamps), *size), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            frame.pts, frame.time_base = stamp, base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for at in range(0, 0 if sound is None else len(sound), 1024):
            block = av.AudioFrame.from_ndarray(sound[None, at:at + 1024], format='s16', layout='mono')
            block.sample_rate, block.pts = 16000, at + round(sound_start * 16000)
            output.mux(audio.encode(block))
        if audio is not None:
            output.mux(audio.encode(None))
    return path


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and content of every packet of a stream."""
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        return [(packet.pts * Fraction(stream.time_base), bytes(packet))
                for packet in container.demux(stream) if packet.size]


def remux(source: Path, target: Path, **options: object) -> Path:
    with RemuxWriter(target, source, **({'crf': 10, 'preset': 'ultrafast'} | options)) as writer:
        for frame in read_frames(source):
            writer.write(frame.image, frame.pts)
    return target


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def stamps_of(path: Path) -> list[Fraction]:
    base = probe(path).time_base
    return [frame.pts * base for frame in read_frames(path)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_file(tmp_path / 'source.mp4', sound=tone(0.8))


# reading


def test_probe_and_frames_agree(source: Path) -> None:
    info, frames = probe(source), list(read_frames(source))
    assert (info.width, info.height, info.frames, info.rotation) == (64, 48, len(VARIABLE), 0)
    assert (info.codec, info.pix_fmt, info.has_audio, info.time_base) == ('h264', 'yuv420p', True, BASE)
    assert [frame.index for frame in frames] == list(range(len(VARIABLE)))
    assert [frame.time for frame in frames] == pytest.approx([stamp / 30000 for stamp in VARIABLE])
    for frame, image in zip(frames, pictures(len(VARIABLE)), strict=True):
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - image).mean() < 2


def test_frame_times_count_from_the_first_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'late.mp4', stamps=(15000, 16000, 18000))
    assert probe(path).start == Fraction(1, 2)
    assert [frame.time for frame in read_frames(path)] == pytest.approx([0, 1 / 30, 0.1])


@pytest.mark.parametrize(
    ('rotation', 'corner'), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_rotation_is_applied(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    """The stored picture's darkest corner is top left; turned counter-clockwise it goes down, right, up."""
    path = make_file(tmp_path / 'turned.mp4', rotation=rotation, sound=tone(0.5))
    info, frame = probe(path), next(read_frames(path))
    assert info.rotation == rotation
    assert frame.image.shape[:2] == (info.height, info.width) == ((64, 48) if rotation % 180 else (48, 64))
    assert frame.image[corner].sum() == pytest.approx(frame.image.sum(2).min(), abs=6)
    copy = remux(path, tmp_path / 'copy.mp4')
    assert probe(copy).rotation == 0 and (probe(copy).width, probe(copy).height) == (info.width, info.height)
    assert np.abs(next(read_frames(copy)).image.astype(int) - frame.image).mean() < 2


def test_upright_follows_the_angle() -> None:
    image = np.arange(6).reshape(2, 3, 1)
    assert upright(image, -90)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
    assert upright(image, 89.6)[..., 0].tolist() == [[2, 5], [1, 4], [0, 3]]


def test_frames_stream(tmp_path: Path) -> None:
    """Three hundred frames of 260 KB pass through far less memory than they are."""
    path = tmp_path / 'long.mp4'
    with VideoWriter(path, 352, 240, 25, preset='ultrafast') as writer:
        for image in pictures(300, 352, 240):
            writer.write(image)
    tracemalloc.start()
    assert sum(1 for _ in read_frames(path)) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 352 * 240 * 3


def test_damaged_packets_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / 'noise.mp4'
    with VideoWriter(path, 64, 48, 25, preset='ultrafast', crf=0) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    good = [frame.pts for frame in read_frames(path)]
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in spans[10:14]:
        content[start:start + size] = bytes(size)
    path.write_bytes(content)
    reader = read_frames(path)
    stamps = [frame.pts for frame in reader]
    assert reader.undecodable >= 1 and 20 < len(stamps) < 40
    assert set(stamps) <= set(good) and stamps == sorted(stamps)
    assert 'could not be decoded' in caplog.text


def test_constant_rate_from_variable_time(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'v.mp4', stamps=(0, 3000, 3600, 12000), base=Fraction(1, 30000))
    frames = [frame.image for frame in read_frames(path)]
    # shown: first at 0 s and 0.04 and 0.08, third from 0.12 s, fourth from 0.4 s for one average interval
    expected = [0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 3]
    found = [next(i for i, image in enumerate(frames) if np.array_equal(image, shown))
             for shown in resample_frames(path, 25)]
    assert found[:11] == expected and set(found[11:]) <= {3} and len(found) <= 14


@pytest.mark.parametrize(('rate', 'count'), [(25, 20), (30, 24), (Fraction(24000, 1001), 20), (50, 40)])
def test_constant_rate_keeps_the_length(tmp_path: Path, rate: Fraction, count: int) -> None:
    with VideoWriter(tmp_path / 'c.mp4', 64, 48, rate, preset='ultrafast') as writer:
        for image in pictures(count):
            writer.write(image)
    shown = list(resample_frames(tmp_path / 'c.mp4', 25))
    assert len(shown) == pytest.approx(count / rate * 25, abs=1)
    if rate == 25:
        frames = [frame.image for frame in read_frames(tmp_path / 'c.mp4')]
        assert np.array_equal(shown, frames)


# sound


def test_sound_starts_with_the_first_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 's.mp4', sound=tone(0.6))
    sound = read_audio(path)
    assert sound.dtype == np.int16 and len(sound) == pytest.approx(0.6 * 16000, abs=2100)
    assert np.corrcoef(sound[1000:8000], tone(0.6)[1000:8000])[0, 1] > 0.99


@pytest.mark.parametrize(
    ('video_start', 'sound_start', 'first'), [(0, 0.25, 0.25), (0.3, 0, -0.3), (0.5, 0.6, 0.1)])
def test_late_and_early_sound_stay_in_place(
    tmp_path: Path, video_start: float, sound_start: float, first: float,
) -> None:
    """`first`: when the tone begins, in seconds after the first frame."""
    stamps = [round(video_start * 30000) + 1000 * i for i in range(30)]
    path = make_file(tmp_path / 's.mp4', stamps, sound=tone(1.0), sound_start=sound_start)
    for file in (path, remux(path, tmp_path / 'copy.mp4')):
        sound = read_audio(file)
        assert probe(file).start == stamps[0] * BASE
        begin = round(max(first, 0) * 16000)
        assert np.abs(sound[:max(0, begin - 1100)]).max(initial=0) == 0
        wanted = tone(1.0)[round(max(-first, 0) * 16000):]
        assert np.corrcoef(sound[begin + 1500:begin + 9000], wanted[1500:9000])[0, 1] > 0.99


def test_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    path = tmp_path / 'gap.mkv'
    with av.open(str(path), 'w') as output:
        audio = output.add_stream('pcm_s16le', rate=16000, layout='mono')
        for start in (0, 16000):
            block = av.AudioFrame.from_ndarray(np.full((1, 8000), 500, np.int16), format='s16', layout='mono')
            block.sample_rate, block.pts = 16000, start
            output.mux(audio.encode(block))
        output.mux(audio.encode(None))
    sound = read_audio(path)
    assert len(sound) == 24000
    assert (sound[:8000] == 500).all() and (sound[8000:16000] == 0).all() and (sound[16000:] == 500).all()


def test_sound_is_mixed_and_resampled(tmp_path: Path) -> None:
    path = tmp_path / 'stereo.wav'
    samples = np.stack([tone(0.5, 44100), np.zeros(22050, np.int16)], axis=1)
    with av.open(str(path), 'w') as output:
        audio = output.add_stream('pcm_s16le', rate=44100, layout='stereo')
        block = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format='s16', layout='stereo')
        block.sample_rate = 44100
        output.mux(audio.encode(block))
        output.mux(audio.encode(None))
    sound = read_audio(path)
    assert len(sound) == pytest.approx(8000, abs=20)
    assert np.corrcoef(sound[100:7900], tone(0.5)[100:7900])[0, 1] > 0.99


def test_no_sound_is_none(tmp_path: Path) -> None:
    assert read_audio(make_file(tmp_path / 'mute.mp4')) is None


# writing


@pytest.mark.parametrize('ending', ['.mp4', '.mov'])
def test_remux_keeps_time_and_sound(source: Path, tmp_path: Path, ending: str) -> None:
    copy = remux(source, tmp_path / f'copy{ending}')
    assert stamps_of(copy) == stamps_of(source) == [stamp * BASE for stamp in VARIABLE]
    assert packets(copy, 'audio') == packets(source, 'audio') != []
    assert np.array_equal(read_audio(copy), read_audio(source))
    for before, after in zip(read_frames(source), read_frames(copy), strict=True):
        assert np.abs(before.image.astype(int) - after.image).mean() < 2


def test_remux_to_mkv_keeps_sound_and_intervals(source: Path, tmp_path: Path) -> None:
    copy = remux(source, tmp_path / 'copy.mkv')
    assert [content for _, content in packets(copy, 'audio')] == [c for _, c in packets(source, 'audio')]
    times = [frame.time for frame in read_frames(copy)]
    assert times[0] == 0 and len(times) >= len(VARIABLE) - 1  # two stamps of VARIABLE share a millisecond
    assert all(min(abs(time - stamp / 30000) for stamp in VARIABLE) <= 2e-3 for time in times)


def test_remux_without_sound(tmp_path: Path) -> None:
    copy = remux(make_file(tmp_path / 'mute.mp4'), tmp_path / 'copy.mp4')
    assert not probe(copy).has_audio and len(list(read_frames(copy))) == len(VARIABLE)


@pytest.mark.parametrize('seconds', [0.1, 3.0])
def test_sound_shorter_and_longer_than_the_video(tmp_path: Path, seconds: float) -> None:
    path = make_file(tmp_path / 's.mp4', sound=tone(seconds))
    copy = remux(path, tmp_path / 'copy.mp4')
    assert packets(copy, 'audio') == packets(path, 'audio')
    assert stamps_of(copy) == stamps_of(path)


def test_one_frame(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'one.mp4', stamps=(0,), sound=tone(0.2))
    copy = remux(path, tmp_path / 'copy.mp4')
    assert stamps_of(copy) == [0] and packets(copy, 'audio') == packets(path, 'audio')
    assert len(list(resample_frames(path))) == 1


@pytest.mark.parametrize('size', [(33, 48), (64, 47), (33, 47)])
def test_odd_sizes_survive(source: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    images = pictures(3, *size)
    with VideoWriter(tmp_path / 'odd.mp4', *size, 25, crf=5) as writer:
        for image in images:
            writer.write(image)
    with RemuxWriter(tmp_path / 'copy.mp4', source) as writer:
        for image, stamp in zip(images, VARIABLE, strict=False):
            writer.write(image, stamp)
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
    plain_path = make_file(tmp_path / 'plain.mp4', sound=tone(0.5))
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


def test_writer_with_sound(tmp_path: Path) -> None:
    path, sound = tmp_path / 'w.mp4', tone(1.0)
    with VideoWriter(path, 64, 48, Fraction(30000, 1001), audio=sound, preset='ultrafast') as writer:
        for image in pictures(30):
            writer.write(image)
    info = probe(path)
    assert info.frame_rate == Fraction(30000, 1001) and info.frames == 30 and info.has_audio
    assert stamps_of(path) == [Fraction(1001 * i, 30000) for i in range(30)]
    assert np.corrcoef(read_audio(path)[2000:15000], sound[2000:15000])[0, 1] > 0.99


# failing


@pytest.mark.parametrize('content', [None, b'', b'no video at all ' * 50])
def test_unreadable_files_say_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'broken.mp4'
    if content is not None:
        path.write_bytes(content)
    for read in (probe, lambda path: next(read_frames(path)), read_audio,
                 lambda path: RemuxWriter(tmp_path / 'out.mp4', path).__enter__()):
        with pytest.raises(UnreadableMedia, match=r'broken\.mp4'):
            read(path)
    assert left(tmp_path) == ([] if content is None else ['broken.mp4'])


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / 'sound.m4a'
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


def interrupted(writer: VideoWriter | RemuxWriter, *stamp: int) -> None:
    with writer:
        writer.write(pictures(1)[0], *stamp)
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
        interrupted(VideoWriter(target, 64, 48, 25, audio=tone(1)))
    with pytest.raises(KeyboardInterrupt):
        interrupted(RemuxWriter(target, source), 0)
    with pytest.raises(EmptyVideo, match='no frame was written'), RemuxWriter(target, source):
        pass
    assert left(tmp_path) == names
    assert not before or target.read_bytes() == before


def test_wrong_sizes_and_orders_are_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / 'a.mp4'
    with pytest.raises(ValueError, match='time stamps must rise'), RemuxWriter(target, source) as writer:
        writer.write(pictures(1)[0], 5)
        writer.write(pictures(1)[0], 5)
    with pytest.raises(ValueError, match='expected a uint8'), VideoWriter(target, 64, 48, 25) as writer:
        writer.write(pictures(1, 32, 48)[0])
    assert left(tmp_path) == ['source.mp4']


def test_containers_that_cannot_hold_it_are_named(source: Path, tmp_path: Path) -> None:
    for name in ('out.webm', 'out.nothing'):
        with pytest.raises(MediaError, match=r'\.mkv'):
            remux(source, tmp_path / name)
    assert left(tmp_path) == ['source.mp4']


def test_writing_over_the_source(source: Path, tmp_path: Path) -> None:
    sound, stamps = packets(source, 'audio'), stamps_of(source)
    remux(source, source)
    assert packets(source, 'audio') == sound and stamps_of(source) == stamps
    assert left(tmp_path) == ['source.mp4']


# compression in memory


def test_compress_keeps_count_size_and_order() -> None:
    images = pictures(9, 33, 47)
    damaged = compress(images, 20)
    assert [image.shape for image in damaged] == [(47, 33, 3)] * 9
    assert all(np.abs(a.astype(int) - b).mean() < 3 for a, b in zip(images, damaged, strict=True))
    assert compress([], 20) == [] and len(compress(images[:1], 45)) == 1


@pytest.mark.parametrize('side', [64, 96, 224])
def test_compress_is_repeatable(side: int) -> None:
    """Whatever the memory held before: with its widest instructions x264 is not, on such smooth pictures."""
    images = pictures(25, side, side)
    first = compress(images, 40)
    for seed in range(8):
        dirt = [np.random.default_rng(seed).integers(0, 256, 1 << size, np.uint8) for size in range(6, 20)]
        del dirt
        assert np.array_equal(compress(images, 40), first)


# real files


@pytest.mark.shared
def test_real_files_go_through(shared: Path, tmp_path: Path) -> None:
    """Every `wild` clip and a choice of the others: eight frames are encoded, all sound is copied."""
    folder = shared / 'clips' / 'many_speakers'
    some = [folder / name for name in (
        'grid_brbk7n.mpg', 'retalking_face1.mp4', 'hdtf_aoc.mp4', 'vox2_00067.mp4', 'broadcast_may.mp4')]
    for path in sorted((shared / 'clips' / 'wild').iterdir()) + some:
        info, copy, stamps = probe(path), tmp_path / 'copy.mp4', []
        reader = read_frames(path)
        with RemuxWriter(copy, path, preset='ultrafast') as writer:
            for frame in islice(reader, 8):
                stamps.append(frame.time)
                writer.write(frame.image, frame.pts)
        if info.width <= 480:
            assert 8 + sum(1 for _ in reader) == pytest.approx(info.duration * info.frame_rate, abs=2), path
        reader.close()
        assert frame.image.shape == (info.height, info.width, 3)
        before, after = packets(path, 'audio'), packets(copy, 'audio')
        assert [content for _, content in before] == [content for _, content in after], path
        assert max(abs(a - b) for (a, _), (b, _) in zip(before, after, strict=True)) < Fraction(1, 8000), path
        assert [frame.time for frame in read_frames(copy)] == pytest.approx(stamps), path
        assert len(read_audio(copy)) == pytest.approx(len(read_audio(path)), abs=16), path
