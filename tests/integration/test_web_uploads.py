"""Uploads to the page: names, limits, order, and what is refused."""
import asyncio
import time

import numpy as np
import pytest
from restore_fakes import write_video
from web_sessions import sent, taken, upload

from gavn.web import uploads
from gavn.web.jobs import RestoreRequest
from gavn.web.limits import Limits, RefusalError
from gavn.web.uploads import ShortError, safe_name


@pytest.mark.parametrize(('frames', 'said'), [(60, 'too long: 2 s'), (1, 'single image')])
def test_unsuitable_videos_are_refused_and_removed(sessions, frames, said):
    with pytest.raises(RefusalError, match=said):
        taken(sessions, frames=frames, audio=None)
    assert not list(sessions.folder.rglob('*.mp4'))
    with pytest.raises(RefusalError, match='Add a video first'):
        sessions.restore('me', RestoreRequest(), [None])


def test_large_empty_and_unreadable_files_are_refused(sessions):
    with pytest.raises(RefusalError, match=r'too large: 1.0 MB. The limit is up to 1 MB and 2 s'):
        sent(sessions, 'a.mp4', bytes(1_000_001))
    with pytest.raises(RefusalError, match='empty'):
        sent(sessions, 'a.mp4', b'')
    with pytest.raises(RefusalError, match=r'^a\.mkv: no readable media file') as told:
        sessions.take('me', sent(sessions, 'a.mkv', b'words'))
    assert str(sessions.folder) not in str(told.value)


@pytest.mark.parametrize('name', ['list.m3u8', 'list.ffconcat', 'talk.mp4'])
def test_playlists_open_no_other_file(sessions, tmp_path, name):
    """They name another file of the machine, whatever their own name is."""
    secret = write_video(tmp_path / 'secret.mp4', 30, audio=None)
    for text in (f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{secret}\n#EXT-X-ENDLIST\n',
                 f"ffconcat version 1.0\nfile '{secret}'\n"):
        with pytest.raises(RefusalError):
            sessions.take('me', sent(sessions, name, text.encode()))
    assert not sessions.videos('me')


def test_only_own_uploads_are_taken_once(sessions):
    """What is not a token that was given out is none: paths, examples, files of others."""
    token = upload(sessions)
    example = sessions.folder / 'examples' / 'small.mp4'
    example.parent.mkdir()
    write_video(example, 3, audio=None)
    other = taken(sessions, 'other')
    for word in (str(example), str(other.source), '', token[:-1], '../examples', other.key):
        with pytest.raises(RefusalError, match='not uploaded'):
            sessions.take('me', word)
        with pytest.raises(RefusalError, match='Add a video first'):
            sessions.drop('me', word)
    sessions.take('me', token)
    with pytest.raises(RefusalError, match='not uploaded'):
        sessions.take('other', token)
    assert example.exists() and other.source.exists()
    example.unlink()


def test_a_page_holds_so_many_videos(sessions):
    for number in range(3):
        taken(sessions, name=f'{number}.mp4')
    with pytest.raises(RefusalError, match=r'3\.mp4: a page holds at most 3 videos'):
        taken(sessions, name='3.mp4')
    taken(sessions, 'you')


def test_uploads_are_limited_by_number_and_sum(sessions, monkeypatch):
    announce = sessions.uploads.announce
    tokens = [announce('a.mp4', 400_000, f'client {number}') for number in range(5)]
    with pytest.raises(RefusalError, match='storage limit'):
        announce('a.mp4', 100_001)  # of 2.1 MB
    announce('a.mp4', 50_000)
    monkeypatch.setattr(uploads, 'MAX_FILES', 6)
    with pytest.raises(RefusalError, match='too many files'):
        announce('a.mp4', 1)
    sessions.uploads.expire(time.monotonic() + 61)
    assert announce('a.mp4', 900_000) not in tokens


