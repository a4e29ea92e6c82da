"""The embedded demo data: faces whose landmarks are exact and whose mouths follow their voices."""
import dataclasses

import cv2
import numpy as np
import pytest
import torch

from gavn.audio.mfcc import FRAME_RATE, mfcc, mfcc_windows
from gavn.data.clip_store import SPLITS, ClipStore, read_meta, read_stats
from gavn.experiments.synthetic.dataset import write_demo_dataset
from gavn.experiments.synthetic.face import SIDE, ZOOM
from gavn.experiments.synthetic.head import identities, make_clip, place_on_background
from gavn.experiments.synthetic.motion import Camera, Mouth, MovingFace, Pose
from gavn.experiments.synthetic.people import PEOPLE, Eye, still
from gavn.experiments.synthetic.voice import PHONES, WORDS, speak
from gavn.faces.detector import RetinaFace
from gavn.faces.landmarks import FLIP

STATES = [
    (Mouth(), Pose()),
    (Mouth(opening=0.9, teeth=0.3), Pose(x=4, y=-3, roll=0.08, yaw=0.15, pitch=-0.08, brows=1.0)),
    (Mouth(opening=0.4, rounding=1.0), Pose(roll=-0.07, yaw=-0.16, pitch=0.1, size=1.04, blink=0.6)),
    (Mouth(width=1.0, teeth=1.0, opening=0.15), Pose(x=-5, size=0.97, blink=1.0)),
    (Mouth(press=1.0), Pose(yaw=0.1, brows=0.5)),
]


@pytest.fixture(scope='module')
def clip():
    return make_clip('ada', seed=5, seconds=1.0, words='test')


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def _camera(face) -> Camera:
    return Camera(tuple(face.landmarks.mean(0)), 1.2, 224, 224)


def test_clip_has_the_documented_form(clip):
    assert clip.frames.shape == (25, 224, 224, 3) and clip.frames.dtype == np.uint8
    assert clip.audio.shape == (25 * 640,) and clip.audio.dtype == np.int16
    assert clip.landmarks.shape == (25, 68, 2) and clip.landmarks.dtype == np.float32
    assert clip.landmarks.min() > 0 and clip.landmarks.max() < 223
    assert 500 < np.abs(clip.audio.astype(int)).max() < 32000


def test_clip_is_a_function_of_its_seed(clip):
    same, other = make_clip('ada', 5, 0.2, 'test'), make_clip('ada', 6, 0.2, 'test')
    again = make_clip('ada', 5, 0.2, 'test')
    for name in ('frames', 'audio', 'landmarks'):
        assert np.array_equal(getattr(same, name), getattr(again, name))
        assert not np.array_equal(getattr(same, name), getattr(other, name))


def test_people_differ():
    assert len(identities()) >= 4
    images = [cv2.resize(still(name).texture, (128, 128), interpolation=cv2.INTER_AREA)
              for name in identities()]
    faces = [image[20:50, 40:75] for image in images]
    for i, first in enumerate(faces):
        for second in faces[i + 1:]:
            assert _psnr(first, second) < 25


@pytest.mark.parametrize('name', identities())
@pytest.mark.parametrize('mouth, pose', STATES)
def test_landmarks_undo_the_warp_of_the_pixels(name, mouth, pose):
    face = still(name)
    moving = MovingFace(face, mouth, pose)
    back = moving.expression(moving.head(moving.landmarks()), moving.lip_side, moving.lid_side)
    assert np.abs(back - face.landmarks).max() < 1e-4


@pytest.mark.parametrize('mouth, pose', STATES)
def test_dots_painted_on_the_face_are_found_at_the_landmarks(mouth, pose):
    face = still('ben')
    camera = _camera(face)
    for k in range(0, 36, 2):
        texture = np.zeros_like(face.texture)
        x, y = ((face.landmarks[k] + 0.5) * ZOOM - 0.5) * 16
        cv2.circle(texture, (round(x), round(y)), 40, (255, 255, 255), -1, cv2.LINE_AA, 4)
        moving = MovingFace(dataclasses.replace(face, texture=texture), mouth, pose)
        landmark = camera.forward(moving.landmarks())[k]
        rows, columns = np.mgrid[:224, :224]
        near = np.hypot(columns - landmark[0], rows - landmark[1]) < 7  # an open mouth is bright elsewhere
        light = near * moving.image(camera)[..., 0].astype(float)
        centre = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        assert np.abs(centre - landmark).max() < 0.3


