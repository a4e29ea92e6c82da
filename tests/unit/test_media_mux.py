"""Pieces: repeatable, and joined with what else the source holds."""
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import BASE, VARIABLE, left, make_file, packets, remux, stamps_of, tone

from gavn.media import MediaError, SegmentWriter, join, mux, probe, read_frames


def piece(path: Path, source: Path, frames: slice = slice(None), **options: object) -> Path:
    with SegmentWriter(path, probe(source), **({'preset': 'veryfast'} | options)) as writer:
        for frame in list(read_frames(source))[frames]:
            writer.write(frame.av_frame, frame.pts)
    return path


def images(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(path)]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))


@pytest.mark.parametrize('base', [BASE, Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 12_800_000)])
@pytest.mark.parametrize('stamps', [
    VARIABLE, [1234 + 1001 * i for i in range(12)], [-700 + 333 * i for i in range(12)]], ids=['0', '+', '-'])
@pytest.mark.parametrize('ending', ['.mp4', '.mov'])
def test_times_are_exact(tmp_path: Path, base: Fraction, stamps: list[int], ending: str) -> None:
    source = make_file(tmp_path / 'source.mkv', [40 * i for i in range(len(stamps))], Fraction(1, 1000))
    like, frames = replace(probe(source), time_base=base), list(read_frames(source))
    pieces = []
    for number, some in enumerate((slice(0, 5), slice(5, 6), slice(6, None))):
        pieces.append(tmp_path / f'{number}.nut')
        with SegmentWriter(pieces[-1], like, preset='veryfast') as writer:
            for frame, stamp in zip(frames[some], stamps[some], strict=True):
                writer.write(frame.av_frame, stamp)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('gavn.media.mux.probe', lambda _: like)
        join(tmp_path / f'joined{ending}', pieces, source)
    assert stamps_of(tmp_path / f'joined{ending}') == [
        (stamp - min(0, stamps[0])) * base for stamp in stamps]


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
def test_pieces_are_repeatable_and_copied(source: Path, tmp_path: Path, codec: str) -> None:
    parts = [piece(tmp_path / f'{number}.nut', source, some, codec=codec)
             for number, some in enumerate((slice(0, 4), slice(4, 5), slice(5, None)))]
    again = piece(tmp_path / 'again.nut', source, slice(0, 4), codec=codec)
    assert again.read_bytes() == parts[0].read_bytes()
    for ending in ('.mp4', '.mkv', '.mov'):
        target = tmp_path / f'joined{ending}'
        join(target, parts, source)
        assert equal(images(target), [image for part in parts for image in images(part)])
    with av.open(str(tmp_path / 'joined.mp4')) as joined:
        assert joined.streams.video[0].codec_tag == ('avc1' if codec == 'libx264' else 'hvc1')


