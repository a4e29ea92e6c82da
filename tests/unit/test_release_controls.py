"""Controls of the pretrained weights: each frame alone, and silence."""
from types import SimpleNamespace

import numpy as np
import torch

from gavn.experiments.release import measure


class Recorder:
    """Returns what it is given, and keeps the number of frames and the audio of each call."""

    def __init__(self):
        self.calls = []

    def restore(self, frames, audio=None):
        frames = list(frames)
        self.calls.append((len(frames), None if audio is None else len(audio)))
        return iter(frames)


CLIP = SimpleNamespace(
    n_frames=3, lq=lambda i: np.full((2, 2, 3), i, np.uint8), audio=torch.zeros(3, 1, 13, 20))


def restored(control):
    recorder = Recorder()
    values = [int(frame[0, 0, 0]) for frame in control(recorder)(CLIP)]
    assert values == [0, 1, 2]
    return recorder.calls


def test_the_network_sees_all_frames_and_their_audio():
    assert restored(measure._ours) == [(3, 3)]


def test_alone_each_frame_is_a_clip_with_its_own_audio():
    assert restored(measure._alone) == [(1, 1)] * 3


def test_silent_there_is_no_audio():
    assert restored(measure._silent) == [(3, None)]


def test_each_control_has_a_name_of_its_own():
    assert len(set(measure.CONTROLS)) == 2 * len(measure.pretrained.WHAT)
    assert not set(measure.CONTROLS) & set(measure.ALL_METHODS)
