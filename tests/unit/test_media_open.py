"""Which files are opened at all, under which names, and what is said of the others."""
import os
from pathlib import Path

import av
import pytest
from media_files import make_file, remux, stamps_of, tone

from gavn.media import MediaError, UnreadableMedia, VideoWriter, probe, read_audio, read_frames
from gavn.runtime.files import atomic_path

PLAYLISTS = {
    'list.m3u8': '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n',
    'list.ffconcat': "ffconcat version 1.0\nfile '{}'\n",
    'list.mpd': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
                '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
                '<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    'list.sdp': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n',
}


@pytest.mark.parametrize('disguise', ['', '.mp4'])
@pytest.mark.parametrize('name', PLAYLISTS)
def test_playlists_open_no_other_file(tmp_path: Path, name: str, disguise: str) -> None:
    """Whatever they are called."""
    secret = make_file(tmp_path / 'secret.ts', audio=tone(0.5))
    path = tmp_path / f'{name}{disguise}'
    path.write_text(PLAYLISTS[name].format(secret.name))
    for read in (probe, lambda path: next(read_frames(path)), read_audio):
        with pytest.raises(UnreadableMedia, match=r'playlist|no readable media'):
            read(path)


def test_a_pattern_of_images_opens_no_others(tmp_path: Path) -> None:
    images = av.open(str(tmp_path / 'a%d.png'), 'w', format='image2')
    stream = images.add_stream('png', rate=25)
    stream.width, stream.height, stream.pix_fmt = 16, 16, 'rgb24'
    for packet in stream.encode(av.VideoFrame(16, 16, 'rgb24')):
        images.mux(packet)
    images.close()
    named = tmp_path / 'a%d.png'
    named.write_bytes((tmp_path / 'a1.png').read_bytes())
    with pytest.raises(MediaError):
        probe(named)


NAMES = ['http:/host/v.mp4', 'concat:a.mp4|b.mp4', 'file:v.mp4', '12:30 talk.mp4', 'crypto:v.mp4', '-v.mp4',
         'pipe:0.mp4', 'subfile,,start,0,end,9,,:v.mp4']


@pytest.mark.parametrize('name', NAMES)
def test_names_are_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Relative ones that look like addresses, read and written."""
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    made = make_file(tmp_path / 'made.mp4', audio=tone(0.5))
    os.replace(made, name)
    assert probe(name).frames == 10
    copy = Path(f'{name[:-4]}2.mp4')
    remux(Path(name), copy)
    assert stamps_of(copy) == stamps_of(Path(name)) and len(read_audio(copy))


def test_names_of_any_bytes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xb2\xc9\xff.mp4'))
    os.replace(make_file(tmp_path / 'made.mp4'), path)
    copy = remux(path, path.with_suffix('.mkv'))
    assert probe(copy).frames == probe(path).frames


def test_names_as_long_as_they_can_be(tmp_path: Path) -> None:
    path = tmp_path / ('n' * 251 + '.mp4')
    os.replace(make_file(tmp_path / 'made.mp4'), path)
    remux(path, tmp_path / ('m' * 251 + '.mkv'))
    with VideoWriter(tmp_path / ('é' * 125 + 'e.mp4'), 16, 16, 25) as writer:
        writer.write(next(read_frames(path)).image[:16, :16])
    with atomic_path(tmp_path / ('o' * 255)) as part:
        part.write_bytes(b'whole')
    assert sorted(len(os.fsencode(entry.name)) for entry in tmp_path.iterdir()) == [255] * 4


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.mov'])
def test_tags_of_any_bytes_are_carried(tmp_path: Path, ending: str) -> None:
    title = b'\xb2\xc9\xc3\xca\xca\xd3\xc6\xb5'  # GBK
    source = tmp_path / 'source.avi'
    with av.open(str(source), 'w', metadata_errors='surrogateescape') as output:
        stream = output.add_stream('mpeg4', rate=25)
        stream.width = stream.height = 32
        output.metadata['title'] = title.decode('utf-8', 'surrogateescape')
        for _ in range(5):
            output.mux(stream.encode(av.VideoFrame(32, 32, 'yuv420p')))
        output.mux(stream.encode(None))
    copy = remux(source, tmp_path / f'copy{ending}')
    with av.open(str(copy), metadata_errors='surrogateescape') as written:
        assert written.metadata['title'].encode('utf-8', 'surrogateescape') == title


def test_video_of_an_unknown_codec_is_named(tmp_path: Path) -> None:
    path = make_file(tmp_path / 'unknown.mp4')
    path.write_bytes(path.read_bytes().replace(b'avc1\0', b'zzz1\0'))
    with pytest.raises(UnreadableMedia, match=r'unknown\.mp4: no decoder knows its video \(tag zzz1\)'):
        probe(path)
