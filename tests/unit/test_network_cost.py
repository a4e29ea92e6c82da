"""What networks cost: multiplications by hand, frames a second, and what a training took."""
import json
import os
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gavn.archs.gavn_arch import GAVN
from gavn.archs.pfld_arch import PFLDAV
from gavn.checkpoints.checkpoint import training_budget
from gavn.models import budget, cost
from gavn.models.budget import Budget
from gavn.models.clip_runner import ClipRunner
from gavn.models.cost import Stopwatch, detector_gmacs, giga_macs, gmacs, parameters
from gavn.ops import modulated_deform_conv2d
from gavn.ops.deform_conv import BACKEND_VARIABLE
from gavn.runtime.windows import Layout

CPU = torch.device('cpu')


class Convolution(nn.Module):
    """Sees some frames, returns the middle ones."""

    def __init__(self, mode: str = 'sequence') -> None:
        super().__init__()
        self.mode, self.body, self.shape = mode, nn.Conv2d(3, 3, 3, padding=1), None

    def forward(self, lq: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        self.shape, self.inputs = lq.shape, {name: tuple(value.shape) for name, value in inputs.items()}
        return self.body(lq.flatten(0, -4)).reshape(lq.shape)


def test_multiplications_are_counted_by_output_frame():
    network, layout = Convolution(), Layout(3, 1)
    found = gmacs(network, ['lq', 'audio', 'landmarks', 'region'], layout, CPU)
    assert found == pytest.approx(5 / 3 * 224 * 224 * 3 * 3 * 9 / 1e9)  # five are seen, three come out
    assert network.shape == (1, 5, 3, 224, 224)
    assert network.inputs == {'audio': (1, 3, 1, 13, 20), 'landmarks': (1, 3, 68, 2)}
    single = Convolution()
    assert gmacs(single, ['lq'], Layout(1, 0, 'frame'), CPU) == pytest.approx(224 * 224 * 81 / 1e9)
    assert single.shape == (1, 3, 224, 224) and single.inputs == {}


def test_the_landmark_detector_counts_with_the_network_that_needs_it():
    network, detector = GAVN(), PFLDAV().eval()
    assert parameters(detector) == 2_009_640 and parameters(network, detector) == 9_059_179
    assert parameters(nn.ModuleDict({'detector': detector}), detector) == 2_009_640  # once
    assert parameters(network, None) == parameters(network) == 9_059_179 - 2_009_640
    of_one = detector_gmacs(detector, CPU)
    assert of_one == pytest.approx(0.39, abs=0.005)
    small, layout = Convolution(), Layout(3, 1)
    alone, both = (gmacs(small, ['lq', 'landmarks'], layout, CPU, told) for told in (None, detector))
    assert both - alone == pytest.approx(of_one)  # once per frame that comes out


def test_the_landmark_detector_is_timed_with_the_network(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost.time, 'perf_counter', lambda: now[0])

    class Slow(nn.Module):
        def forward(self, face: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
            now[0] += 5 * len(face)
            return torch.zeros(len(face), 68, 2)

    runner = ClipRunner(Convolution(), Layout(3, 0, 'clip'), ['lq', 'landmarks'], CPU, Slow())
    frame = {'lq': torch.rand(3, 8, 8), 'audio': torch.zeros(1, 13, 20), 'face': torch.zeros(3, 112, 112)}
    assert len(list(runner.run([frame] * 3))) == 3 and (runner.watch.frames, runner.watch.seconds) == (3, 15)


@pytest.mark.parametrize('backend', [None, 'reference', 'torchvision'])
def test_deformable_convolutions_count_like_ordinary_ones(backend, monkeypatch):
    if backend is not None:
        monkeypatch.setenv(BACKEND_VARIABLE, backend)
    x, weight = torch.rand(2, 8, 10, 12), torch.rand(6, 4, 3, 3)
    offset, mask = torch.rand(2, 36, 10, 12), torch.rand(2, 18, 10, 12)
    ordinary = giga_macs(lambda: F.conv2d(x, weight, padding=1, groups=2))
    assert ordinary == pytest.approx(2 * 6 * 10 * 12 * 4 * 9 / 1e9)
    assert giga_macs(lambda: modulated_deform_conv2d(
        x, offset, mask, weight, padding=1, groups=2, deform_groups=2)) == ordinary
    assert os.environ.get(BACKEND_VARIABLE) == backend


def test_counting_changes_nothing():
    network = GAVN(num_feat=8, radius=0, num_extract_block=1, num_reconstruct_block=(1, 1),
                   deformable_groups=2).eval()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    inputs = ('lq', 'audio', 'landmarks')
    first, second = (gmacs(network, inputs, network.layout, CPU) for _ in range(2))
    assert torch.equal(torch.rand(1), expected) and first == second > 0.1


@pytest.fixture
def lasting(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost.time, 'perf_counter', lambda: now[0])

    def last(seconds: float) -> None:
        now[0] += seconds

    return last


def test_what_prepares_counts_with_what_it_is_for(lasting):
    watch = Stopwatch(CPU)
    for seconds in (7, 1, 1):
        watch.time(lambda seconds=seconds: lasting(seconds))
        watch.time(lambda: lasting(2), frames=3)
    watch.time(lambda: lasting(50))  # for frames that do not come
    assert (watch.frames, watch.seconds) == (6, 6)


def test_the_first_call_counts_only_alone(lasting):
    watch = Stopwatch(CPU)

    watch.time(lambda: lasting(9), frames=3)
    assert (watch.frames, watch.seconds) == (3, 9)
    for _ in range(2):
        watch.time(lambda: lasting(2), frames=3)
    assert (watch.frames, watch.seconds) == (6, 4)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(budget.time, 'monotonic', lambda: now[0])
    return now


def test_a_budget_resumes_and_excludes_validation(clock, tmp_path):
    spent = Budget({})
    clock[0] += 600  # before the first batch
    assert spent.facts(0) == {'iterations': 0, 'minutes': 0, 'clips_seen': 0}
    for _ in range(2):
        spent.count(8)
        clock[0] += 30
    with spent.paused():
        clock[0] += 3600
    clock[0] += 60
    assert spent.facts(2) == {'iterations': 2, 'minutes': 2, 'clips_seen': 16}
    again = Budget(spent.facts(2))
    again.count(4)
    clock[0] += 60
    again.write(tmp_path, 3)
    assert json.loads((tmp_path / 'budget.json').read_text()) == {
        'iterations': 3, 'minutes': 3, 'clips_seen': 20}


def test_unrecorded_budget_stays_unknown(clock, tmp_path):
    spent = Budget(None)
    spent.count(8)
    clock[0] += 60
    with spent.paused():
        clock[0] += 60
    assert spent.facts(5) == {'iterations': 5, 'minutes': None, 'clips_seen': None}
    torch.save({'params': {'a': torch.zeros(1)}}, tmp_path / 'old.pth')
    assert training_budget(tmp_path / 'old.pth') == {}
    torch.save({'params': {'a': torch.zeros(1)}, **spent.checkpoint_entry(5)}, tmp_path / 'new.pth')
    assert training_budget(tmp_path / 'new.pth')['iterations'] == 5


def test_time_is_not_frozen(tmp_path):
    spent = Budget({})
    spent.count(1)
    time.sleep(0.01)
    assert 0.01 / 60 <= spent.minutes < 1