@pytest.mark.parametrize('name', ['yuv420p', 'yuv422p', 'yuv444p', 'yuv420p10le', 'yuv444p10le'])
def test_format_colours_and_shape_of_the_source(source: Path, tmp_path: Path, name: str) -> None:
    like, target = replace(probe(source), pixel_shape=Fraction(4, 3)), tmp_path / 'joined.mp4'
    tags = {'colorspace': 9, 'color_range': 2, 'color_primaries': 9, 'color_trc': 16}
    with SegmentWriter(tmp_path / '0.nut', like, crf=0) as writer:
        for stamp in VARIABLE:
            frame = av.VideoFrame(64, 48, name)
            for plane in frame.planes:
                plane.update(bytes([0x55, 1] * (plane.buffer_size // 2)))
            for tag, value in tags.items():
                setattr(frame, tag, value)
            writer.write(frame, stamp)
    join(target, [tmp_path / '0.nut'], source)
    info = probe(target)
    assert (info.pix_fmt.replace('yuvj', 'yuv'), info.pixel_shape, info.hdr) == (name, Fraction(4, 3), True)
    assert info.depth == (10 if '10' in name else 8)
    frame = next(read_frames(target)).av_frame
    assert {tag: getattr(frame, tag) for tag in tags} == tags
    if name != 'yuv420p':  # lossless above 4:2:0 or eight bits
        rows = np.frombuffer(frame.planes[0], np.uint8).reshape(48, -1)
        assert (rows[:, 0] == 0x55).all() and (rows[:, 1] == 1).all()


def test_players_take_it(tmp_path: Path) -> None:
    source = make_file(tmp_path / 'source.mp4', [1001 * i for i in range(12)], audio=tone(0.8))
    copy = remux(source, tmp_path / 'copy.mp4', cuts=(3, 7), preset='veryfast')
    content = copy.read_bytes()
    assert content.index(b'moov') < content.index(b'mdat')
    with av.open(str(copy)) as container:
        stream = container.streams.video[0]
        container.seek(1001 * 8, stream=stream)
        assert next(container.decode(stream)).pts == 1001 * 7
    if shutil.which('ffmpeg'):
        told = subprocess.run(['ffmpeg', '-v', 'error', '-i', copy, '-f', 'null', '-'],
                              capture_output=True, check=True)
        assert told.stderr == b''


def rich_file(path: Path, text: str = 'subrip') -> Path:
    """Two languages of audio, a subtitle, an attached file, a chapter and a title."""
    plain = make_file(path.parent / 'plain.mp4', audio=tone(0.8))
    with av.open(str(plain)) as given, av.open(str(path), 'w') as output:
        video = output.add_stream_from_template(given.streams.video[0], opaque=True)
        tracks = [output.add_stream_from_template(given.streams.audio[0]) for _ in range(2)]
        for track, language in zip(tracks, ('eng', 'deu'), strict=True):
            track.metadata['language'] = language
        tracks[0].disposition, tracks[1].disposition = 0, 1
        subtitle = output.add_mux_stream(text)
        subtitle.metadata['language'] = 'fra'
        output.add_attachment('font.ttf', 'font/ttf', b'letters')
        output.metadata['title'] = 'an interview'
        output.set_chapters([
            {'id': 1, 'start': start, 'end': start + 200, 'time_base': Fraction(1, 1000), 'metadata': {}}
            for start in (0, 300)])
        for packet in given.demux():
            for copy in ([video] if packet.stream.type == 'video' else tracks) if packet.size else []:
                packet.stream = copy
                output.mux(packet)
        for start in (100, 500):
            line = av.Packet(b'good morning')
            line.pts = line.dts = start
            line.duration, line.time_base, line.stream = 200, Fraction(1, 1000), subtitle
            output.mux(line)
    return path


def lines(container: av.container.InputContainer) -> list[tuple[float, bytes]]:
    stream = container.streams.subtitles[0]
    return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux(stream)
            if packet.size and b'good' in bytes(packet)]


@pytest.mark.parametrize('ending', ['.mkv', '.mp4'])
def test_all_streams_go_through(tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    source = rich_file(tmp_path / 'rich.mkv')
    with av.open(str(remux(source, tmp_path / f'copy{ending}'))) as copy, av.open(str(source)) as given:
        assert copy.metadata['title'] == 'an interview'
        assert [stream.language for stream in copy.streams.audio] == ['eng', 'deu']
        assert [bool(stream.disposition & 1) for stream in copy.streams.audio] == [False, True]
        assert copy.streams.subtitles[0].language == 'fra'
        starts = [chapter['start'] * Fraction(chapter['time_base']) for chapter in copy.chapters()]
        assert starts == [0, Fraction(3, 10)]
        attached = [stream.data for stream in copy.streams if stream.type == 'attachment']
        assert attached == ([b'letters'] if ending == '.mkv' else [])
        assert ('attachment' in caplog.text) == (ending == '.mp4')
        for track in range(2):
            kept, had = ([bytes(packet) for packet in file.demux(audio=track) if packet.size]
                         for file in (copy, given))
            assert kept == had != []
            copy.seek(0), given.seek(0)
        times = [time for time, _ in lines(given)]
        assert len(times) == 2 and [time for time, _ in lines(copy)] == pytest.approx(times, abs=2e-3)


def test_subtitles_of_phones_go_to_mkv(tmp_path: Path) -> None:
    phone = remux(rich_file(tmp_path / 'rich.mkv'), tmp_path / 'phone.mp4')
    with av.open(str(remux(phone, tmp_path / 'copy.mkv'))) as copy:
        assert [text for _, text in lines(copy)] == [b'good morning'] * 2


def test_until_leaves_out_the_rest(tmp_path: Path) -> None:
    source, target = rich_file(tmp_path / 'rich.mkv'), tmp_path / 'short.mkv'
    join(target, [piece(tmp_path / '0.nut', source, slice(0, 3))], source, until=Fraction(2, 5))
    with av.open(str(target)) as short:
        assert len(lines(short)) == 1
        last = short.chapters()[1]
        assert float(last['end'] * last['time_base']) == pytest.approx(0.4)
    assert 0.3 < float(packets(target, 'audio')[-1][0]) < 0.45


def test_pieces_that_do_not_fit_are_refused(source: Path, tmp_path: Path) -> None:
    first = piece(tmp_path / '0.nut', source, slice(0, 4))
    second = piece(tmp_path / '1.nut', source, slice(4, 9))
    other = piece(tmp_path / '2.nut', source, slice(4, 9), preset='ultrafast')
    before = left(tmp_path)
    for wrong in ([second, first], [first, first], [first, other]):
        with pytest.raises(MediaError, match='does not continue'):
            join(tmp_path / 'out.mp4', wrong, source)
    with pytest.raises(MediaError, match='no segments'):
        join(tmp_path / 'out.mp4', [], source)
    with pytest.raises(MediaError, match='is not a segment'):
        join(tmp_path / 'out.mp4', [source], source)
    assert left(tmp_path) == before


@pytest.mark.parametrize('ending', ['mkv', 'mp4'])
def test_audio_that_overlaps_itself_is_left_out_where_it_does(tmp_path: Path, caplog, ending: str) -> None:
    """Segments of a recorder, each of which repeats the end of the one before."""
    first = make_file(tmp_path / 'a.ts', range(0, 90000, 3600), Fraction(1, 90000), audio=tone(1))
    second = make_file(tmp_path / 'b.ts', range(81000, 171000, 3600), Fraction(1, 90000), audio=tone(1),
                       audio_start=0.9)
    both = tmp_path / 'both.ts'
    both.write_bytes(first.read_bytes() + second.read_bytes())
    copy = remux(both, tmp_path / f'copy.{ending}')
    times = [time for time, _ in packets(copy, 'audio')]
    assert times == sorted(set(times)) and times[-1] - times[0] > 1.5
    assert caplog.text.count('time stamps that go back') == 1


def shown_for(path: Path) -> Fraction:
    """Seconds for which the first track of an .mp4 file is shown, read from its boxes."""
    content = path.read_bytes()
    scale, = struct.unpack_from('>I', content, content.index(b'mvhd') + 16)
    length, = struct.unpack_from('>I', content, content.index(b'tkhd') + 24)
    return Fraction(length, scale)


@pytest.mark.parametrize('ending', ['.mp4', '.mov'])
@pytest.mark.parametrize('last', [40, 1500])
def test_the_last_frame_lasts_as_long_as_it_did(tmp_path: Path, ending: str, last: int) -> None:
    """Frames at odd times, the last of which is shown for long: a slide at the end of a talk."""
    source = make_file(tmp_path / 'source.mp4', (0, 100, 130, 300), Fraction(1, 1000), last=last)
    assert shown_for(source) == Fraction(300 + last, 1000)
    assert shown_for(remux(source, tmp_path / f'copy{ending}', cuts=(2,))) == shown_for(source)


def test_the_last_frame_of_a_beginning_lasts_until_the_next(tmp_path: Path) -> None:
    source = make_file(tmp_path / 'source.mp4', (0, 100, 130, 300, 340), Fraction(1, 1000), last=40)
    join(tmp_path / 'short.mp4', [piece(tmp_path / '0.nut', source, slice(0, 3))], source,
         until=Fraction(3, 10))
    assert shown_for(tmp_path / 'short.mp4') == Fraction(3, 10)


def test_chapters_move_with_a_video_that_starts_below_zero(tmp_path: Path) -> None:
    source = rich_file(tmp_path / 'rich.mkv')
    like, (first, *_) = probe(source), read_frames(source)
    with SegmentWriter(tmp_path / '0.nut', like) as writer:
        writer.write(first.av_frame, -250)
    join(tmp_path / 'out.mkv', [tmp_path / '0.nut'], source)
    with av.open(str(tmp_path / 'out.mkv')) as copy:
        marks = [tuple(chapter[end] * Fraction(chapter['time_base']) for end in ('start', 'end'))
                 for chapter in copy.chapters()]
    quarter = like.time_base * 250
    assert marks == [(at + quarter, at + quarter + Fraction(1, 5)) for at in (Fraction(0), Fraction(3, 10))]


class Counted:
    """A container that counts the packets it gives."""

    def __init__(self, container: av.container.InputContainer) -> None:
        self.container, self.given = container, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.container, name)

    def demux(self, *streams: object) -> Iterator[av.Packet]:
        for packet in self.container.demux(*streams):
            self.given += 1
            yield packet


@pytest.mark.parametrize('ending', ['.mp4', '.mkv'])
def test_a_beginning_does_not_read_the_rest(tmp_path: Path, monkeypatch, ending: str) -> None:
    source = make_file(tmp_path / f'source{ending}', [40 * i for i in range(250)], Fraction(1, 1000),
                       audio=tone(10))
    one, opened, real = piece(tmp_path / '0.nut', source, slice(0, 5)), [], mux.open_media

    @contextmanager
    def counting(path: Path) -> Iterator[Counted]:
        with real(path) as container:
            opened.append(Counted(container))
            yield opened[-1]

    monkeypatch.setattr(mux, 'open_media', counting)
    join(tmp_path / 'short.mp4', [one], source, until=Fraction(1, 5))
    assert 0.1 < packets(tmp_path / 'short.mp4', 'audio')[-1][0] < 0.2
    assert 50 < sum(container.given for container in opened) < 120  # of 407


def test_fields_stay_fields(tmp_path: Path) -> None:
    source = make_file(tmp_path / 'source.mp4', range(0, 400, 40), Fraction(1, 1000), fields=True)
    assert probe(source).interlaced and not probe(make_file(tmp_path / 'whole.mp4')).interlaced
    assert all(frame.av_frame.interlaced_frame for frame in read_frames(remux(source, tmp_path / 'copy.mp4')))


def test_freed_memory_is_given_back_on_the_way(source: Path, tmp_path: Path, monkeypatch) -> None:
    given = []
    monkeypatch.setattr(mux, 'trim_memory', lambda: given.append(0))
    monkeypatch.setattr(mux, '_RELEASE_INTERVAL', 5)
    whole = piece(tmp_path / 'whole.nut', source)
    join(tmp_path / 'joined.mp4', [whole], source)
    assert len(given) == -(-len(images(whole)) // 5) > 1