def test_mirrored_face_has_mirrored_image_and_landmarks():
    face = still('cleo')
    points = face.landmarks[FLIP] * (-1, 1) + (SIDE - 1, 0)
    signs = (-1.0) ** np.arange(len(face.lip_line) - 1, -1, -1)
    other = dataclasses.replace(
        face, texture=np.ascontiguousarray(face.texture[:, ::-1]), landmarks=points,
        lip_line=face.lip_line * signs, eyes=(Eye.through(points[36:42]), Eye.through(points[42:48])))
    mouth, pose = STATES[1]
    turned = dataclasses.replace(pose, x=-pose.x, roll=-pose.roll, yaw=-pose.yaw)
    camera = _camera(face)
    mirrored = dataclasses.replace(camera, centre=(SIDE - 1 - camera.centre[0], camera.centre[1]))
    first, second = MovingFace(face, mouth, pose), MovingFace(other, mouth, turned)
    there = camera.forward(first.landmarks()), mirrored.forward(second.landmarks())
    assert np.abs(there[0][FLIP] * (-1, 1) + (223, 0) - there[1]).max() < 1e-3
    assert _psnr(first.image(camera)[:, ::-1], second.image(mirrored)) > 50


def test_landmarks_show_mouth_and_blink(clip):
    gap = np.linalg.norm(clip.landmarks[:, 66] - clip.landmarks[:, 62], axis=1)
    opening = np.array([mouth.opening for mouth in clip.speech.mouths])
    assert np.corrcoef(gap, opening)[0, 1] > 0.95 and gap.max() > 8 and gap.min() < 1
    face = still('ada')
    shut, wide = (MovingFace(face, Mouth(), Pose(blink=blink)).landmarks() for blink in (1.0, 0.0))
    assert (wide[41, 1] - wide[37, 1]) > 4 and abs(shut[41, 1] - shut[37, 1]) < 1


def test_open_mouth_changes_the_image_only_around_the_mouth():
    face = still('ada')
    camera = _camera(face)
    closed, wide = (MovingFace(face, Mouth(opening=o), Pose()).image(camera) for o in (0.0, 1.0))
    change = np.abs(closed.astype(int) - wide).max(-1)
    top = int(camera.forward(face.landmarks)[30, 1]) - 6
    assert change[:top].max() <= 1 and (change[top:] > 60).sum() > 200


def test_face_detector_finds_every_person():
    for name in identities():
        frame = make_clip(name, seed=2, seconds=0.04).frames[0]
        found = RetinaFace()(frame)
        assert len(found) == 1 and found[0][1] >= 0.99


def test_larger_image_shows_the_same_performance(clip):
    short = dataclasses.replace(clip, poses=clip.poses[:2],
                                speech=dataclasses.replace(clip.speech, mouths=clip.speech.mouths[:2]))
    frames = place_on_background(short, 480, 360)
    assert frames.shape == (2, 360, 480, 3)
    [(box, score)] = RetinaFace()(frames[0])
    assert score >= 0.99 and 70 < box.x1 - box.x0 < 200


def test_degradations_cost_psnr_as_on_real_faces(clip):
    frame = clip.frames[0]
    assert 25 < _psnr(cv2.GaussianBlur(frame, (15, 15), 0), frame) < 32
    assert 22 < _psnr(cv2.GaussianBlur(frame, (25, 25), 0), frame) < 30


def _mfcc_and_openings(words: str, seeds: range) -> tuple[np.ndarray, np.ndarray]:
    features, openings = [], []
    for seed in seeds:
        for k, person in enumerate(PEOPLE.values()):
            speech = speak(np.random.default_rng([seed, k]), words, 4.0, *person.voice)
            times = torch.arange(len(speech.mouths)) / FRAME_RATE
            features.append(mfcc_windows(mfcc(speech.audio), times).flatten(1).double().numpy())
            openings.append([mouth.opening for mouth in speech.mouths])
    return np.concatenate(features), np.concatenate(openings)


