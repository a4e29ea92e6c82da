"""--scale: the whole image is enlarged, faces restored at that size; small faces are handled on their own."""
import json
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.filter import Graph
from restore_fakes import (
    FACE,
    HEIGHT,
    WIDTH,
    audio_packets,
    fixed_face,
    make_restorer,
    write_variable,
    write_video,
)

from gavn.cli import main as cli
from gavn.cli.restore import SCALES as OFFERED
from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box, crop_box
from gavn.faces.tracks import Face, Faces, fixed_box
from gavn.media import SCALES, MediaError, Playable, VideoReader, enlarged_size, probe, read_frames
from gavn.media.scale import enlarger
from gavn.restoration import auto_restorer, job, restore_video, weight_selection
from gavn.restoration.degradation import KINDS, DegradationEstimate
from gavn.restoration.restorer import Restorer
from gavn.restoration.settings import Settings
from gavn.restoration.weight_selection import ENLARGED, adjust_for_enlargement, enlargement, suggest_scale

GAIN = 30.


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(job, 'follow_faces', fixed_face(absent=(2,)))


@pytest.fixture(scope='module')
def talk(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'talk.mp4', 12, audio=0.48)


def times(path: Path) -> list[float]:
    return [frame.time for frame in read_frames(path)]


@pytest.mark.parametrize(('size', 'scale', 'wanted'), [
    ((640, 360), '2', (1280, 720)), ((101, 75), '3', (303, 225)), ((202, 360), '4', (808, 1440)),
    ((640, 360), '1080p', (1920, 1080)), ((640, 480), '1080p', (1440, 1080)),
    ((1280, 536), '1080p', (1920, 804)), ((202, 360), '1080p', (1078, 1920)),
    ((1920, 1080), '1080p', (1920, 1080)), ((3840, 2160), '1080p', (3840, 2160))])
def test_sizes(size, scale, wanted):
    assert enlarged_size(*size, scale) == wanted


def test_sizes_that_are_none():
    with pytest.raises(MediaError, match=r'(?s)4096 x 2160 pixels times 4 are 16384 x 8640.*use --scale 2'):
        enlarged_size(4096, 2160, '4')
    with pytest.raises(MediaError, match='omit --scale'):
        enlarged_size(7680, 4320, '2')
    with pytest.raises(ValueError, match='scale 5 is not one of 2, 3, 4, 1080p'):
        Settings(scale='5')
    assert OFFERED == SCALES


def test_the_whole_image_is_enlarged_and_faces_restored_in_it(talk, tmp_path):
    target = tmp_path / 'out.mp4'
    report = restore_video.restore_video(talk, target, make_restorer(GAIN), Settings(scale='3', crf=4))
    info = probe(target)
    assert (info.width, info.height, report.restored) == (3 * WIDTH, 3 * HEIGHT, 11)
    assert times(target) == times(talk) and audio_packets(target) == audio_packets(talk)
    large = [cv2.resize(frame.image, None, fx=3, fy=3, interpolation=cv2.INTER_LANCZOS4)
             for frame in read_frames(talk)]
    changes = [frame.image.astype(float) - image
               for frame, image in zip(read_frames(target), large, strict=True)]
    x, y = (round(3 * place) for place in FACE.centre)
    assert changes[5][y - 9:y + 9, x - 9:x + 9].mean() == pytest.approx(GAIN, abs=2)
    region = crop_box(FACE.scaled(3))
    beside = np.ones(changes[5].shape, bool)
    beside[int(region.y0):int(region.y1), int(region.x0):int(region.x1)] = False
    assert np.abs(changes[5][beside]).mean() < 2 and np.abs(changes[2]).mean() < 2  # frame 2 has no face


def test_faces_are_seen_at_the_larger_size(talk, tmp_path):
    """Not enlarged after they were cropped: what a network sees is the image that is restored."""
    seen = []

    class Watching(Restorer):
        def residuals(self, crops, audio=None):
            def kept():
                for image in crops:
                    seen.append(image)
                    yield image
            return super().residuals(kept(), audio)

    base = make_restorer(GAIN)
    restore_video.restore_video(talk, tmp_path / 'out.mp4', Watching(base.spec, base.networks, 'cpu'),
                                Settings(scale='2'))
    large = next(VideoReader.from_path(talk).enlarged('2').read()).image
    region = crop_box(FACE.scaled(2))
    wanted = large[round(region.y0):round(region.y1), round(region.x0):round(region.x1)]
    wanted = cv2.resize(wanted, (224, 224), interpolation=cv2.INTER_CUBIC)
    assert np.abs(seen[0].astype(int) - wanted).mean() < 2


