import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, repeat

import cv2
import numpy as np
import pytest
from drawn_faces import Detector, H, W, at, frame, near

from gavn.faces.detector import Detection, RetinaFace, detector_side, smallest_face
from gavn.faces.geometry import Box
from gavn.faces.tracker import SHORTEST, NoFace, follow_faces, follow_main_face
from gavn.faces.tracks import Faces, main_face

LEFT, RIGHT = at(10, side=36), at(100, side=44)


def spans(frames: Sequence[np.ndarray]) -> list[range]:
    return [face.span for face in follow_faces(frames, Detector()).faces]


def test_all_faces_are_followed_the_largest_comes_first():
    faces = follow_faces([frame(LEFT, RIGHT)] * 30, Detector())
    assert [face.id for face in faces.faces] == [0, 1] and (faces.count, faces.size) == (30, (W, H))
    assert all(len(face.boxes) == 30 and face.score == 0.9999 for face in faces.faces)
    assert near(faces.faces[0].boxes[12], RIGHT, 0.01) and near(faces.faces[1].boxes[12], LEFT, 0.01)
    assert spans([frame(LEFT, RIGHT)] * 10 + [frame(LEFT)] * 20) == [range(30), range(10)]


@contextmanager
def most_bytes(ceiling: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < ceiling
    finally:
        tracemalloc.stop()


def test_a_long_video_takes_little_more_than_the_numbers_of_its_boxes():
    length, places = 20000, count()

    def drifting(_: np.ndarray) -> list[Detection]:
        x = next(places) / 7
        return [(Box(x, 10., x + 36, 55.), 0.9999)]

    frames = repeat(np.zeros((32, 32, 3), np.uint8), length)
    numbers = 32 * length  # a tuple of `Box` takes five times that, as do numbers in lists
    with most_bytes(6 * numbers):
        faces = follow_faces(frames, drifting, min_face=8)
        assert tracemalloc.get_traced_memory()[0] < 1.3 * numbers
    with most_bytes(numbers):
        assert faces.coverage == 1 and all(len(faces.present(index)) == 1 for index in range(length))
    with most_bytes(6 * numbers):
        assert Faces.from_json(faces.to_json()) == faces


def test_faces_of_a_later_scene_are_others():
    frames = [frame(LEFT, RIGHT)] * 20 + [frame(LEFT, grey=150)] * 25
    faces = follow_faces(frames, Detector())
    assert faces.cuts == (20,)
    assert [face.span for face in faces.faces] == [range(20), range(20, 45), range(20)]


def test_the_main_face_is_picked_from_the_same_walk():
    frames = ([frame(LEFT, RIGHT)] * 20 + [frame(LEFT)] * 30 + [frame()] * 9 + [frame(RIGHT)] * 12
              + [frame(at(60), grey=150)] * 15)
    found = follow_main_face(frames, Detector())
    assert found == main_face(follow_faces(frames, Detector())) and found.faces[0].span == range(50)


@pytest.mark.parametrize('length', [1, SHORTEST - 1, SHORTEST])
def test_a_chance_find_is_no_face(length):
    frames = [frame(LEFT)] * 10 + [frame(LEFT, RIGHT)] * length + [frame(LEFT)] * 12
    believed = [range(10, 10 + length)] if length >= SHORTEST else []
    assert spans(frames) == [range(22 + length), *believed]
    alone = [frame()] * 10 + [frame(RIGHT)] * length + [frame()] * 9
    assert follow_main_face(alone, Detector()).faces[0].span == range(10, 10 + length)


def test_a_scene_may_be_shorter():
    frames = [frame(RIGHT)] * 20 + [frame(LEFT, grey=150)] * 2 + [frame(RIGHT)] * 20
    assert sorted(spans(frames), key=min) == [range(20), range(20, 22), range(22, 42)]


def test_a_face_is_not_taken_twice():
    def twice(image: np.ndarray) -> list[Detection]:
        found = Detector()(image)
        return found + [(Box(box.x0, box.y0, box.x1, box.y1 - 12), 0.98) for box, _ in found]

    faces = follow_faces([frame(LEFT, RIGHT)] * 20, twice)
    assert len(faces.faces) == 2 and near(faces.faces[0].boxes[5], RIGHT, 0.01)
    touching = follow_faces([frame(at(40))] * 20, lambda _: [(at(40), 0.99), (at(62, 40), 0.98)])
    assert len(touching.faces) == 2


def test_a_face_that_goes_on_from_a_double_is_kept():
    small, large = at(40, side=24), at(40, side=60)
    seen = iter([[large]] * 10 + [[large, small]] * 2 + [[small]] * 30)
    faces = follow_faces([frame()] * 42, lambda _: [(box, 0.99) for box in next(seen)], every=1, min_face=20)
    assert sorted((face.span for face in faces.faces), key=min) == [range(12), range(10, 42)]


def test_heights_may_fall_below_the_smallest_for_a_while():
    wavering = [frame(Box(40, 30, 70, 30 + (34 if i % 7 else 28))) for i in range(40)]
    assert spans(wavering) == [range(40)]
    with pytest.raises(NoFace, match='32 pixels'):
        follow_faces([frame(Box(40, 30, 70, 61))] * 40, Detector())
    assert follow_faces([frame(Box(40, 30, 70, 61))] * 40, Detector(), min_face=30).faces


def test_no_face_in_no_frames():
    with pytest.raises(NoFace, match='no frame'):
        follow_faces([], Detector())


@pytest.mark.parametrize(('size', 'smallest'), [
    ((224, 224), 32), ((1280, 720), 32), ((1920, 1080), 48), ((1080, 1920), 48), ((3840, 2160), 96)])
def test_large_images_have_large_faces(size, smallest):
    assert smallest_face(size) == smallest
    assert detector_side(size, smallest) == (480 if max(size) < 1000 else 1280)


def test_images_are_reduced_as_far_as_the_smallest_face_allows():
    assert detector_side((1920, 1080), 64) == 960 and detector_side((1920, 1080), 500) == 480
    assert detector_side((3840, 2160), 10) == 1920


def test_a_small_face_in_a_large_image_is_found():
    data = pytest.importorskip('skimage.data')
    photo = cv2.resize(data.astronaut()[..., ::-1], (200, 200), interpolation=cv2.INTER_AREA)
    large = np.full((1080, 1920, 3), 90, np.uint8)
    large[500:700, 900:1100] = photo
    faces = follow_faces([large], min_face=40)
    assert [face.span for face in faces.faces] == [range(1)]
    assert faces.faces[0].boxes[0].iou(Box(968, 524, 1008, 575)) > 0.6
    assert not RetinaFace(threads=1)(large)
