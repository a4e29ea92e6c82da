"""Figures: faces side by side with their details, curves of training and over levels, and what they lack."""
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_run

from gavn.data.clip_store import ClipStore
from gavn.errors import MissingPackageError
from gavn.experiments.report.curves import levels_figure, read_curve, styles, training_figure
from gavn.experiments.report.drawing import save
from gavn.experiments.report.faces import FigureRow, ImagePart, ImageSource, combine, faces_figure, openness
from gavn.experiments.report.results import ReportError, collect
from gavn.faces.landmarks import MEAN_FACE, MOUTH, box_around, to_pixels
from gavn.metrics.frame import psnr
from gavn.metrics.results_file import DEGRADED, TRUTH, ResultRow, RunInfo, write_results

pytest.importorskip('matplotlib')
ROOT = Path(__file__).resolve().parents[2]
SIDE = tiny_run.SIDE


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The tiny data set, whose first clip opens its mouth in frame 4, and images of two runs on it."""
    folder = tmp_path_factory.mktemp('figures')
    root = tiny_run.make_data(folder / 'tiny')
    face = np.tile(to_pixels(MEAN_FACE, SIDE, SIDE), (7, 1, 1)).astype(np.float32)
    face[4, 65:68, 1] += 3
    np.save(root / 'landmarks/carl.npy', face)
    lq, gt = ClipStore(root, 'blur'), ClipStore(root, 'gt')
    for run, share in (('edvr', 0.3), ('gavn', 0.8)):
        for index in range(7):
            path = folder / f'results/test_{run}_deblur/visualization/val/carl/{index:08d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.addWeighted(
                gt.frame('carl', index), share, lq.frame('carl', index), 1 - share, 0))
    return folder


@pytest.fixture
def source(data):
    runs = {name: f'{data}/results/test_{name.lower()}_{{task}}' for name in ('EDVR', 'GAVN')}
    return ImageSource(data / 'tiny', runs)


def pixels(figure, path):
    save(figure, path)
    return cv2.imread(str(path)).astype(int)


def test_each_image_has_three_axes_and_each_method_its_psnr(source):
    row = source.row('blur', 'carl', None)
    assert row.label == 'blur\ncarl, frame 4'  # the widest open mouth
    assert list(row.images) == [DEGRADED, 'EDVR', 'GAVN', TRUTH]
    figure = faces_figure([row, source.row('blur', 'carl', 0)])
    assert len(figure.axes) == 2 * 4 * 3
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [DEGRADED, 'EDVR', 'GAVN', TRUTH]
    texts = [text.get_text() for axes in figure.axes[:12] for text in axes.texts]
    assert texts == [f'{psnr(image, row.images[TRUTH]):.2f} dB'
                    for name, image in row.images.items() if name != TRUTH]
    assert texts == sorted(texts)  # these runs lie between input and truth


def test_details_are_those_of_the_method(source, tmp_path):
    row = source.row('blur', 'carl', 2)
    figure = faces_figure([row])
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    for column, image in enumerate(row.images.values()):
        face, eyes, mouth = shown[3 * column:3 * column + 3]
        assert np.array_equal(face, image[..., ::-1])
        assert np.array_equal(eyes, row.boxes[0].crop(image)[..., ::-1])
        assert np.array_equal(mouth, row.boxes[1].crop(image)[..., ::-1])
    changed = {**row.images, 'GAVN': 255 - row.images['GAVN']}
    figures = figure, faces_figure([FigureRow(row.label, changed, row.boxes)])
    before, after = (pixels(drawn, tmp_path / 'faces.png') for drawn in figures)
    different = np.flatnonzero((before != after).any((0, 2)))
    width = before.shape[1]
    assert before.shape == after.shape
    assert width * 0.5 < different.min() and different.max() < width * 0.78  # the third of four columns


def test_videos_without_a_ground_truth_have_neither_its_column_nor_psnr(source):
    runs = {name: run.replace('{task}', 'deblur') for name, run in source.runs.items()}
    row = replace(source, runs=runs).row('', 'carl', 1)
    assert list(row.images) == [DEGRADED, 'EDVR', 'GAVN'] and row.label == 'carl, frame 1'
    assert not any(axes.texts for axes in faces_figure([row]).axes)


def test_boxes_are_around_eyes_and_mouth_inside_the_image():
    face = to_pixels(MEAN_FACE, 224, 224)
    eyes, mouth = (ImagePart(*box_around(face[part], 224, 224)) for part in (slice(36, 48), MOUTH))
    for box, part in ((eyes, face[36:48]), (mouth, face[MOUTH])):
        assert abs(box.width - 2 * box.height) <= 1
        assert (part >= (box.left, box.top)).all()
        assert (part < (box.left + box.width, box.top + box.height)).all()
    assert eyes.top + eyes.height < mouth.top + mouth.height and eyes.width > mouth.width
    corner = ImagePart(*box_around(np.array([[-5.0, -3.0], [20.0, 2.0]]), 224, 224))
    assert (corner.left, corner.top) == (0, 0)
    assert box_around(np.array([[0.0, 0.0], [300.0, 90.0]]), 64, 48) == (0, 16, 64, 32)
    with pytest.raises(ReportError, match=r'the box 200 0 30 20 .* is not inside an image of 224x224'):
        ImagePart(200, 0, 30, 20).crop(np.zeros((224, 224, 3), np.uint8))


def test_openness_is_measured_in_eye_distances():
    face = MEAN_FACE.copy()
    face[[65, 66, 67], 1] = face[[63, 62, 61], 1] + 0.2
    wide = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    assert openness(np.stack([face, 3 * face])) == pytest.approx(0.2 / wide, rel=0.05)


def test_clips_without_landmarks_need_a_frame_and_both_boxes(source):
    (source.root / 'landmarks/carl.npy').rename(source.root / 'landmarks/other.npy')
    box = ImagePart(1, 2, 8, 4)
    try:
        with pytest.raises(ReportError, match=r'no landmarks of carl: say which frames'):
            source.row('blur', 'carl', None)
        assert replace(source, eyes=box, mouth=box).row('blur', 'carl', 0).boxes == (box, box)
        with pytest.raises(ReportError, match='give both boxes'):
            replace(source, mouth=box).row('blur', 'carl', 0)
    finally:
        (source.root / 'landmarks/other.npy').rename(source.root / 'landmarks/carl.npy')
    eyes, mouth = replace(source, mouth=box).row('blur', 'carl', 0).boxes
    assert mouth == box and eyes == source.row('blur', 'carl', 0).boxes[0]


def test_videos_may_be_plain_folders_of_images(data, tmp_path):
    store = ClipStore(data / 'tiny', 'blur')
    for index in range(2):
        (tmp_path / 'web/carl').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f'web/carl/frame_{index}.png'), store.frame('carl', index))
    box, runs = ImagePart(2, 2, 12, 6), {'GAVN': str(data / 'results/test_gavn_deblur')}
    source = ImageSource(tmp_path / 'web', runs, box, box)
    assert np.array_equal(source.row('', 'carl', 1).images[DEGRADED], store.frame('carl', 1))
    with pytest.raises(ReportError, match='no readable image number 2; it has 2 images'):
        source.row('', 'carl', 2)
    with pytest.raises(ReportError, match='give both boxes'):
        replace(source, eyes=None).row('', 'carl', 1)


@pytest.mark.parametrize(('lists', 'expected'), [
    ((['blur'], ['a', 'b'], []), [('blur', 'a', None), ('blur', 'b', None)]),
    ((['blur', 'sr'], ['a'], [3]), [('blur', 'a', 3), ('sr', 'a', 3)]),
    ((['blur', 'sr'], ['a', 'b'], [1, 2]), [('blur', 'a', 1), ('sr', 'b', 2)]),
])
def test_rows_are_made_of_lists(lists, expected):
    assert combine(*lists) == expected


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ReportError, match='2 clips for 3 rows'):
        combine(['car', 'blur', 'sr'], ['a', 'b'], [])


def test_errors_name_the_command_that_makes_missing_images(source, data):
    with pytest.raises(ReportError, match=r'no folder .*test_edvr_sr: name the folder'):
        replace(source, runs={'EDVR': f'{data}/results/test_edvr_sr'}).row('blur', 'carl', 0)
    with pytest.raises(ReportError, match=r'(?s)sr_x2 does not exist; layers.*gavn prepare --degradations'):
        source.row('sr_x2', 'carl', 0)
    with pytest.raises(ReportError, match=r'(?s)no file carl/00000099\.png.*meta_info_'):
        source.row('blur', 'carl', 99)
    with pytest.raises(ReportError, match=r'no images of clip emil\nmake them: .* --force_yml val:save_img'):
        source.row('blur', 'emil', 0)


def test_runs_of_several_sets_and_other_sizes_are_errors(data, tmp_path):
    small = np.zeros((8, 8, 3), np.uint8)
    for name in ('one', 'two'):
        (tmp_path / f'run/visualization/{name}/carl').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'run/visualization/{name}/carl/00000000.png'), small)

    def row(run, index=0):
        return ImageSource(data / 'tiny', {'X': str(run)}).row('blur', 'carl', index)
    with pytest.raises(ReportError, match=r'several sets in .* have clip carl: name one of .*one, .*two'):
        row(tmp_path / 'run')
    with pytest.raises(ReportError, match=r'carl, frame 0: X has 8x8 pixels, the input 32x32'):
        row(tmp_path / 'run/visualization/one')
    with pytest.raises(ReportError, match=r'no readable image .*00000003\.png; the clip has 1 in this run'):
        row(tmp_path / 'run/visualization/one', 3)


def validation(folder, name, values, minutes=True, start=20.0):
    for iteration, value in values.items():
        run = RunInfo('tiny', 'blur', name, minutes=iteration / 10 if minutes else None)
        write_results(folder / f'{name}/metrics/my_val_{iteration}.csv', [
            ResultRow(run, 'carl', 7, {'psnr': value - 1}), ResultRow(run, 'emil', 1, {'psnr': value + 1}),
            ResultRow(RunInfo('tiny', 'blur', DEGRADED), 'carl', 7, {'psnr': start})])
    return folder / name


def test_curves_of_training(tmp_path):
    edvr = read_curve(validation(tmp_path, 'EDVR', {200: 25.0, 1000: 27.0, 50: 21.0}), None, 'psnr')
    assert (edvr.iterations, edvr.values, edvr.minutes, edvr.start) == (
        [50, 200, 1000], [21.0, 25.0, 27.0], [5.0, 20.0, 100.0], 20.0)
    gavn = read_curve(validation(tmp_path, 'GAVN', {50: 22.0}, minutes=False), 'my_val', 'psnr')
    figure = training_figure({'GAVN': gavn, 'EDVR': edvr}, 'psnr')
    left, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ['EDVR', 'GAVN', DEGRADED]
    assert list(left.get_lines()[0].get_xdata()) == [50, 200, 1000]
    assert left.get_lines()[2].get_linestyle() == '--' and left.get_lines()[2].get_ydata()[0] == 20
    assert [list(line.get_xdata()) for line in right.get_lines()[:2]] == [[5, 20, 100], []]
    assert len(training_figure({'GAVN': gavn}, 'psnr').axes) == 1


def test_errors_say_what_curves_need(tmp_path):
    edvr = validation(tmp_path, 'EDVR', {10: 25.0})
    with pytest.raises(ReportError, match=r'val_10\.csv has no lpips: it has psnr; .*val\.metrics'):
        read_curve(edvr, None, 'lpips')
    with pytest.raises(ReportError, match='not validated on other but on my_val'):
        read_curve(edvr, 'other', 'psnr')
    with pytest.raises(ReportError, match='has no validations'):
        read_curve(tmp_path / 'nothing', None, 'psnr')
    (edvr / 'metrics/my_val_10.csv').with_name('more_10.csv').write_text('')
    with pytest.raises(ReportError, match=r'validated on more, my_val: say which to show \(--set\)'):
        read_curve(edvr, None, 'psnr')
    other = read_curve(validation(tmp_path, 'GAVN', {10: 25.0}, start=21.0), None, 'psnr')
    with pytest.raises(ReportError, match=r'different data: psnr of .* is EDVR 20\.0000, GAVN 21\.0000'):
        training_figure({'EDVR': read_curve(edvr, 'my_val', 'psnr'), 'GAVN': other}, 'psnr')


def level_results(path):
    write_results(path, [
        ResultRow(RunInfo('tiny', layer, method), 'carl', 7, {'psnr': value})
        for method, values in {'GAVN': (31, 30, 29), 'EDVR': (30, None, 27), DEGRADED: (25, 24, 23)}.items()
        for layer, value in zip(('blur_k17', 'blur_k21', 'blur_k25'), values, strict=True) if value])
    return path


def test_levels_are_drawn_as_lines(tmp_path):
    axes, = levels_figure(collect([level_results(tmp_path / 'r.csv')]), 'tiny').axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}
    assert lines == {'EDVR': ([17, 25], [30, 27]), 'GAVN': ([17, 21, 25], [31, 30, 29]),
                     DEGRADED: ([17, 21, 25], [25, 24, 23])}
    with pytest.raises(ReportError, match='no results on levels of degradation of others: gavn test -opt '):
        levels_figure(collect([tmp_path / 'r.csv']), 'others')


def test_methods_keep_their_colours():
    few = styles(['GAVN', 'mine'])
    many = styles(['mine', 'EDVR', 'GAVN', 'DBPN', 'VRT', 'BasicVSR++', 'yours'])
    assert few['GAVN'] == many['GAVN'] and few['GAVN'] != few['mine']
    assert len({look['color'] for look in many.values()}) == 7
    crowd = styles(['GAVN', 'EDVR', 'DBPN', 'VRT', 'BasicVSR++', 'DAVD-Net', 'a', 'b', 'c', 'd'])
    assert len({tuple(look.values()) for look in crowd.values()}) == 10  # one colour is left for four of them


@pytest.fixture
def script(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['figures.py', *map(str, arguments)])
        monkeypatch.setattr(sys, 'path', list(sys.path))
        return runpy.run_path(str(ROOT / 'scripts/figures.py'), run_name='script')['main']()
    return run


def test_the_script_draws_faces(script, data, tmp_path):
    code = script('compare', '--data', data / 'tiny', '--degradation', 'blur', '--clips', 'carl',
                  '--frames', 0, 1, '--runs', f'GAVN={data}/results/test_gavn_{{task}}',
                  '-o', tmp_path / 'faces.png')
    assert code == 0
    height, width = cv2.imread(str(tmp_path / 'faces.png')).shape[:2]
    assert height > width > 700  # two rows of three columns, details below each face


def test_the_script_ends_with_a_clear_message(script, tmp_path, capsys):
    assert script('levels', level_results(tmp_path / 'r.csv'), '-o', tmp_path / 'levels.bmp') == 1
    assert re.match(r'error: .*levels\.bmp: .*\.png, \.pdf, \.svg', capsys.readouterr().err)


def test_figures_are_written_in_the_format_of_their_ending(tmp_path):
    figure = levels_figure(collect([level_results(tmp_path / 'r.csv')]), 'tiny')
    for ending, start in (('.png', b'\x89PNG'), ('.pdf', b'%PDF'), ('.svg', b'<?xml')):
        save(figure, tmp_path / f'levels{ending}')
        assert (tmp_path / f'levels{ending}').read_bytes().startswith(start)


def test_missing_matplotlib_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(MissingPackageError, match=r"needs matplotlib: .*\[evaluate\]"):
        levels_figure(collect([level_results(tmp_path / 'r.csv')]), 'tiny')