def test_odd_times_and_frames_at_a_rate(tmp_path):
    variable = write_variable(tmp_path / 'v.mp4', [0, 100, 130, 310, 420])
    for name, more in (('a.mp4', {}), ('b.mp4', {'fps': Fraction(10)})):
        restore_video.restore_video(
            variable, tmp_path / name, make_restorer(GAIN), Settings(scale='2', **more))
        assert probe(tmp_path / name).width == 2 * WIDTH
    assert times(tmp_path / 'a.mp4') == times(variable)
    assert times(tmp_path / 'b.mp4') == pytest.approx([0, .1, .2, .3, .4])


def test_what_is_large_enough_stays_as_it_is(tmp_path, caplog):
    source = write_video(tmp_path / 'in.mp4', 4, audio=None)
    assert VideoReader.from_path(source).enlarged(None).size == (WIDTH, HEIGHT)
    video = VideoReader.from_path(source).enlarged('1080p')
    assert video.size == (1296, 1080) and video.enlarged('1080p') is video


@pytest.mark.parametrize('name', ['yuv420p', 'yuv422p10le', 'yuv444p', 'bgr24', 'gray16le', 'bgra64le'])
def test_formats_and_tags_stay(name):
    frame = av.VideoFrame(32, 24, name)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, 9, 16
    large = enlarger((64, 48))(frame)
    assert (large.width, large.height, large.format.name) == (64, 48, name)
    assert (large.colorspace, large.color_range, large.color_primaries, large.color_trc) == (9, 1, 9, 16)


@pytest.mark.parametrize('make', [partial(enlarger, (64, 48)), Playable], ids=['enlarger', 'Playable'])
@pytest.mark.parametrize('name', ['yuv422p', 'yuv444p', 'yuv420p10le'])
@pytest.mark.parametrize(('matrix', 'levels'), [(0, 0), (1, 1), (1, 2), (5, 2), (9, 1), (9, 2)])
def test_colours_stay(make, name, matrix, levels):
    """They were converted from BT.709, BT.2020 and full range, and their tags were not."""
    frame, colour = av.VideoFrame(32, 24, name), (81, 90, 240)
    for plane, value in zip(frame.planes, colour, strict=True):
        wide = name.endswith('10le')
        samples = np.full(plane.buffer_size // (2 if wide else 1), 4 * value if wide else value,
                          np.uint16 if wide else np.uint8)
        plane.update(samples.tobytes())
    frame.colorspace, frame.color_range = matrix, levels
    result = make()(frame)
    deep = result.format.name.endswith('10le')
    for plane, value in zip(result.planes, colour, strict=True):
        samples = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
        errors = samples[:, :plane.width].astype(int) - (4 * value if deep else value)
        assert np.abs(errors).max() <= (name.endswith('10le') and not deep)  # of dithering
    assert (result.colorspace, result.color_range) == (matrix, levels)


