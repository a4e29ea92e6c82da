"""How one face is followed: gaps, cuts, smoothing, and what is kept in memory."""
import weakref

import cv2
import numpy as np
import pytest
from drawn_faces import Detector, H, W, at, frame, near

from gavn.faces.detector import RetinaFace
from gavn.faces.geometry import Box
from gavn.faces.tracker import MAX_GAP, NoFace, follow_faces, follow_main_face, smooth


def test_a_still_face_costs_one_detection_in_five():
    detect = Detector()
    faces = follow_faces((frame(at(40)) for _ in range(51)), detect)
    [face] = faces.faces
    assert detect.calls == 11 and face.span == range(51) and faces.size == (W, H)
    assert all(near(box, at(40), 0.01) for box in face.boxes)


def test_regions_stay_inside_the_image():
    found = follow_main_face([frame(at(0, 60, 40))] * 8, Detector())
    assert near(found.region(found.faces[0], 3), Box(0, 50, 70, 120), 0.01)  # moved up and to the right


def test_a_moving_face_is_followed_between_detections():
    [face] = follow_faces((frame(at(20 + i)) for i in range(60)), Detector()).faces
    assert all(near(face.boxes[i], at(20 + i), 0.6) for i in range(15, 45))


def test_every_length_is_covered():
    for length in range(1, 13):
        [face] = follow_faces((frame(at(40)) for _ in range(length)), Detector()).faces
        assert len(face.boxes) == length and face.span == range(length)


@pytest.mark.parametrize('gap', [1, MAX_GAP])
def test_short_gaps_are_bridged(gap):
    frames = [frame(at(40))] * 13 + [frame()] * gap + [frame(at(50))] * 20
    [face] = follow_faces(frames, Detector()).faces
    assert face.span == range(len(frames))


def test_a_long_gap_ends_a_face_to_the_frame():
    frames = [frame(at(40))] * 13 + [frame()] * (MAX_GAP + 1) + [frame(at(40))] * 22
    assert [face.span for face in follow_faces(frames, Detector()).faces] == [range(19, 41), range(13)]


def test_smoothing_does_not_cross_a_cut():
    frames = [frame(at(40))] * 23 + [frame(at(44), grey=150)] * 14
    first, second = follow_faces(frames, Detector()).faces
    assert near(first.boxes[22], at(40), 0.01) and near(second.boxes[0], at(44), 0.01)


def test_the_largest_and_longest_present_is_the_main_face():
    both = [frame(at(10, side=36), at(100, side=44))] * 10
    [face] = follow_main_face(both + [frame(at(100, side=44))] * 30, Detector()).faces
    assert near(face.boxes[0], at(100, side=44), 0.5) and face.span == range(40)
    [face] = follow_main_face([frame(at(10, side=36))] * 40 + both[:5], Detector()).faces
    assert near(face.boxes[20], at(10, side=36), 0.5)


def test_no_face():
    with pytest.raises(NoFace, match='no face in 12 frames'):
        follow_main_face([frame()] * 12, Detector())
    with pytest.raises(NoFace, match='no face in 0 frames'):
        follow_main_face([], Detector())
    with pytest.raises(NoFace, match='60 pixels'):
        follow_main_face([frame(at(40))] * 12, Detector(), min_face=60)


def test_a_face_never_sure_is_none_and_an_unsure_moment_is_kept():
    def unsure(image: np.ndarray) -> list[tuple[Box, float]]:
        return [(box, 0.95 if image[0, 0, 0] == 61 else 0.9999) for box, _ in Detector()(image)]

    with pytest.raises(NoFace):
        follow_faces([frame(at(40), grey=61)] * 20, unsure)
    [face] = follow_faces([frame(at(40), grey=61)] * 20 + [frame(at(40))] * 6, unsure).faces
    assert face.span == range(26)


def test_smoothing_takes_out_jitter_and_outliers():
    rng = np.random.default_rng(0)
    still = np.tile([10.0, 20, 50, 70], (200, 1))
    noisy = still + rng.normal(0, 1, still.shape)
    noisy[100] += 80
    result = smooth(noisy)
    assert np.abs(result - still).max() < 1.2 and np.abs(np.diff(result, axis=0)).max() < 0.2


def test_frames_are_not_kept():
    alive: list[weakref.ref] = []
    most = 0

    class Frame(np.ndarray):
        pass

    def stream():
        nonlocal most
        for _ in range(60):
            image = frame(at(40)).view(Frame)
            alive.append(weakref.ref(image))
            most = max(most, sum(ref() is not None for ref in alive))
            yield image

    follow_faces(stream(), Detector())
    assert most <= 8


def test_the_real_detector_finds_a_real_face():
    data = pytest.importorskip('skimage.data')
    photo = np.ascontiguousarray(data.astronaut()[..., ::-1])
    detect = RetinaFace(threads=1)
    [(box, score)] = [face for face in detect(photo) if face[1] > 0.99]
    assert score >= 0.998 and box.iou(Box(175, 62, 275, 192)) > 0.7
    [(half, _)] = [face for face in detect(cv2.resize(photo, None, fx=2, fy=2)) if face[1] > 0.99]
    assert half.scaled(0.5).iou(box) > 0.85
    assert follow_main_face([photo] * 7, detect).faces[0].span == range(7)