def test_a_client_leaves_room_for_others(sessions, monkeypatch):
    """Two uploads that are not finished would block a server for the time that they are waited for."""
    monkeypatch.setattr(uploads, 'OPEN_UPLOADS', 2)
    announce = sessions.uploads.announce
    tokens = [announce('a.mp4', 10, 'slow') for _ in range(2)]
    with pytest.raises(RefusalError, match='2 uploads from this computer are unfinished'):
        announce('a.mp4', 10, 'slow')
    announce('a.mp4', 10, 'other')
    for pending in sessions.uploads._pending.values():
        pending.active -= 61
    assert announce('a.mp4', 10, 'slow') not in tokens
    for _ in range(6):  # complete ones that no page claims
        sent(sessions, 'a.mp4', b'123')
    with pytest.raises(RefusalError, match='too many files'):
        announce('a.mp4', 1)
    sessions.uploads.expire(time.monotonic() + 601)


@pytest.mark.parametrize(('idle', 'slowest', 'words'), [
    (0.05, 0, 'no data for 0.05 s'), (1e-3, 10**9, 'less than 1e\\+06 kB/s')])
def test_uploads_that_stall_or_trickle_end(sessions, monkeypatch, idle, slowest, words):
    monkeypatch.setattr(uploads, 'SLOWEST', slowest)
    token = sessions.uploads.announce('a.mp4', 1000)

    async def chunks():
        yield b'1'
        monkeypatch.setattr(uploads, 'IDLE', idle)
        time.sleep(2 * idle)
        yield b'2'
        await asyncio.sleep(30)
    with pytest.raises(ShortError, match=words):
        asyncio.run(sessions.uploads.receive(token, chunks()))
    with pytest.raises(RefusalError, match='not uploaded'):
        sessions.uploads.claim(token)


def test_long_uploads_are_kept(sessions):
    token = sessions.uploads.announce('a.mp4', 4)

    async def slowly():
        sessions.uploads._pending[token].active -= 650  # it was announced long ago
        yield b'12'
        sessions.uploads.expire(time.monotonic())
        yield b'34'
    asyncio.run(sessions.uploads.receive(token, slowly()))
    path = sessions.uploads.claim(token)
    assert path.read_bytes() == b'1234'
    path.unlink()  # it belongs to who claimed it


def test_uploads_must_have_the_announced_size(sessions):
    async def chunks(*parts: bytes):
        for part in parts:
            yield part
    for parts in ((b'123',), (b'123', b'456'), ()):
        token = sessions.uploads.announce('a.mp4', 4)
        with pytest.raises(ShortError):
            asyncio.run(sessions.uploads.receive(token, chunks(*parts)))
        with pytest.raises(RefusalError, match='not announced'):
            asyncio.run(sessions.uploads.receive(token, chunks(b'1234')))
    assert not list(sessions.folder.rglob('a.mp4'))


@pytest.mark.parametrize(('name', 'safe'), [
    ('talk.mp4', 'talk.mp4'), ('../../etc/passwd', 'passwd'), ('<img src=x>.mov', 'img_src_x.mov'),
    ('.mp4', 'mp4'), ('Mädchen 2.MKV', 'Mädchen_2.mkv'), ('$(reboot).mp4;x', 'reboot.mp4x'),
    ('a' * 300 + '.mp4', 'a' * 120 + '.mp4'), ('語' * 300 + '.mp4', '語' * 40 + '.mp4'), ('...', 'video')])
def test_file_names_are_sanitised(name, safe):
    assert safe_name(name) == safe


def test_limits_must_be_positive():
    for wrong in ({'megabytes': 0}, {'seconds': -1}, {'seconds': float('nan')}, {'videos': 0}, {'idle': 0},
                  {'megabytes': 10, 'total_megabytes': 9}):
        with pytest.raises(ValueError, match='above 0'):
            Limits(**wrong)
    assert np.isclose(Limits(megabytes=2.5).bytes, 2_500_000)
