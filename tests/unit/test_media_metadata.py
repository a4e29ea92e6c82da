"""What a video carries beside its frames and audio: applied, carried through, or told."""
import re
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_files import make_file, packets, remux, smooth_images, stamps_of, tone, with_audio

from gavn.media import PLAYED_EVERYWHERE, MediaError, Playable, VideoInfo, copied, probe, read_frames
from gavn.media.frame import Upright
from gavn.media.side_data import Orientation, side_data
from gavn.media.stream_copy import is_same_video
from gavn.restoration.input_notices import default_encoder, encoding_notices

UNIT = 1 << 16
MATRICES = {  # by what becomes of an image that is stored
    'mirrored': ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    'upside down': ((1, 0, 0, -1), lambda image: image[::-1]),
    'half a turn': ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    'transposed': ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    'turned clockwise': ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    'transverse': ((0, -1, -1, 0), lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
}
MASTERING, LIGHT = 'G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)', '1000,400'
QUICKTIME = {'com.apple.quicktime.make': 'Maker', 'com.apple.quicktime.location.ISO6709': '+37.33-122.00/',
             'com.apple.quicktime.creationdate': '2023-05-01T10:11:12+0200'}


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Writes the display matrix into the first track's header of an .mp4 file."""
    content = bytearray(path.read_bytes())
    at = content.index(b'tkhd') + 4 + 4 + 20 + 16
    content[at:at + 36] = struct.pack('>9i', a * UNIT, b * UNIT, 0, c * UNIT, d * UNIT, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize('case', MATRICES)
def test_mirrored_first_then_turned(tmp_path: Path, case: str) -> None:
    matrix, shown = MATRICES[case]
    path = make_file(tmp_path / 'a.mp4')
    plain = next(read_frames(path)).image
    set_matrix(path, *matrix)
    first, info = next(read_frames(path)).image, probe(path)
    assert first.shape == shown(plain).shape == (info.height, info.width, 3)
    assert np.abs(first.astype(int) - shown(plain)).max() <= 12  # chroma lies elsewhere in a pair of pixels
    assert np.abs(first.astype(int) - shown(plain)).mean() < 1
    copy = remux(path, tmp_path / 'copy.mp4')
    assert probe(copy).as_stored and np.abs(next(read_frames(copy)).image.astype(int) - first).mean() < 2


def test_no_matrix_is_upright() -> None:
    assert not Orientation.from_frame(av.VideoFrame(16, 16, 'yuv420p'))


def cropped_file(path: Path, rows: int) -> Path:
    """A Matroska file that hides rows at the top: PixelCropTop in place of DisplayUnit."""
    content = make_file(path).read_bytes()
    path.write_bytes(content.replace(b'\x54\xb2\x81\x04', b'\x54\xbb\x81' + bytes([rows]), 1))
    return path


def test_hidden_edges_stay_hidden(tmp_path: Path) -> None:
    path = cropped_file(tmp_path / 'a.mkv', 10)
    info, first = probe(path), next(read_frames(path)).image
    assert (info.width, info.height, info.pixel_shape) == (64, 38, 1) and first.shape == (38, 64, 3)
    assert np.abs(first.astype(int) - smooth_images(10)[0][10:]).mean() < 3
    copy = remux(path, tmp_path / 'copy.mkv')
    assert probe(copy).height == 38 and np.abs(next(read_frames(copy)).image.astype(int) - first).mean() < 2


def hdr_file(path: Path, codec: str = 'libx264') -> Path:
    parameters = {'libx264': f'mastering-display={MASTERING}:cll={LIGHT}',
                  'libx265': f'log-level=error:master-display={MASTERING}:max-cll={LIGHT}'}
    with av.open(str(path), 'w') as output:
        video = output.add_stream(codec, rate=25, options={
            f'{codec[3:]}-params': parameters[codec], 'chroma_sample_location': 'topleft'})
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p10le'
        video.codec_context.color_trc = 16
        for image in smooth_images(3):
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
    return path


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
def test_hdr10_and_the_place_of_chroma_are_carried(tmp_path: Path, codec: str) -> None:
    source = hdr_file(tmp_path / 'source.mp4', codec)
    info = probe(source)
    assert (info.hdr10.mastering, info.hdr10.light, info.chroma) == (MASTERING, LIGHT, 'topleft')
    assert default_encoder(info) == codec
    copy = probe(remux(source, tmp_path / 'copy.mkv', codec=codec))
    assert (copy.hdr10, copy.chroma, copy.hdr) == (info.hdr10, 'topleft', True)


def captioned_file(path: Path, pix_fmt: str = 'yuv420p') -> Path:
    """Raw H.264 with a message of closed captions (A53) before each frame."""
    caption = b'\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x2c\xff'
    message = b'\0\0\0\x01\x06\x04' + bytes([len(caption)]) + caption + b'\x80'
    with av.open(str(path), 'w', format='h264') as output:
        video = output.add_stream('libx264', rate=25, options={'bf': '0', 'x264-params': 'slices=1'})
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        for image in smooth_images(10):
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
    slices = re.compile(rb'(\x00\x00\x00?\x01[\x65\x41\x01\x61])')
    path.write_bytes(slices.sub(lambda found: message + found[1], path.read_bytes()))
    return path


def captions(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [side_data(frame).get('A53_CC', b'') for frame in container.decode(video=0)]


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
def test_closed_captions_are_carried(tmp_path: Path, codec: str) -> None:
    source = captioned_file(tmp_path / 'source.h264')
    assert captions(source) == [b'\xfc\x94\x2c'] * 10
    assert captions(remux(source, tmp_path / 'copy.mkv', codec=codec)) == captions(source)


@pytest.mark.parametrize('orientation', [(True, 0), (False, 2), (False, 3)])
def test_captions_of_turned_videos_are_carried(tmp_path: Path, orientation: tuple[bool, int], monkeypatch
                                               ) -> None:
    source = captioned_file(tmp_path / 'source.h264')
    monkeypatch.setattr(Orientation, 'from_frame', lambda frame: Orientation(*orientation))
    assert not probe(source).as_stored
    copy = remux(source, tmp_path / 'copy.mkv')
    with av.open(str(copy)) as container:
        assert container.streams.video[0].width == (48 if orientation[1] == 3 else 64)
    assert captions(copy) == captions(source)


def test_captions_survive_cropping_and_conversion(tmp_path: Path) -> None:
    source = captioned_file(tmp_path / 'source.h264', 'yuvj420p')
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
    before = [np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, :plane.width].copy()
              for plane in frame.planes]
    assert frame.format.name == 'yuvj420p'
    result = Upright((4, 2, 6, 0))(frame)
    assert (result.format.name, result.width, result.height, result.color_range) == ('yuv420p', 58, 42, 2)
    assert side_data(result)['A53_CC'] == side_data(frame)['A53_CC']
    for plane, given, scale in zip(result.planes, before, (1, 2, 2), strict=True):
        stored = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, :plane.width]
        assert np.array_equal(stored, given[4 // scale:46 // scale, 6 // scale:])


@pytest.mark.parametrize('ending', ['.mov', '.mp4', '.mkv'])
def test_place_maker_and_date_are_carried(tmp_path: Path, ending: str) -> None:
    source = make_file(tmp_path / 'source.mov')
    tagged = tmp_path / 'tagged.mov'
    with av.open(str(source)) as given, av.open(
            str(tagged), 'w', container_options={'movflags': 'use_metadata_tags'}) as output:
        copy = output.add_stream_from_template(given.streams.video[0], opaque=True)
        output.metadata.update({**QUICKTIME, 'creation_time': '2023-05-01T08:11:12Z'})
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    with av.open(str(remux(tagged, tmp_path / f'copy{ending}'))) as written:
        found = {name.lower(): value for name, value in written.metadata.items()}
    assert {name: found.get(name.lower()) for name in QUICKTIME} == QUICKTIME
    assert found['creation_time'].startswith('2023-05-01T08:11:12')


@pytest.mark.parametrize('ending', ['.mkv', '.mp4'])
def test_a_cover_stays_a_cover(tmp_path: Path, ending: str) -> None:
    cover = cv2.imencode('.jpg', smooth_images(1)[0])[1].tobytes()
    source = make_file(tmp_path / 'source.mkv')
    with_cover = tmp_path / 'with_cover.mkv'
    with av.open(str(source)) as given, av.open(str(with_cover), 'w') as output:
        copy = output.add_stream_from_template(given.streams.video[0], opaque=True)
        output.add_attachment('cover.jpg', 'image/jpeg', cover)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    with av.open(str(remux(with_cover, tmp_path / f'copy{ending}'))) as written:
        video, image = written.streams.video
        assert image.disposition == av.stream.Disposition.attached_pic and not video.disposition & 1024
        assert next(bytes(packet) for packet in written.demux(image) if packet.size) == cover


def transparent_file(path: Path) -> Path:
    with av.open(str(path), 'w') as output:
        video = output.add_stream('qtrle', rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, 'argb'
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 4), np.uint8), format='argb')))
        output.mux(video.encode(None))
    return path


