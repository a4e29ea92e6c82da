"""Long videos in parts, splits by video, counts of clips, and the list that repeats them."""
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gavn.data.preparation import Preparation
from gavn.data.sources import ClipSource, from_csv, from_folder, voxceleb_splits
from gavn.data.splits import cut, draw_clips, flat, has_shared_speakers, write_csv
from gavn.media import MediaError, VideoWriter, resample_frames
from gavn.media.constant_rate import part_of

RATE = 30


@pytest.fixture(scope='module')
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds at 30 frames a second, whose brightness and tone tell the time."""
    path = tmp_path_factory.mktemp('long') / 'address.mp4'
    tone = np.repeat(np.arange(100, 100 + 10), 16000).astype(np.int16) * 100  # another level every second
    with VideoWriter(path, 64, 64, RATE, audio=tone, preset='ultrafast') as writer:
        for index in range(10 * RATE):
            image = np.full((64, 64, 3), index * 255 // (10 * RATE), np.uint8)
            image[:, index % 64] = 255 - image[0, 0, 0]
            writer.write(image)
    return path


@pytest.mark.parametrize(('start', 'stop'), [(0, None), (0, 2), (3.2, 5.6), (8, None), (9.96, None),
                                             (3.21, 4)])
def test_a_part_is_what_a_whole_reading_has_there(start: float, stop: float | None, long_video: Path) -> None:
    first, last = round(start * 25), None if stop is None else round(stop * 25)
    whole = list(islice(resample_frames(long_video), first, last))
    part = list(part_of(long_video, start, stop))
    assert len(part) == len(whole)
    assert all(np.array_equal(one, other) for one, other in zip(part, whole, strict=True))


def test_files_that_cannot_be_entered_are_read_from_their_beginning(long_video: Path, tmp_path: Path) -> None:
    (tmp_path / 'x.mp4').write_bytes(b'no video')
    with pytest.raises(MediaError):
        list(part_of(tmp_path / 'x.mp4', 2, 3))
    assert list(part_of(long_video, 20, 22)) == []


def test_long_videos_are_cut_by_time(long_video: Path, tmp_path: Path) -> None:
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(b'no video')
    sources = [ClipSource('weekly/1', long_video, 'anna', 'train'),
               ClipSource('weekly/2', broken, 'anna', 'val')]
    pieces = cut(sources, 4)
    assert [(piece.clip, piece.start, piece.stop) for piece in pieces] == [
        ('weekly/1/0000', 0, 4), ('weekly/1/0001', 4, 8), ('weekly/1/0002', 8, 10), ('weekly/2', 0, None)]
    assert {piece.split for piece in pieces[:3]} == {'train'}
    assert len(cut(sources[:1], 4.7)) == 2  # the rest is shorter than a second
    with pytest.raises(ValueError, match=r'--cut 0\.5: clips must have at least 1 second'):
        cut(sources, 0.5)


def test_a_clip_is_its_part_with_its_audio(long_video: Path, tmp_path: Path) -> None:
    preparation = Preparation(tmp_path, 64, 'none')
    preparation.crop(ClipSource('a/0001', long_video, 'anna', 'train', 4, 8), track=None)
    assert preparation.length('a/0001') == 100
    frames = preparation.clean('a/0001')
    assert abs(int(frames[0].mean()) - 102) < 4  # four seconds of ten
    audio = np.load(tmp_path / 'audio/a/0001.npy')
    assert len(audio) == 64000
    levels = [np.median(audio[second * 16000:(second + 1) * 16000]) for second in range(4)]
    assert all(abs(level - 100 * (104 + second)) < 60 for second, level in enumerate(levels))


def folder(root: Path, count: int) -> Path:
    for number in range(count):
        path = root / f'{2009 + number // 50}' / f'address_{number}.mp4'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_splits_by_video_as_in_the_papers_second_scenario(tmp_path: Path) -> None:
    root = folder(tmp_path / 'obama', 180)
    sources = from_folder(root, (150, 5, 25))
    assert Counter(source.split for source in sources) == {'train': 150, 'val': 5, 'test': 25}
    assert len({source.path for source in sources}) == 180
    assert {source.speaker for source in sources} == {'obama'} and has_shared_speakers(sources)
    assert from_folder(root, (150, 5, 25)) == sources != from_folder(root, (150, 5, 25), seed=1)
    with pytest.raises(ValueError, match=r'181 videos of .*obama are wanted, but there are 180'):
        from_folder(root, (150, 5, 26))


def voxceleb(root: Path) -> Path:
    for speaker in range(25):
        for clip in range(8 if speaker % 2 else 4):
            path = root / f'id{speaker:05d}' / 'video' / f'{clip:05d}.mp4'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def test_counts_of_clips_are_drawn_evenly(tmp_path: Path) -> None:
    """The paper has 4860, 297 and 894 clips of 200, 5 and 20 speakers."""
    sources = voxceleb_splits(voxceleb(tmp_path), None, (20, 2, 3))
    drawn = draw_clips(sources, (90, 5, 7))
    assert Counter(source.split for source in drawn) == {'train': 90, 'val': 5, 'test': 7}
    shares = Counter(source.speaker for source in drawn if source.split == 'train')
    available = Counter(source.speaker for source in sources if source.split == 'train')
    most = max(shares.values())
    assert all(count in (most, most - 1) or count == available[speaker] for speaker, count in shares.items())
    assert draw_clips(sources, (90, 5, 7)) == drawn != draw_clips(sources, (90, 5, 7), seed=1)
    with pytest.raises(ValueError, match='--clip-counts: 9999 clips of train are wanted, but there are 1'):
        draw_clips(sources, (9999, 5, 7))


def test_the_list_repeats_clips_splits_and_parts(tmp_path: Path) -> None:
    root = folder(tmp_path / 'obama', 20)
    sources = from_folder(root, (15, 2, 3), seed=4)
    sources = [replace(source, clip=f'{source.clip}/{n:04d}', start=4.0 * n, stop=4.0 * n + 4)
               for source in sources for n in range(3)]
    listed = write_csv(sources, root, tmp_path / 'out')
    assert listed == tmp_path / 'out/splits.csv'
    assert from_csv(root, listed, known_speakers=True) == sources


@pytest.mark.parametrize(('row', 'words'), [
    ('a.mp4,anna,train,a,soon,', 'start or stop of a.mp4 is not a number'),
    ('a.mp4,anna,train,a,5,4', 'a.mp4 from 5.0 to 4.0 seconds is not a valid part'),
])
def test_parts_that_are_none(row: str, words: str, tmp_path: Path) -> None:
    (tmp_path / 't.csv').write_text(f'file,speaker,split,clip,start,stop\n{row}\n')
    with pytest.raises(ValueError, match=words):
        from_csv(tmp_path, tmp_path / 't.csv')


def test_flat_names(tmp_path: Path) -> None:
    sources = [ClipSource(name, tmp_path, 'ada', 'train') for name in ('ada/train0', 'ada/train1')]
    assert [source.clip for source in flat(sources)] == ['ada_train0', 'ada_train1']
    with pytest.raises(ValueError, match='two videos would have the name ada_b'):
        flat([ClipSource(name, tmp_path, 'ada', 'train') for name in ('ada/b', 'ada_b')])
