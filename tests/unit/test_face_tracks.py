import json
from dataclasses import replace

import numpy as np
import pytest
from drawn_faces import near

from gavn.faces.box_array import Boxes
from gavn.faces.geometry import Box, crop_box, inside
from gavn.faces.tracks import Face, Faces, choose, fixed_box, main_face

SIZE = (640, 360)


def face(id: int, start: int, stop: int, x: float = 100) -> Face:
    boxes = Boxes(np.array([(x + i / 3, 100, x + 60 + i / 3, 180.1) for i in range(start, stop)]))
    return Face(id, range(start, stop), boxes, 0.999)


FOUND = Faces((face(0, 0, 30), face(1, 10, 40, x=150), face(2, 34, 40), face(4, 45, 50)), 60, SIZE, (34,))


def regions(faces: Faces, index: int, **options: float) -> list[tuple[int, Box]]:
    return [(face.id, faces.region(face, index, **options)) for face in faces.present(index)]


def ids(faces: Faces) -> list[int]:
    return [face.id for face in faces.faces]


def test_regions_of_a_frame():
    [(id, square)] = regions(FOUND, 5)
    assert id == 0 and near(square, crop_box(FOUND.faces[0].boxes[5]), 1e-9)
    assert [id for id, _ in regions(FOUND, 10)] == [0, 1] and [id for id, _ in regions(FOUND, 34)] == [1, 2]
    [(id, square)] = regions(FOUND, 30)
    assert id == 1 and near(square, crop_box(FOUND.faces[1].boxes[20]), 1e-9)
    assert regions(FOUND, 42) == [] and regions(FOUND, 59) == []
    assert FOUND.coverage == pytest.approx(45 / 60)
    with pytest.raises(IndexError):
        regions(FOUND, 60)
    edge = fixed_box(Box(600, 300, 640, 360), 3, SIZE)
    assert regions(edge, 2) == [(0, inside(crop_box(Box(600, 300, 640, 360)), *SIZE))]
    [(_, narrow)] = regions(edge, 2, margin=0)
    assert narrow.width == pytest.approx(60)


def test_the_main_face_in_its_longest_run():
    found = main_face(FOUND)
    assert found == replace(FOUND, faces=FOUND.faces[:1])
    assert main_face(choose(FOUND, '2,4')).faces == FOUND.faces[2:3]


def test_choosing():
    assert choose(FOUND, 'all') is FOUND
    assert ids(choose(FOUND, 'largest')) == [0, 2, 4]
    chosen = choose(FOUND, '4, 1')
    assert ids(chosen) == [1, 4] and (chosen.count, chosen.cuts, chosen.size) == (60, (34,), SIZE)
    assert regions(chosen, 5) == [] and [id for id, _ in regions(chosen, 12)] == [1]


@pytest.mark.parametrize(('which', 'words'), [
    ('3', 'no face 3 in the video, which has faces 0, 1, 2, 4'), ('0,-1,9', 'no face -1, 9'),
    ('both', "'all', 'largest' or ids such as '0,2', not 'both'"), ('', "not ''"), ('1,', "not '1,'")])
def test_what_is_not_there_cannot_be_chosen(which, words):
    with pytest.raises(ValueError, match=words):
        choose(FOUND, which)


def test_many_ids_are_reported_as_a_range():
    one, many = Faces((face(0, 0, 2),), 2, SIZE), Faces(tuple(face(i, 0, 2) for i in range(9)), 2, SIZE)
    with pytest.raises(ValueError, match='which has faces 0 to 8'):
        choose(many, '9')
    with pytest.raises(ValueError, match=r'which has face 0$'):
        choose(one, '9')


def test_a_fixed_box_is_in_every_frame():
    box = Box(100, 100, 160, 190)
    faces = fixed_box(box, 7, SIZE)
    assert all(near(regions(faces, i)[0][1], crop_box(box), 1e-9) for i in range(7)) and faces.coverage == 1


@pytest.mark.parametrize('box', [Box(-1, 0, 50, 50), Box(600, 10, 641, 50), Box(10, 300, 60, 361),
                                 Box(50, 10, 50, 40), Box(10, 40, 50, 30)])
def test_a_fixed_box_is_in_the_image(box):
    with pytest.raises(ValueError, match='not inside an image of 640 x 360'):
        fixed_box(box, 7, SIZE)


def test_to_json_and_back_is_exact():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (25, 2))
    boxes = Boxes(np.hstack([corners, corners + np.array([1 / 3, 1e-9])]))
    faces = Faces((Face(0, range(3, 28), boxes, 0.1 + 0.2), face(2, 0, 5)), 30, SIZE, (3, 28))
    again = Faces.from_json(faces.to_json())
    assert again == faces and again.to_json() == faces.to_json() and regions(again, 4) == regions(faces, 4)
    json.loads(faces.to_json(), parse_constant=pytest.fail)  # no NaN or Infinity, which are not JSON


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"count": 3, "size": null, "cuts": [], "faces": []}',
                                  '{"count": 3, "size": [4, 4], "cuts": [], "faces": [[]]}'])
def test_other_json_is_no_faces(text):
    with pytest.raises(ValueError):
        Faces.from_json(text)