def spherical_file(path: Path, box: bytes) -> Path:
    """A video with a box of spherical or stereoscopic metadata (sv3d, st3d) in its sample entry."""
    content = bytearray(make_file(path).read_bytes())
    start = content.index(b'moov') - 4
    where = content.index(b'avcC', start) - 4
    content[where:where] = box
    for name in (b'avc1', b'stsd', b'stbl', b'minf', b'mdia', b'trak', b'moov'):
        at = content.index(name, start) - 4
        content[at:at + 4] = (int.from_bytes(content[at:at + 4], 'big') + len(box)).to_bytes(4, 'big')
    path.write_bytes(content)
    return path


def boxed(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, 'big') + name + content


EQUIRECTANGULAR = boxed(b'sv3d', boxed(b'svhd', bytes(4) + b'made\0') + boxed(
    b'proj', boxed(b'prhd', bytes(16)) + boxed(b'equi', bytes(20))))


@pytest.mark.parametrize('box', [EQUIRECTANGULAR, boxed(b'st3d', bytes(4) + b'\1')], ids=['sv3d', 'st3d'])
def test_spherical_and_stereoscopic_boxes_are_reported(tmp_path: Path, box: bytes) -> None:
    info = probe(spherical_file(tmp_path / 'a.mp4', box))
    assert info.spherical and 'tagged as spherical or stereoscopic, the output is not' in told(info)
    assert not probe(remux(info.path, tmp_path / 'copy.mp4')).spherical


