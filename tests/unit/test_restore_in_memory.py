"""`Restorer.restore_frames`: whole frames in memory, channels and audio as stated; the rest is refused."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from restore_fakes import FACE, fixed_face, make_restorer, smooth_images

from gavn import Restorer, Settings, restore_frames
from gavn.audio.mfcc import mfcc, mfcc_windows
from gavn.checkpoints.hub import ModelError
from gavn.errors import ArgumentError
from gavn.faces.geometry import crop_box
from gavn.faces.tracker import NoFace
from gavn.restoration import in_memory
from gavn.restoration.auto_restorer import AutoRestorer
from gavn.restoration.degradation import KINDS, DegradationEstimate
from gavn.restoration.weight_selection import TaskError

X, Y = (round(place) for place in FACE.centre)


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    monkeypatch.setattr(in_memory, 'follow_faces', fixed_face(absent=(2,)))


class Reddening(Restorer):
    """Adds 30 levels of red alone."""

    def residuals(self, crops, audio=None):
        for image in crops:
            yield np.full(image.shape, (0, 0, 30), np.float32)


@pytest.fixture
def reddening() -> Restorer:
    base = make_restorer()
    return Reddening(base.spec, base.networks, 'cpu')


@pytest.mark.parametrize('channels', ['rgb', 'bgr'])
def test_faces_are_restored_in_the_order_of_channels_that_is_said(reddening, channels):
    frames = smooth_images(6)
    results = reddening.restore_frames(np.stack(frames), 25, channels=channels)
    change = results[4].astype(int) - frames[4]
    assert change[Y, X].tolist() == ([30, 0, 0] if channels == 'rgb' else [0, 0, 30])
    assert len(results) == 6 and all(image.dtype == np.uint8 for image in results)
    region = crop_box(FACE)
    change[int(region.y0):int(region.y1) + 1, int(region.x0):int(region.x1) + 1] = 0
    assert not change.any() and np.array_equal(results[2], frames[2])  # frame 2 has no face


def test_input_is_rgb_by_default(reddening):
    frames = smooth_images(3)
    change = reddening.restore_frames(iter(frames), 25)[0].astype(int) - frames[0]
    assert change[Y, X].tolist() == [30, 0, 0]


@pytest.mark.parametrize(('unit', 'rate'), [('int16', 16000), ('float', 16000), ('int16', 48000)])
def test_each_frame_gets_its_audio(unit, rate):
    received = []

    class RecordingRestorer(Restorer):
        def residuals(self, crops, audio=None):
            for image, window in zip(crops, audio, strict=True):
                received.append(window)
                yield np.zeros(image.shape, np.float32)

    base = make_restorer()
    time = np.arange(round(rate * 0.3)) / rate
    samples = 8000 * np.sin(2 * np.pi * 300 * time) * (1 + time)
    audio = samples.astype(np.int16) if unit == 'int16' else samples / 32767
    RecordingRestorer(base.spec, base.networks, 'cpu').restore_frames(
        smooth_images(2), fps=10, audio=audio, sample_rate=rate)
    at_16k = (8000 * np.sin(2 * np.pi * 300 * np.arange(4800) / 16000) * (1 + np.arange(4800) / 16000))
    wanted = mfcc_windows(mfcc(at_16k.astype(np.int16)), [0, 0.1])
    difference = (torch.stack(received) - wanted).abs()
    assert difference[..., :1, :].max() < 0.1 and (difference.mean() < 0.01 or rate != 16000)


def test_settings_choose_faces_strength_and_scale():
    frames = smooth_images(4)
    half = make_restorer(30.).restore_frames(frames, 25, settings=Settings(strength=0.5, box=FACE, scale='2'))
    assert half[0].shape == (160, 192, 3)
    plain = make_restorer(0.).restore_frames(frames, 25, settings=Settings(scale='2'))
    assert (half[2][2 * Y, 2 * X].astype(int) - plain[2][2 * Y, 2 * X]).tolist() == [15, 15, 15]


CHW = np.zeros((3, 80, 96), np.uint8)
FINE = np.zeros((80, 96, 3), np.uint8)


@pytest.mark.parametrize(('frames', 'more', 'words'), [
    ([], {}, 'no frames'), ([CHW], {}, r'transpose\(1, 2, 0\)'), ([FINE / 255], {}, 'float64'),
    ([FINE[..., 0]], {}, r'uint8 \(80, 96\)'), ([np.zeros((80, 96, 4), np.uint8)], {}, 'without alpha'),
    ([FINE, FINE[:40]], {}, r'frame 1 is \(40, 96, 3\), but frame 0 is \(80, 96, 3\)'),
    ([torch.zeros(80, 96, 3, dtype=torch.uint8)], {}, 'numpy arrays'),
    ([FINE], {'fps': 0}, 'fps must be a number above 0'), ([FINE], {'fps': '25'}, "not '25'"),
    ([FINE], {'fps': float('nan')}, 'not nan'),
    ([FINE], {'channels': 'gbr'}, "rgb or bgr, not 'gbr'"),
    ([FINE], {'audio': np.zeros((2, 640), np.int16)}, 'mono'),
    ([FINE], {'audio': np.full(640, 9000.)}, r'in \[-1, 1\]'),
    ([FINE], {'audio': np.zeros(640, int)}, 'int64'),
    ([FINE], {'audio': np.zeros(640, np.int16), 'sample_rate': 0}, 'sample_rate')])
def test_what_is_refused(frames, more, words):
    with pytest.raises(ArgumentError, match=words):
        make_restorer().restore_frames(frames, **{'fps': 25, **more})


def test_no_face_is_an_error(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(NoFace):
        make_restorer().restore_frames([FINE] * 3, 25)


def estimate_of(kind: str) -> DegradationEstimate:
    return DegradationEstimate(kind, {one: float(one == kind) for one in KINDS}, 4, 0.5, 4., 0.1)


def test_weights_are_chosen_and_held_to_the_degradation(monkeypatch, caplog):
    monkeypatch.setattr(
        AutoRestorer, 'named', lambda self, name: make_restorer(30.0 if name == 'mixed' else 0.0)
    )
    frames = smooth_images(4)
    for kind, gain in (('mixed', 30), ('clean', 0)):
        monkeypatch.setattr(in_memory, 'estimate_degradation', lambda *_, kind=kind: estimate_of(kind))
        results = restore_frames(frames, 25)
        assert (results[0].astype(int) - frames[0])[Y, X].tolist() == [gain] * 3
        assert 'found in the faces' in caplog.text
    forced = make_restorer(30.)
    forced.name = 'sr'
    with pytest.raises(TaskError):
        forced.restore_frames(frames, 25)
    assert len(restore_frames(frames, 25, restorer=forced, settings=Settings(force_task=True))) == 4


@pytest.mark.parametrize('image', [np.zeros((360, 640, 3), np.uint8), np.zeros((512, 512, 3), np.uint8)])
def test_whole_images_are_no_face_crops(image):
    """They were restored as if they were a face, without a word."""
    restorer = make_restorer()
    restorer.name = 'mixed'
    with pytest.raises(ArgumentError, match=r'(?s)224 x 224, not \d+ x \d+ pixels.*restore_frames'):
        next(restorer.restore([image]))
    with pytest.raises(ArgumentError, match='float32'):
        next(make_restorer().restore([FINE.astype(np.float32)]))


def test_crops_for_landmarks_are_square():
    restorer = make_restorer()
    restorer.spec = replace(restorer.spec, inputs=('lq', 'landmarks'))
    with pytest.raises(ArgumentError, match='square, not 96 x 80 pixels'):
        next(restorer.restore(smooth_images(1)))


def test_pretrained_weights_are_given_by_name():
    frames = smooth_images(3)
    named = restore_frames(frames, 25, restorer='mixed')
    loaded = Restorer.from_pretrained('mixed').restore_frames(frames, 25)
    assert all(map(np.array_equal, named, loaded)) and not np.array_equal(named[0], frames[0])
    with pytest.raises(ModelError, match='sharpen'):
        restore_frames(frames, 25, restorer='sharpen')
