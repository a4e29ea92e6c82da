import weakref

import cv2
import numpy as np
import pytest
from drawn_faces import Detector, H, W, at, frame, near

from gavn.faces.detector import RetinaFace
from gavn.faces.geometry import Box, crop_box
from gavn.faces.tracker import MAX_GAP, NoFace, smooth, track_faces
from gavn.faces.tracks import Track


def test_a_still_face_costs_one_detection_in_five():
    detect = Detector()
    track = track_faces((frame(at(40)) for _ in range(51)), detect)
    assert detect.calls == 11 and track.segments == (range(51),) and track.coverage == 1
    assert all(near(box, at(40), 0.01) for box in track.boxes)
    assert track.size == (W, H) and near(track.region(7), crop_box(track.boxes[7]), 1e-6)


def test_regions_stay_inside_the_image():
    track = track_faces([frame(at(0, 60, 40))] * 8, Detector())
    assert near(track.region(3), Box(0, 50, 70, 120), 0.01)  # 1.4 * 50 pixels, moved up and to the right
    beyond = Track(track.boxes, track.segments)
    assert beyond.region(3) == crop_box(track.boxes[3]) and beyond.region(3).x0 < 0


def test_a_moving_face_is_followed_between_detections():
    track = track_faces((frame(at(20 + i)) for i in range(60)), Detector())
    assert all(near(track.boxes[i], at(20 + i), 0.6) for i in range(15, 45))


def test_every_length_is_covered():
    for length in range(1, 13):
        track = track_faces((frame(at(40)) for _ in range(length)), Detector())
        assert len(track.boxes) == length and track.segments == (range(length),)


@pytest.mark.parametrize('gap', [1, MAX_GAP])
def test_short_gaps_are_bridged(gap):
    frames = [frame(at(40))] * 13 + [frame()] * gap + [frame(at(50))] * 20
    track = track_faces(frames, Detector())
    assert track.segments == (range(len(frames)),) and None not in track.boxes


def test_a_long_gap_ends_a_segment_to_the_frame():
    frames = [frame(at(40))] * 13 + [frame()] * (MAX_GAP + 1) + [frame(at(40))] * 22
    track = track_faces(frames, Detector())
    assert track.segments == (range(13), range(19, 41)) and track.longest == range(19, 41)
    assert track.boxes[12] and track.boxes[13:19] == (None,) * 6 and track.boxes[19]
    assert track.region(15) is None and track.coverage == pytest.approx(35 / 41)


def test_a_cut_begins_a_segment_and_smoothing_does_not_cross_it():
    frames = [frame(at(40))] * 23 + [frame(at(44), grey=150)] * 14
    track = track_faces(frames, Detector())
    assert track.segments == (range(23), range(23, 37))
    assert near(track.boxes[22], at(40), 0.01) and near(track.boxes[23], at(44), 0.01)


def test_the_largest_and_longest_present_is_the_main_face():
    both = [frame(at(10, side=36), at(100, side=44))] * 10
    track = track_faces(both + [frame(at(100, side=44))] * 30, Detector())
    assert near(track.boxes[0], at(100, side=44), 0.5) and track.segments == (range(40),)
    track = track_faces([frame(at(10, side=36))] * 40 + both[:5], Detector())
    assert near(track.boxes[20], at(10, side=36), 0.5)


def test_another_face_takes_over_where_the_main_one_is_gone():
    frames = [frame(at(10))] * 30 + [frame(at(100))] * 10
    track = track_faces(frames, Detector())
    assert track.segments == (range(30), range(30, 40))
    assert near(track.boxes[29], at(10), 0.01) and near(track.boxes[30], at(100), 0.01)


def test_no_face():
    with pytest.raises(NoFace, match='no face in 12 frames'):
        track_faces([frame()] * 12, Detector())
    with pytest.raises(NoFace, match='no face in 0 frames'):
        track_faces([], Detector())
    with pytest.raises(NoFace, match='60 pixels'):
        track_faces([frame(at(40))] * 12, Detector(), min_face=60)


def test_a_face_never_sure_is_none_and_an_unsure_moment_is_kept():
    def unsure(image: np.ndarray) -> list[tuple[Box, float]]:
        return [(box, 0.95 if image[0, 0, 0] == 61 else 0.9999) for box, _ in Detector()(image)]

    with pytest.raises(NoFace):
        track_faces([frame(at(40), grey=61)] * 20, unsure)
    track = track_faces([frame(at(40), grey=61)] * 20 + [frame(at(40))] * 6, unsure)
    assert track.segments == (range(26),)


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

    track_faces(stream(), Detector())
    assert most <= 8


def test_the_real_detector_finds_a_real_face():
    data = pytest.importorskip('skimage.data')
    photo = np.ascontiguousarray(data.astronaut()[..., ::-1])
    detect = RetinaFace(threads=1)
    [(box, score)] = [face for face in detect(photo) if face[1] > 0.99]
    assert score >= 0.998 and box.iou(Box(175, 62, 275, 192)) > 0.7
    [(half, _)] = [face for face in detect(cv2.resize(photo, None, fx=2, fy=2)) if face[1] > 0.99]
    assert half.scaled(0.5).iou(box) > 0.85
    track = track_faces([photo] * 7, detect)
    assert isinstance(track, Track) and track.segments == (range(7),)