def told(info: VideoInfo, encoder: str = 'libx264', pix_fmt: str = PLAYED_EVERYWHERE) -> str:
    return '\n'.join(encoding_notices(info, encoder, pix_fmt))


def test_what_cannot_be_carried_is_reported(tmp_path: Path) -> None:
    plain, fields = make_file(tmp_path / 'plain.mp4'), make_file(tmp_path / 'fields.mp4', fields=True)
    assert not told(probe(plain)) and not told(probe(fields))
    assert 'the output is opaque' in told(probe(transparent_file(tmp_path / 'a.mov')))
    assert 'use --codec libx264' in told(probe(fields), 'libx265')
    set_matrix(fields, *MATRICES['turned clockwise'][0])
    assert 'not marked as interlaced' in told(probe(fields))
    set_matrix(fields, *MATRICES['half a turn'][0])
    assert 'not marked as interlaced' in told(probe(fields))
    turned = hdr_file(tmp_path / 'turned.mp4')
    set_matrix(turned, *MATRICES['mirrored'][0])
    assert 'topleft' in told(probe(turned))
    deep = told(probe(plain), pix_fmt='yuv420p10le')
    assert '--pix-fmt yuv420p' in deep and '--codec libx265' in deep
    assert '--pix-fmt yuv420p' in told(probe(plain), pix_fmt='yuv444p')
    assert 'phones' not in told(probe(plain), 'libx265', 'yuv420p10le')


@pytest.mark.parametrize(('size', 'stored'), [((48, 64), 'yuv444p'), ((33, 47), 'yuv444p10le'),
                                              ((48, 64), 'yuv422p'), ((48, 64), 'yuv420p10le')])