def _explained(mfcc_rows: np.ndarray, seen: np.ndarray, new_mfcc: np.ndarray, new_seen: np.ndarray) -> float:
    mean, scale = mfcc_rows.mean(0), mfcc_rows.std(0)
    a, b = ((x - mean) / scale for x in (mfcc_rows, new_mfcc))
    weights = np.linalg.solve(a.T @ a + 100 * np.eye(a.shape[1]), a.T @ (seen - seen.mean()))
    return 1 - np.square(b @ weights + seen.mean() - new_seen).mean() / new_seen.var()


def test_voice_predicts_the_mouth_for_words_never_heard():
    mfcc_rows, seen = _mfcc_and_openings('train', range(6))
    new_mfcc, new_seen = _mfcc_and_openings('test', range(100, 102))
    assert _explained(mfcc_rows, seen, new_mfcc, new_seen) > 0.7
    shuffled = np.random.default_rng(0).permutation(seen)
    assert abs(_explained(mfcc_rows, shuffled, new_mfcc, new_seen)) < 0.15


def test_splits_share_phonemes_but_no_word():
    assert not {word.lower() for word in WORDS['train']} & {word.lower() for word in WORDS['test']}
    assert set(''.join(WORDS['test'])) <= set(''.join(WORDS['train'])) <= set(PHONES)


@pytest.mark.parametrize('arguments, error, words', [
    (('nobody', 0, 1.0, 'train'), KeyError, 'nobody'),
    (('ada', 0, 1.0, 'other'), ValueError, 'other'),
    (('ada', 0, 0.0, 'train'), ValueError, 'at least one frame'),
])
def test_impossible_clips_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        make_clip(*arguments)


def test_demo_dataset_is_complete_and_reused(tmp_path):
    settings = {'known': 1, 'train_clips': 1, 'val_clips': 1, 'test_clips': 1, 'seconds': 0.2}
    write_demo_dataset(tmp_path, ['blur_k17'], **settings)
    clips = {split: [entry.clip for entry in read_meta(tmp_path, split)] for split in SPLITS}
    assert clips == {'train': ['ada/train0'], 'val': ['ada/val0'], 'test': ['ada/test0', 'eva/test1']}
    assert read_meta(tmp_path, 'train')[0].n_frames == 5
    made = make_clip('ada', 0, 0.2)
    assert np.array_equal(ClipStore(tmp_path, 'gt').frame('ada/train0', 3), made.frames[3])
    degraded = ClipStore(tmp_path, 'blur_k17').frame('ada/train0', 3)
    assert np.array_equal(degraded, cv2.GaussianBlur(made.frames[3], (17, 17), 0))
    assert np.array_equal(ClipStore(tmp_path, 'landmarks').array('ada/train0'), made.landmarks)
    assert np.array_equal(ClipStore(tmp_path, 'audio').array('ada/train0'), made.audio)
    features = ClipStore(tmp_path, 'mfcc').array('ada/train0')
    assert np.allclose(read_stats(tmp_path)['mfcc_mean'], features.mean(0), atol=1e-4)
    one = tmp_path / 'gt/ada/train0/00000003.png'
    before = one.stat().st_mtime_ns
    write_demo_dataset(tmp_path, ['blur_k17'], **settings)
    assert one.stat().st_mtime_ns == before
    write_demo_dataset(tmp_path, ['sr_x4'], **settings)
    assert (tmp_path / 'sr_x4/eva/test1/00000004.png').is_file()
    write_demo_dataset(tmp_path, ['blur_k17'], **settings | {'seconds': 0.16})
    assert read_meta(tmp_path, 'train')[0].n_frames == 4
    assert not (tmp_path / 'gt/ada/train0/00000004.png').exists()
    with pytest.raises(ValueError, match='known'):
        write_demo_dataset(tmp_path, ['blur'], known=9)
