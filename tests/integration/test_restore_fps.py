"""Another frame rate: which frame is shown at each tick, its notices, and unchanged audio."""
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from media_files import make_file
from restore_fakes import FACE, audio_packets, fixed_face, make_restorer, write_variable, write_video

from gavn.cli.restore import summary
from gavn.media import VideoReader, parse_rate, probe, read_frames
from gavn.restoration import job, restore_video
from gavn.restoration.report import Report
from gavn.restoration.settings import Settings


def restore(source: Path, target: Path, **settings: object) -> Report:
    return restore_video.restore_video(source, target, make_restorer(), Settings(**settings))


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face())


@pytest.mark.parametrize(('text', 'rate'), [
    ('25', 25), ('30000/1001', Fraction(30000, 1001)), ('23.976', Fraction(24000, 1001)), ('24', 24),
    ('29.97', Fraction(30000, 1001)), ('59.94', Fraction(60000, 1001)), ('12.5', Fraction(25, 2))])
def test_rates_as_they_are_written(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize('text', ['0', '-25', 'fast', '25/0', 'nan', 'inf', '30000', '0.0004'])
def test_what_is_no_rate(text):
    with pytest.raises(ValueError, match='frames per second'):
        parse_rate(text)


@pytest.mark.parametrize(('rate', 'shown', 'left_out'), [
    (10, [0, 1, 2, 2, 3, 3, 3], [0, 0, 0, 0, 0, 0, 1]),
    (5, [0, 2, 3, 3], [1, 0, 0, 1]),
    (20, [0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4], [0] * 14),
    (1, [0], [4])])
def test_each_tick_shows_what_was_on(tmp_path, rate, shown, left_out):
    stamps = [0, 100, 130, 330, 610]
    source = write_variable(tmp_path / 'in.mp4', stamps)
    own = [frame.image for frame in read_frames(source)]
    video = VideoReader.from_path(source, Fraction(rate))
    frames = list(video.read())
    which = [next(i for i, image in enumerate(own) if np.array_equal(image, frame.image)) for frame in frames]
    assert which == shown and [frame.left_out for frame in frames] == left_out
    assert [frame.again for frame in frames] == [a == b for a, b in pairwise([None, *shown])]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [frame.time for frame in frames] == [index / rate for index in range(len(frames))]
    assert [frame.pts for frame in video.read(2)] == [frame.pts for frame in frames[2:]]


@pytest.mark.parametrize(('fps', 'count', 'again', 'left'), [
    (Fraction(50), 24, 12, 0), (Fraction(25), 12, 0, 0), (Fraction(10), 5, 0, 7),
    (Fraction(30000, 1001), 15, 3, 0)])
def test_a_video_at_another_rate(tmp_path, fps, count, again, left):
    source, target = write_video(tmp_path / 'in.mp4', 12, audio=0.48), tmp_path / 'out.mp4'
    report = restore(source, target, fps=fps)
    assert (report.frames_in, report.frames_out) == (12, count)
    assert (report.shown_again, report.left_out) == (again, left)
    counts = f'{count} frames from 12' if again or left else '12 of 12 frames'
    assert f': {counts}, ' in summary(report)
    info, stamps = probe(target), [frame.pts * probe(target).time_base for frame in read_frames(target)]
    assert info.frame_rate == fps and {b - a for a, b in pairwise(stamps)} == {1 / fps}
    assert abs(info.duration - 0.48) <= 1 / fps + 1e-6
    assert audio_packets(target) == audio_packets(source)
    assert report.settings['fps'] == str(fps) and report.input['frame_rate'] == '25'


def test_a_late_beginning_stays_with_its_audio(tmp_path):
    """Images from 1.5 s on, audio from 1.2 s on: both are where they were."""
    source = make_file(tmp_path / 'in.mp4', range(45000, 75000, 1001), audio=np.zeros(16000, np.int16),
                       audio_start=1.2)
    restore(source, tmp_path / 'out.mp4', fps=Fraction(24000, 1001))
    assert probe(tmp_path / 'out.mp4').start == probe(source).start == Fraction(3, 2)
    assert audio_packets(tmp_path / 'out.mp4') == audio_packets(source)


def test_a_box_needs_no_search(tmp_path):
    source = write_video(tmp_path / 'in.mp4', 4, audio=None)
    assert restore(source, tmp_path / 'out.mp4', box=FACE, fps=Fraction(50)).restored == 8