def test_all_players_take_it(size: tuple[int, int], stored: str) -> None:
    height, width = size
    image = smooth_images(1, width, height)[0]
    frame = av.VideoFrame.from_ndarray(image, format='bgr24').reformat(format=stored)
    frame.color_primaries = 1
    result = Playable()(frame)
    assert (result.format.name, result.width, result.height, result.color_primaries) == (
        PLAYED_EVERYWHERE, width // 2 * 2, height // 2 * 2, 1)
    shown = result.to_ndarray(format='bgr24').astype(int)
    assert np.abs(shown - image[:height // 2 * 2, :width // 2 * 2]).mean() < 3


def avi_with_b_frames(path: Path, count: int = 30) -> Path:
    with av.open(str(path), 'w') as output:
        video = output.add_stream('libx264', rate=25, options={'bf': '8', 'b_strategy': '0', 'crf': '5'})
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
        for image in smooth_images(count):
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
    return path


def test_guessed_time_stamps_of_avi(tmp_path: Path) -> None:
    """Which jump to and fro where there are B-frames: all frames come, in order, at the rate."""
    path = avi_with_b_frames(tmp_path / 'a.avi')
    stamps = stamps_of(path)
    assert [after - before for before, after in pairwise(stamps)] == [Fraction(1, 25)] * 29
    brightness = [frame.image.mean() for frame in read_frames(path)]
    assert brightness == sorted(brightness)
    assert stamps_of(remux(path, tmp_path / 'copy.mp4')) == stamps


@pytest.mark.parametrize('ending', ['.mkv', '.mp4'])
def test_an_avi_with_b_frames_is_copied_with_the_times_of_its_frames(tmp_path: Path, ending: str) -> None:
    source, target = avi_with_b_frames(tmp_path / 'a.avi'), tmp_path / f'copy{ending}'
    copied(source, target)
    assert len(packets(target, 'video')) == len(packets(source, 'video')) == 30
    assert [round(stamp * 25) for stamp in stamps_of(target)] == [stamp * 25 for stamp in stamps_of(source)]
    for one, other in zip(read_frames(source), read_frames(target), strict=True):
        assert np.array_equal(one.image, other.image)


def test_a_video_that_pyav_does_not_know_for_the_container_is_copied(tmp_path: Path) -> None:
    source = tmp_path / 'a.wmv'
    with av.open(str(source), 'w') as output:
        video = output.add_stream('wmv2', rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
        for image in smooth_images(6):
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format='bgr24')))
        output.mux(video.encode(None))
    copied(source, tmp_path / 'copy.mkv')
    assert probe(tmp_path / 'copy.mkv').codec == 'wmv2' and is_same_video(source, tmp_path / 'copy.mkv')
    assert [content for _, content in packets(source, 'video')] == [
        content for _, content in packets(tmp_path / 'copy.mkv', 'video')]


@pytest.mark.parametrize('ending', ['.mkv', '.mp4'])
def test_packets_that_share_a_time_stamp_are_all_copied(tmp_path: Path, caplog, ending: str) -> None:
    """Audio packets of half a millisecond: two of them have the same time in Matroska."""
    source = with_audio(tmp_path / 'source.mkv', make_file(tmp_path / 'video.mkv'), 'pcm_s16le', tone(0.4), 8)
    before = packets(source, 'audio')
    assert len({time for time, _ in before}) < len(before) == 800
    after = packets(remux(source, tmp_path / f'copy{ending}'), 'audio')
    assert b''.join(content for _, content in after) == b''.join(content for _, content in before)
    if ending == '.mkv':
        assert [time for time, _ in after] == [time for time, _ in before]
    assert not caplog.text


def test_a_hole_of_a_day_is_said_where_no_mp4_holds_it(tmp_path: Path) -> None:
    from gavn.restoration.input_notices import with_gap_notices
    day = 24 * 3600 * 30000
    path = make_file(tmp_path / 'a.mkv', stamps=(0, 1001, 2002, day, day + 1001))
    said: list[str] = []
    assert len(list(with_gap_notices(read_frames(path), probe(path), tmp_path / 'b.mkv', said.append))) == 5
    assert len(said) == 1 and 'no frames from 0:00:00.1 to 24:00:00.0' in said[0]
    fine = VideoInfo(**{**vars(probe(path)), 'time_base': Fraction(1, 90000)})
    with pytest.raises(MediaError, match=r'24\.0 hours\nwrite to \.mkv'):
        list(with_gap_notices(read_frames(path), fine, tmp_path / 'b.mp4', said.append))


def test_an_animated_image_is_not_copied_into_a_video(tmp_path: Path) -> None:
    source = tmp_path / 'a.gif'
    with av.open(source, 'w') as container:
        stream = container.add_stream('gif', rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, 'rgb8'
        for level in (0, 120):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format='rgb24')
            container.mux(stream.encode(frame.reformat(format='rgb8')))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match='gif is not copied'):
        copied(source, tmp_path / 'a.mkv')
    assert not (tmp_path / 'a.mkv').exists()
    copied(source, tmp_path / 'b.gif')
    assert (tmp_path / 'b.gif').read_bytes() == source.read_bytes()
