import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavn.faces.box_array import Boxes
from gavn.faces.geometry import (
    Box,
    Patch,
    crop,
    crop_box,
    divide_overlaps,
    feather_mask,
    inside,
    oval_mask,
    paste,
    sides_on_edge,
)


def smooth(h: int, w: int) -> np.ndarray:
    """An image without detail finer than some twenty pixels."""
    y, x = np.mgrid[:h, :w]
    planes = [128 + 90 * np.sin(x / 23 + i) * np.cos(y / 29 - i) for i in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def noise(h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def test_boxes():
    box = Box(10, 20, 40, 60)
    assert (box.width, box.height, box.area, box.centre) == (30, 40, 1200, (25, 40))
    assert box.iou(box) == 1 and box.iou(Box(40, 20, 50, 60)) == 0
    assert box.iou(Box(25, 20, 55, 60)) == pytest.approx(600 / 1800)
    assert box.scaled(2) == Box(20, 40, 80, 120)


def test_many_boxes_are_as_one_by_one():
    rng = np.random.default_rng(0)
    corners, others = (np.sort(rng.uniform(0, 50, (9, 2, 2)), axis=1).reshape(9, 4) for _ in range(2))
    boxes, more = Boxes(corners), Boxes(others)
    plain = [Box(*row) for row in corners.tolist()]
    assert list(boxes) == plain and boxes[-1] == plain[-1] and len(boxes) == 9
    assert boxes.heights.tolist() == [box.height for box in plain]
    assert boxes.areas.tolist() == [box.area for box in plain]
    together = boxes.intersection(more)
    assert together.tolist() == [box.intersection(other) for box, other in zip(plain, more, strict=True)]
    assert together.min() == 0 < together.max()
    assert boxes == Boxes(corners.copy()) and boxes != more and boxes != plain
    assert Boxes.repeated(plain[0], 3) == Boxes(corners[[0, 0, 0]])
    assert boxes[1:] == Boxes(corners[1:]) and list(boxes[2::3]) == plain[2::3]
    assert Boxes.repeated(Box(1, 2, 3, 4), 9).corners.strides[0] == 0  # in the memory of one
    for number, error in ((9, IndexError), ('first', TypeError)):
        with pytest.raises(error):
            boxes[number]
    with pytest.raises(ValueError, match='read-only'):
        boxes.corners[0] = 0


def test_crop_box_by_hand():
    # longer side 40: half 20; 2 * 20 * 1.4 = 56 wide about x = 25; from y = 40 - 20 to 40 + 20 * 1.8
    assert crop_box(Box(10, 20, 40, 60)) == Box(25 - 28, 20, 25 + 28, 76)
    region = crop_box(Box(0, 0, 30, 50), margin=0.2)
    assert region.width == pytest.approx(region.height) == pytest.approx(60)


def test_inside_shifts_then_reduces():
    assert inside(Box(-10, 20, 30, 60), 100, 80) == Box(0, 20, 40, 60)
    assert inside(Box(70, 50, 110, 90), 100, 80) == Box(60, 40, 100, 80)
    assert inside(Box(30, -20, 130, 80), 200, 80) == Box(40, 0, 120, 80)
    assert inside(Box(30, 20, 60, 50), 100, 80) == Box(30, 20, 60, 50)


def test_a_region_on_whole_pixels_is_returned_as_it_is():
    image = noise(50, 60)
    assert np.array_equal(crop(image, Box(7, 3, 39, 35), 32), image[3:35, 7:39])


def test_what_is_outside_repeats_the_border():
    image = noise(20, 20)
    outside = crop(image, Box(-8, -8, 24, 24), 32)
    assert np.array_equal(outside[8:28, 8:28], image)
    assert (outside[:8, :8] == image[0, 0]).all() and (outside[8:28, 28:] == image[:, 19:]).all()


def test_reducing_averages():
    image = noise(64, 64)
    reduced = crop(image, Box(0, 0, 64, 64), 16).astype(float)
    expected = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(reduced - expected).max() <= 0.51


def test_a_moving_region_moves_evenly():
    """A quarter of a pixel a frame shifts the crop by just that, also when it enlarges and reduces."""
    image = smooth(200, 200)
    for side in (50.0, 64.0, 120.0):
        ahead = crop(image, Box(60.25, 40, 60.25 + side, 40 + side), 64).astype(float)
        still = crop(image, Box(60, 40, 60 + side, 40 + side), 64).astype(float)
        slope = np.gradient(still, axis=1) * (64 / side)
        error = (ahead - still - 0.25 * slope)[4:-4, 4:-4]
        assert np.abs(error).mean() < 0.5


def test_the_oval_is_on_the_face_and_nowhere_else():
    """In the place of the box, also where its crop was shifted to stay inside the image."""
    box = Box(100, 80, 160, 160)
    for region in (crop_box(box), Box(90, 60, 202, 172)):
        mask = oval_mask(box, region)
        step = region.width / 224

        def at(x, y, mask=mask, region=region, step=step):
            return mask[int((y - region.y0) / step), int((x - region.x0) / step)]

        assert mask.dtype == np.float32 and mask.min() == 0 and mask.max() == 1
        assert all(at(*place) == 1 for place in ((130, 120), (102, 120), (158, 120), (130, 84), (130, 158)))
        assert at(168, 165) == 0 and at(95, 155) < 0.5  # a shoulder, beside the jaw
        assert 0 < at(166, 120) < 1 and at(173, 120) == 0
    assert np.abs(np.diff(oval_mask(box, crop_box(box)), axis=1)).max() < 0.1  # no edge


def test_feather_mask():
    mask = feather_mask()
    assert mask.shape == (224, 224) and mask.dtype == np.float32
    assert (mask[22:202, 22:202] == 1).all() and mask[0].max() < 0.01 and mask[:, -1].max() < 0.01
    assert (np.diff(mask[112, :112]) >= 0).all() and np.abs(np.diff(mask[112])).max() < 0.1
    assert np.array_equal(mask, mask.T) and np.array_equal(mask, mask[::-1])


def pasted(image: np.ndarray, region: Box, residual: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return paste(image, [Patch.spread(region, residual, mask, image.shape[1], image.shape[0])])


@pytest.mark.parametrize('region', [
    Box(30.3, 20.7, 94.3, 84.7), Box(20, 10, 150, 140), Box(40.5, 30.5, 80.5, 70.5),
    Box(-20.2, -10.1, 99.8, 109.9), Box(100, 60, 200, 160),
])
def test_paste_undoes_crop(region):
    """The residual of one image over another, pasted, gives the one."""
    image, target = smooth(160, 180), smooth(160, 180)[:, ::-1] // 2 + 40
    size = 64
    residual = crop(target, region, size).astype(np.float32) - crop(image, region, size)
    result = pasted(image, region, residual, np.ones((size, size), np.float32))
    x0, y0 = max(int(np.ceil(region.x0)), 0) + 3, max(int(np.ceil(region.y0)), 0) + 3
    x1, y1 = min(int(region.x1), 180) - 3, min(int(region.y1), 160) - 3
    error = result[y0:y1, x0:x1].astype(float) - target[y0:y1, x0:x1]
    assert np.abs(error).mean() < 1 and np.abs(error).max() <= 6


def test_paste_is_exact_where_pixels_meet():
    image, residual = noise(40, 50), noise(32, 32, seed=1).astype(np.float32) - 128
    result = pasted(image, Box(5, 4, 37, 36), residual, np.ones((32, 32), np.float32))
    expected = np.clip(image[4:36, 5:37] + residual, 0, 255).astype(np.uint8)
    assert np.array_equal(result[4:36, 5:37], expected)


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-60, 90), y=st.floats(-60, 90), side=st.floats(8, 150))
def test_pixels_outside_the_region_keep_their_bits(x, y, side):
    image = noise(80, 90)
    residual = np.full((224, 224, 3), 200, np.float32)
    region = Box(x, y, x + side, y + side)
    before = image.copy()
    result = pasted(image, region, residual, feather_mask())
    rows, columns = np.mgrid[:80, :90]
    outside = (columns + 1 <= region.x0) | (columns >= region.x1)
    outside |= (rows + 1 <= region.y0) | (rows >= region.y1)
    assert np.array_equal(image, before)
    assert np.array_equal(result[outside], image[outside])


def test_a_residual_of_zero_changes_nothing():
    image = noise(80, 90)
    result = pasted(image, Box(10.3, 12.1, 60.9, 62.7), np.zeros((224, 224, 3), np.float32), feather_mask())
    assert np.array_equal(result, image) and result is not image


def test_the_seam_is_soft():
    image = np.full((100, 100, 3), 100, np.uint8)
    result = pasted(image, Box(20, 20, 80, 80), np.full((224, 224, 3), 50, np.float32), feather_mask())
    row = result[50, :, 0].astype(int)
    assert row[50] == 150 and row[19] == row[80] == 100 and np.abs(np.diff(row)).max() <= 16


def test_a_crop_that_is_the_whole_image_is_changed_up_to_its_edge():
    image = np.full((64, 64, 3), 100, np.uint8)
    region = Box(0, 0, 64, 64)
    mask = feather_mask(sides_on_edge(region, 64, 64))
    result = pasted(image, region, np.full((224, 224, 3), 30, np.float32), mask)
    assert (result == 130).all()


def test_only_the_side_on_the_edge_is_free():
    assert sides_on_edge(Box(0, 5, 50, 55), 100, 100) == (True, False, False, False)
    mask = feather_mask((True, False, False, False))
    assert mask[112, 0] == 1
    assert mask[112, -1] < 0.01
    assert mask[0, 112] < 0.01


def test_patches_that_overlap_share_the_change():
    image = np.full((60, 90, 3), 100, np.uint8)
    bright = np.full((224, 224, 3), 40, np.float32)
    patches = [Patch.spread(Box(x, 10, x + 40, 50), bright, feather_mask(), 90, 60) for x in (5, 25)]
    row = paste(image, patches)[30, :, 0].astype(int) - 100
    assert row[25] == row[35] == row[45] == 40 and row.max() <= 41 and row[:5].max() == row[65:].max() == 0
    assert np.array_equal(divide_overlaps(patches[:1])[0].change, patches[0].change)
    twice = image.astype(np.float32)
    for patch in divide_overlaps(patches):
        twice[patch.place] += patch.change
    assert np.array_equal(twice.round().astype(np.uint8), paste(image, patches))


def test_a_patch_beside_the_image_is_empty():
    patch = Patch.spread(Box(-50, 0, -10, 40), np.ones((224, 224, 3), np.float32), feather_mask(), 90, 60)
    assert patch.change.size == 0
    assert not paste(np.zeros((60, 90, 3), np.uint8), [patch]).any()
