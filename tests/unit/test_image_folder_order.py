"""Frames in folders: the same files, in the same order, wherever they are read."""
import cv2
import numpy as np
import pytest

from gavn.data.av_video_dataset import AVVideoDataset
from gavn.data.clip_pairs import collect
from gavn.experiments.report.faces import ImagePart, ImageSource
from gavn.media import UnreadableMedia, VideoReader
from gavn.metrics.results_file import DEGRADED
from gavn.runtime.file_names import IMAGE_ENDINGS, in_order

NAMES = ('f9.png', 'f10.TIF', 'f011.jpg', 'f100.bmp')


@pytest.fixture
def folder(tmp_path):
    """Four frames, each as bright as it is late, and what is no frame."""
    for index, name in enumerate(NAMES):
        form = name.partition('.')[2].lower()
        (tmp_path / name).write_bytes(cv2.imencode(f'.{form}', np.full((8, 8, 3), 60 * index, np.uint8))[1])
    for name in ('.f1.png', 'notes.txt'):
        (tmp_path / name).write_text('no image')
    return tmp_path


def restoring(folder):
    return [frame.image for frame in VideoReader.from_path(folder).read()]


def measuring(folder):
    [clip] = collect(folder).clips.values()
    return [frame.image for frame in clip.read()]


def validating(folder):
    clip = AVVideoDataset({'dataroot_lq': str(folder), 'name': 'x', 'type': 'AVVideoDataset'}).clip(0)
    return [clip.lq(index) for index in range(clip.n_frames)]


def drawing(folder):
    box = ImagePart(0, 0, 4, 2)
    source = ImageSource(folder.parent, {}, box, box)
    return [source.row('', folder.name, index).images[DEGRADED] for index in range(len(NAMES))]


@pytest.mark.parametrize('read', [restoring, measuring, validating, drawing])
def test_numbers_give_the_order_and_one_list_the_endings(folder, read):
    brightness = [round(float(image.mean()), -1) for image in read(folder)]
    assert brightness == pytest.approx([0, 60, 120, 180], abs=5)


def test_numbers_count_in_folders_too(tmp_path):
    paths = [tmp_path / place for place in ('Take 10/1.png', 'take 9/2.png', 'take 9/10.png')]
    assert in_order(paths[::-1]) == [paths[1], paths[2], paths[0]] and '.tiff' in IMAGE_ENDINGS


def test_measuring_reads_images_as_restoring_does(tmp_path):
    """16 bits are rounded to 8, not cut; a truncated JPEG is an error, not half grey."""
    deep = np.full((8, 8, 3), 0x1fff, np.uint16)
    (tmp_path / '1.png').write_bytes(cv2.imencode('.png', deep)[1])
    assert [image.min() for image in (*measuring(tmp_path), *restoring(tmp_path))] == [32, 32]
    whole = cv2.imencode('.jpg', np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))[1]
    (tmp_path / '1.png').unlink()
    (tmp_path / '1.jpg').write_bytes(whole[:-20])
    for read in (measuring, restoring):
        with pytest.raises(UnreadableMedia, match='truncated'):
            read(tmp_path)