def of_fields(frame: av.VideoFrame) -> av.VideoFrame:
    """The same frame, marked as two fields."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name,
                              time_base=Fraction(1, 25))
    marked = graph.add('setfield', 'tff')
    source.link_to(marked)
    marked.link_to(graph.add('buffersink'))
    graph.configure()
    graph.vpush(frame)
    return graph.vpull()


def test_fields_are_enlarged_one_by_one():
    """Lines of two moments are not mixed: one black and one white field stay black and white."""
    grey = np.full((24, 32), 128, np.uint8)
    grey[:16] = np.where(np.arange(16) % 2, 16, 235)[:, None]
    progressive = av.VideoFrame.from_ndarray(grey, format='yuv420p')
    fields = of_fields(av.VideoFrame.from_ndarray(grey, format='yuv420p'))
    assert not progressive.interlaced_frame and fields.interlaced_frame
    mixed, kept = (enlarger((64, 32))(frame) for frame in (progressive, fields))
    assert len(np.unique(mixed.to_ndarray()[:32])) > 2 and kept.interlaced_frame
    assert np.array_equal(kept.to_ndarray()[:32, 0], np.where(np.arange(32) % 2, 16, 235))


def test_chroma_of_fields_is_reduced_by_field():
    frame = av.VideoFrame(32, 32, 'yuv422p')
    for plane, odd, even in zip(frame.planes, (128, 60, 60), (128, 180, 180), strict=True):
        rows = np.where(np.arange(32) % 2, odd, even).astype(np.uint8)
        plane.update(np.repeat(rows[:, None], plane.line_size, axis=1).tobytes())
    chroma = Playable()(of_fields(frame)).to_ndarray()[32:40].reshape(16, 16)
    assert np.array_equal(chroma[:, 0], np.where(np.arange(16) % 2, 60, 180))


def test_the_command_line(talk, tmp_path):
    weights = tmp_path / 'w.safetensors'
    make_restorer(GAIN).save(weights)
    out = tmp_path / 'out.mp4'
    assert cli.main(['restore', str(talk), '--weights', str(weights), '--scale', '2', '-o', str(out),
                     '--compare', 'side', '--box', '30,20,30,30']) == 0
    assert probe(tmp_path / 'out_compare.mp4').width == 4 * WIDTH
    report = json.loads((tmp_path / 'out.mp4.json').read_text())
    assert report['settings']['scale'] == '2' and report['faces'][0]['box'] == [30, 20, 30, 30]
    assert not any('--scale' in notice for notice in report['notices'])
    with pytest.raises(SystemExit):
        cli.main(['restore', str(talk), '--scale', '8'])


@pytest.mark.parametrize(('height', 'said'), [
    (30, '--scale 4'), (60, '--scale 3'), (90, '--scale 2'), (120, ''), (300, '')])
def test_a_scale_is_suggested_where_faces_are_small(height, said):
    faces = fixed_box(Box(500, 300, 500 + height * 0.75, 300 + height), 50, (1280, 720))
    words = suggest_scale(faces)
    assert said in words and bool(words) == bool(said)
    assert not words or f'median height {height} pixels' in words


def test_the_size_of_most_faces_counts():
    large, small = (Face(id, span, Boxes.repeated(Box(0, 0, side, side), len(span)), 1.)
                    for id, span, side in ((0, range(12), 300), (1, range(8, 48), 40)))
    assert '--scale 4' in suggest_scale(Faces((large, small), 48, (640, 360)))
    assert not suggest_scale(Faces((large, replace(small, span=range(8, 16))), 48, (640, 360)))


@pytest.mark.parametrize(('size', 'said'), [((3840, 2160), '--scale 2'), ((7680, 4320), '')])
def test_what_is_suggested_is_possible(size, said):
    words = suggest_scale(fixed_box(Box(0, 0, 30, 40), 9, size))
    assert said in words and bool(words) == bool(said)


def test_the_suggestion_is_printed_and_reported(talk, tmp_path):
    report = restore_video.restore_video(talk, tmp_path / 'out.mp4', make_restorer(GAIN))
    assert any('--scale 4 to enlarge the video' in notice for notice in report.notices)


def estimate_of(kind: str, noise: float = 0.3, blocks: float = 0.1) -> DegradationEstimate:
    return DegradationEstimate(kind, {one: float(one == kind) for one in KINDS}, 4, 0.34, noise, blocks)


@pytest.mark.parametrize(('degradation', 'times', 'larger', 'kind'), [
    (estimate_of('mixed'), 4., False, 'sr'), (estimate_of('mixed'), 4., True, 'sr'),
    (estimate_of('clean'), 4., True, 'sr'), (estimate_of('clean'), 4., False, 'clean'),
    (estimate_of('mixed'), ENLARGED - 0.1, True, 'mixed'),
    (estimate_of('mixed', noise=6.), 4., True, 'mixed'),
    (estimate_of('mixed', blocks=0.5), 4., True, 'mixed'),
    (estimate_of('compression'), 4., True, 'compression'), (estimate_of('deblur'), 4., True, 'deblur')])
def test_a_face_enlarged_fourfold_is_of_low_resolution(degradation, times, larger, kind):
    adjusted = adjust_for_enlargement(degradation, times, larger)
    assert adjusted.kind == kind
    assert (f'low resolution (enlarged {times:.1f} times)' == adjusted.describe()) == (kind == 'sr')


def test_how_much_is_enlarged_counts_stored_pixels():
    faces = fixed_box(Box(100, 100, 140, 140), 9, (640, 360))
    assert enlargement(faces) == pytest.approx(224 / 56)
    assert enlargement(faces.enlarged((1280, 720)), 640) == pytest.approx(224 / 56)
    assert enlargement(fixed_box(Box(0, 0, 300, 300), 9, (640, 360))) == 1


def test_auto_looks_at_the_larger_image(talk, tmp_path, monkeypatch):
    looked = []

    def estimate(crops):
        looked.extend(crops)
        return estimate_of('mixed')

    monkeypatch.setattr(weight_selection, 'estimate', estimate)
    monkeypatch.setattr(auto_restorer.AutoRestorer, 'named',
                        lambda _, name: make_restorer(GAIN if name == 'sr' else 0.))
    report = restore_video.restore_video(talk, tmp_path / 'out.mp4', settings=Settings(scale='2'))
    assert report.degradation['kind'] == 'sr' and 'restored with weights sr' in report.notices[0]
    assert report.restored == 11 and len(looked) == 11
