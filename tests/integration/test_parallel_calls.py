"""Calls side by side on a CPU: how many, with what threads and modes, and what they give."""
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from forked import forked, needs_fork
from restore_fakes import FakeDetector
from torch import Tensor, nn

from gavn.archs.gavn_arch import GAVN
from gavn.archs.pfld_arch import PFLDAV
from gavn.models.clip_runner import ClipRunner
from gavn.restoration.restorer import Restorer
from gavn.runtime import parallel_calls as side
from gavn.runtime.batching import chunked_forward
from gavn.runtime.compilation import compile_in_place
from gavn.runtime.parallel_calls import parallel_call_count, parallel_calls

CPU = torch.device('cpu')


class Reentrant(nn.Module):
    thread_safe = True


class TooMany(ThreadPoolExecutor):
    """Has one thread and no other."""

    begun = ()

    def submit(self, *call):
        if self.begun:
            raise RuntimeError('no more threads')
        future = super().submit(*call)
        TooMany.begun = tuple(self._threads)
        return future


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(('threads', 'calls'), [(1, 1), (2, 2), (7, 7), (9, 3), (10, 5), (12, 6), (16, 8)])
def test_as_many_as_use_most_threads(threads, calls, monkeypatch):
    made = []
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    monkeypatch.setattr(side, '_pool', lambda *key: made.append(key))
    assert parallel_call_count([Reentrant(), Reentrant()], CPU) == calls
    assert made == ([] if calls == 1 else [(calls, threads // calls)])


def test_one_where_more_would_harm(monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 8)
    compiled = Reentrant()
    compile_in_place(compiled, 'default')
    assert (
        parallel_call_count([Reentrant(), FakeDetector()], CPU) == parallel_call_count([compiled], CPU) == 1
    )
    assert parallel_call_count([Reentrant()], torch.device('cuda')) == 1


def test_they_run_at_the_same_time_in_order(two_threads):
    both = Barrier(2)

    def call(part: int) -> tuple[int, int]:
        both.wait(30)  # for the other
        return part, torch.get_num_threads()

    assert parallel_calls(call, [3, 1, 2, 0], 2) == [(3, 1), (1, 1), (2, 1), (0, 1)]
    assert torch.get_num_threads() == 2


def test_threads_that_come_later_have_their_number(two_threads):
    parallel_calls(abs, [1, 2], 2)
    seen = []
    thread = Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def test_calls_see_the_modes_of_their_caller(two_threads):
    def modes(_: int) -> tuple:
        return (torch.is_inference_mode_enabled(), torch.is_grad_enabled(),
                torch.is_autocast_enabled('cpu'), torch.get_autocast_dtype('cpu'))

    plain = modes(0)
    assert parallel_calls(modes, [0], 2) == [plain]
    with torch.no_grad(), torch.autocast('cpu', torch.float16):
        assert parallel_calls(modes, [0, 1], 2) == [(False, False, True, torch.float16)] * 2
    with torch.inference_mode():
        assert parallel_calls(modes, [0], 2) == [(True, False, False, torch.bfloat16)]


def test_what_a_call_raises_is_raised_when_those_that_had_begun_are_done(two_threads):
    both, done = Barrier(2), []

    def call(part: int) -> None:
        both.wait(30)
        if part == 0:
            raise ZeroDivisionError
        time.sleep(0.2)
        done.append(part)

    with pytest.raises(ZeroDivisionError):
        parallel_calls(call, [0, 1], 2)
    assert done == [1]


def test_fewer_threads_than_calls_and_calls_within_calls_come_to_an_end(two_threads):
    def nested(part: int) -> list[int]:
        return parallel_calls(abs, [part, -1], 2)

    assert parallel_calls(nested, [-3, 4, 5], 2) == [[3, 1], [4, 1], [5, 1]]
    torch.set_num_threads(1)
    assert parallel_calls(abs, [-2, 1], 2) == [2, 1]


def test_threads_that_cannot_be_made_leave_nothing_waiting(two_threads, monkeypatch):
    monkeypatch.setattr(side, 'ThreadPoolExecutor', TooMany)
    with pytest.raises(RuntimeError, match='no more threads'):
        side._create_pool(2, 1)
    assert torch.get_num_threads() == 2
    begun, = TooMany.begun
    begun.join(30)
    assert not begun.is_alive()


@needs_fork
@pytest.mark.filterwarnings('ignore:.*multi-threaded.*fork:DeprecationWarning')
def test_works_in_a_forked_process(two_threads):
    parallel_calls(abs, [1, 2], 2)  # by threads that stay behind
    assert forked(lambda: parallel_calls(abs, [1, 2], 2)) == 0


def test_portions_are_joined_in_order(two_threads):
    sizes = []

    def call(part: dict) -> list[Tensor]:
        sizes.append(len(part['lq']))
        return [part['lq'] * 2, part['features'][0] + 1]

    batch = {'lq': torch.arange(10.), 'features': [torch.arange(10.)]}
    (doubled, more), size = chunked_forward(call, batch, 4, share=2, calls=2)
    assert sorted(sizes) == [2, 4, 4] and size == 4
    assert doubled.equal(batch['lq'] * 2) and more.equal(batch['lq'] + 1)


def test_restored_images_are_the_same(two_threads):
    noise = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    restorer = Restorer.from_pretrained('mixed', 'cpu', 'float32')
    assert (restorer.calls, restorer.chunk_size) == (2, 6)
    beside = list(restorer.residuals(noise))
    np.testing.assert_array_equal(beside[:4], list(restorer.residuals(noise[:6]))[:4])  # among fewer
    restorer.calls = 1  # with other threads, so other sums
    np.testing.assert_allclose(beside, list(restorer.residuals(noise)), atol=1e-2)


def test_validation_gives_the_same_and_counts_its_frames(two_threads):
    torch.manual_seed(0)
    network = GAVN(num_feat=8, num_extract_block=1, num_reconstruct_block=(1, 1), radius=0).eval()
    detector = PFLDAV(width=0.5).eval()
    frames = [{'lq': torch.rand(3, 32, 32), 'audio': torch.randn(1, 13, 20), 'face': torch.rand(3, 112, 112)}
              for _ in range(5)]
    found, counted = [], []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        runner = ClipRunner(network, network.layout, ['lq', 'audio', 'landmarks'], CPU, detector)
        found.append([frame.restored for frame in runner.run(frames)])
        assert runner.calls == threads
        counted.append((runner.watch.frames, runner.watch.rounds))
    np.testing.assert_allclose(*found, atol=1)
    assert counted == [(5, 3), (4, 5)]  # of calls one after the other the first sets up
